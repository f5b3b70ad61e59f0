import { randomUUID } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '@binnacle/cluster-state/clock';
import { BinnacleError } from '@binnacle/contracts/errors';
import type { ObjectStore } from '@binnacle/object-store/object-store';
import { literal } from '../remote/document-sql.js';
import { handleColumn, type Segment, versionColumn } from '../remote/manifest.js';
import { answer, withDatabase } from '../remote/segment-database.js';
import type { HeldRegion } from './held-region.js';
import { withSegments } from './loaded-rows.js';

const limits = { memoryMegabytes: 256, temporaryMegabytes: 65_536, threads: 1 };
/** A request waits this long for the segments, and is then to come again. */
const waitMsMax = 20_000;

export interface UploadedVersionsParts {
  readonly clock: Clock;
  readonly store: () => ObjectStore;
  readonly folder: string;
  readonly segmentsOf: (held: HeldRegion) => Promise<readonly Segment[]>;
}

/**
 * Which versions of which rows the segments of a region have, delete marks among them: asked for by requests with late rows. The segments are fetched
 * once for each stay of a region here, whoever asks; the handles and versions then stay on the disk until nobody can come with late rows any more.
 */
export class UploadedVersions {
  readonly #files = new Map<HeldRegion, Promise<string>>();

  constructor(private readonly parts: UploadedVersionsParts) {}

  /** By handle, each byte a character. Rejects with NOT_READY while the segments are fetched and that takes long. */
  async of(held: HeldRegion, handles: readonly Buffer[]): Promise<ReadonlyMap<string, number>> {
    if (handles.length === 0) return new Map();
    const path = await this.#soon(this.#file(held));
    const wanted = handles.map((handle) => literal(handle.toString())).join(', ');
    const rows = await this.#query((connection) => answer(connection, `SELECT ${handleColumn}, ${versionColumn} FROM read_parquet(${literal(path)}) WHERE ${handleColumn} IN (${wanted})`));
    return new Map(rows.map(([handle, version]) => [Buffer.from(handle as string).toString('latin1'), Number(version)]));
  }

  async removeOthers(kept: ReadonlySet<HeldRegion>): Promise<void> {
    for (const [held, file] of this.#files) {
      if (kept.has(held)) continue;
      this.#files.delete(held);
      await file.then((path) => rm(path, { force: true })).catch(() => undefined);
    }
  }

  #file(held: HeldRegion): Promise<string> {
    const known = this.#files.get(held);
    if (known !== undefined) return known;
    const file = this.#fetch(held);
    this.#files.set(held, file);
    // To be fetched by the next request; who waits for it is told.
    file.catch(() => this.#files.delete(held));
    return file;
  }

  async #fetch(held: HeldRegion): Promise<string> {
    const { store, folder, segmentsOf } = this.parts;
    const path = join(folder, `${randomUUID()}.parquet`);
    await mkdir(folder, { recursive: true });
    await withSegments(store(), await segmentsOf(held), folder, async (paths) => {
      const files = paths.length === 0 ? `(SELECT '' AS ${handleColumn}, 0 AS ${versionColumn} WHERE false)` : `read_parquet([${paths.map(literal).join(', ')}], union_by_name = true)`;
      const newest = `SELECT ${handleColumn}, max(${versionColumn}) AS ${versionColumn} FROM ${files} GROUP BY ${handleColumn} ORDER BY ${handleColumn}`;
      await this.#query((connection) => connection.run(`COPY (${newest}) TO ${literal(path)} (FORMAT parquet)`));
    });
    return path;
  }

  #query<T>(run: Parameters<typeof withDatabase<T>>[1]): Promise<T> {
    return withDatabase({ ...limits, temporaryFolder: this.parts.folder }, run);
  }

  #soon(file: Promise<string>): Promise<string> {
    return new Promise((resolve, reject) => {
      const late = (): void => reject(new BinnacleError('NOT_READY', 'the segments of the region are being looked up', { retryAfterS: 1 }));
      const cancel = this.parts.clock.after(waitMsMax, late);
      file.then(resolve, reject).finally(cancel);
    });
  }
}
