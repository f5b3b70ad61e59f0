import { plainToInstance } from 'class-transformer';
import { IsBoolean, IsInt, IsNumber, IsObject, Max, Min, validateSync } from 'class-validator';
import type { Overrides } from './config-overrides.js';

const maxInt = 2_147_483_647;

/**
 * The dynamic configuration: one document in cluster state, changed by `POST /config` and `PUT /api/admin/config`.
 * On the wire the names are in kebab case: `log-slow-requests-time-ms`.
 */
export class Settings {
  /** Requests over this many milliseconds are logged as SLOW REQUEST; -1: none. */
  @IsInt() @Min(-1) @Max(maxInt) logSlowRequestsTimeMs = -1;
  /** The same for searches alone. */
  @IsInt() @Min(-1) @Max(maxInt) logSlowSearchesTimeMs = 30_000;
  /** Every search is logged. */
  @IsBoolean() enableSearchLogging = false;
  /** Revisions a node may lag behind and still count as caught up for reads. */
  @IsInt() @Min(0) @Max(maxInt) healthyReadLag = 1_000;
  /** The same for writes and for becoming the leader. */
  @IsInt() @Min(0) @Max(maxInt) healthyWriteLag = 500;
  /** Entries of the search cache. */
  @IsInt() @Min(0) @Max(10_000_000) cacheNumEntries = 1_000;
  /** Writes are answered 422 `Skipping writes.` */
  @IsBoolean() skipWrites = false;
  /** Files of the file cache that were used within this time are evicted only for more important ones, or by force. */
  @IsInt() @Min(0) @Max(maxInt) dtFilecacheMinAgeSeconds = 1_800;
  /** File types above this number are read without being kept in the file cache. */
  @IsInt() @Min(0) @Max(100) dtfileLevel = 100;
  /** Downloads into the file cache that run at the same time, for each core. */
  @IsNumber() @Min(0.1) @Max(1_000) downloadingCountScale = 2;
  /** Downloads that run or wait, for each core; readers that need more wait for their turn. */
  @IsNumber() @Min(0.1) @Max(1_000) maxDownloadingCountScale = 10;
  /** Keys of the SQL proxy's configuration that were changed while nodes run: they count over every node's own file. */
  @IsObject() proxy: Overrides = {};
}

/** Reads the stored document (JSON, camel case). Throws on anything that is no valid settings; keys that are absent have their defaults. */
export function parseSettings(text: string): Settings {
  const plain: unknown = JSON.parse(text);
  if (typeof plain !== 'object' || plain === null || Array.isArray(plain)) throw new Error('settings are not an object');
  const settings = plainToInstance(Settings, plain, { exposeDefaultValues: true });
  // A key of a later version is dropped, not refused: during a rolling upgrade both versions read the same document.
  const errors = validateSync(settings, { whitelist: true, forbidUnknownValues: true });
  if (errors.length > 0) throw new Error(errors.flatMap((error) => Object.values(error.constraints ?? {})).join('; '));
  return settings;
}
