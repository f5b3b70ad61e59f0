import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { type NewestRows, readSlice } from './log-slice.js';
import { RowStaging, smallDocumentBytesMax, type StagedRow } from './row-staging.js';
import { withDatabase } from './segment-database.js';
import { describeSegment, largeDocumentsBytesMax, type SegmentFile, writeSegment } from './segment-file.js';
import type { RowsJob, SegmentJobResult, SliceJob, SliceRegion } from './segment-job.js';

/** Writes the newest rows in a part of the log to local segments, region by region. Files of a failed job are left to whoever asked. */
export async function writeSlice(job: SliceJob): Promise<SegmentJobResult> {
  const slice = await readSlice(job);
  if (slice.regions.length === 0) return { toVersion: slice.toVersion, segments: [] };
  const { folder, limits } = job.output;
  const segments = await withDatabase(limits, async (connection) => {
    const written: { regionId: number; file: SegmentFile }[] = [];
    for (const { region, rows } of slice.regions) {
      for (const file of await writeRows(connection, folder, region, rows)) written.push({ regionId: region.regionId, file });
      rows.clear();
    }
    return written;
  });
  return { toVersion: slice.toVersion, segments };
}

export async function writeGivenRows({ region, rows, output }: RowsJob): Promise<SegmentJobResult> {
  const byHandle: NewestRows = new Map();
  for (const { handle, version, document } of rows) byHandle.set(asBuffer(handle).toString('latin1'), { version, document: document && asBuffer(document) });
  const files = await withDatabase(output.limits, (connection) => writeRows(connection, output.folder, region, byHandle));
  return { toVersion: 0, segments: files.map((file) => ({ regionId: region.regionId, file })) };
}

const ascii = /^[\x20-\x7f]*$/;

function* ordered(rows: NewestRows): Generator<StagedRow> {
  // To sort here is as quick as in DuckDB, which would hold all documents a second time for it.
  for (const key of [...rows.keys()].sort()) {
    const { version, document } = rows.get(key) as { version: number; document: Buffer | undefined };
    yield { handle: ascii.test(key) ? key : Buffer.from(key, 'latin1').toString(), version, document };
  }
}

/** Several files when the documents are many or large: each is written, and later read, with its documents in memory. */
async function writeRows(connection: DuckDBConnection, folder: string, region: SliceRegion, newest: NewestRows): Promise<SegmentFile[]> {
  const { columns, schemaVersion, versionBase } = region;
  const files: SegmentFile[] = [];
  const isSmall = [...newest.values()].every(({ document }) => (document?.length ?? 0) <= smallDocumentBytesMax);
  let staging: RowStaging | undefined;
  let [count, bytes] = [0, 0];
  const write = async (staged: RowStaging): Promise<void> => {
    const path = join(folder, `${randomUUID()}.parquet`);
    await staged.end((query) => writeSegment(connection, query, path, count, bytes));
    await staged.drop();
    const file = await describeSegment(connection, path, columns, schemaVersion);
    if (file?.rows !== count) throw new Error(`a segment of ${count} rows was written, and has ${file?.rows ?? 0}`);
    files.push(file);
    [count, bytes] = [0, 0];
  };
  for (const row of ordered(newest)) {
    staging ??= await RowStaging.begin(connection, columns, isSmall);
    if (staging.add({ ...row, version: row.version + versionBase })) await staging.flush();
    count += 1;
    bytes += row.document?.length ?? 0;
    if (bytes < largeDocumentsBytesMax) continue;
    await write(staging);
    staging = undefined;
  }
  if (staging !== undefined) await write(staging);
  return files;
}

function asBuffer({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
