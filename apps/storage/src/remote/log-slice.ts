import { LogTail } from '../log/log-reader.js';
import type { LogOperation } from '../log/log-record.js';
import { regionIndexOf } from '../regions/region.js';
import type { SliceJob, SliceRegion } from './segment-job.js';

/** What a row takes in memory besides its bytes. */
export const rowBytes = 400;

interface NewestRow {
  readonly version: number;
  readonly document: Buffer | undefined;
}

export interface LogSlice {
  readonly toVersion: number;
  readonly regions: readonly { readonly region: SliceRegion; readonly rows: NewestRows }[];
}

/** By handle, of which each byte is one character: their order is that of the bytes. */
export type NewestRows = Map<string, NewestRow>;

/**
 * The newest row of each handle in a part of the log, of the regions asked for; it ends where enough rows have come together. Rejects with
 * `LogTrimmedError` and `LogCorruptionError`.
 */
export async function readSlice({ logFolder, afterVersion, toVersion, bytesMax, regions }: Omit<SliceJob, 'kind' | 'output'>): Promise<LogSlice> {
  const tables = new Map<number, { region: SliceRegion; rows: NewestRows }[]>();
  for (const region of regions) tables.set(region.tableId, [...(tables.get(region.tableId) ?? []), { region, rows: new Map() }]);
  const tail = new LogTail(logFolder, afterVersion + 1);
  let bytes = 0;
  let reached = afterVersion;
  try {
    for await (const { firstVersion, operations } of tail.read(toVersion)) {
      let version = firstVersion;
      for (const operation of operations) bytes += take(tables.get(operation.tableId) ?? [], operation, version++);
      reached = version - 1;
      if (bytes >= bytesMax) break;
    }
  } finally {
    await tail.close();
  }
  return { toVersion: reached, regions: [...tables.values()].flat().filter(({ rows }) => rows.size > 0) };
}

/** Returns by how much there is more to hold. */
function take(regions: LogSlice['regions'], { handle, document }: LogOperation, version: number): number {
  const [first] = regions;
  if (first === undefined) return 0;
  if (handle.length === 0 && document === undefined) {
    for (const { rows } of regions) rows.clear();
    return 0;
  }
  const index = first.region.regionCount === 1 ? 0 : regionIndexOf(handle, first.region.regionCount);
  const found = regions.find(({ region }) => region.index === index);
  if (found === undefined || version <= found.region.afterVersion) return 0;
  const key = handle.toString('latin1');
  const before = found.rows.get(key);
  found.rows.set(key, { version, document });
  const added = document?.length ?? 0;
  return before === undefined ? rowBytes + handle.length + added : added - (before.document?.length ?? 0);
}
