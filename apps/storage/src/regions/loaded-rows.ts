import { randomUUID } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import type { ObjectStore } from '@binnacle/object-store/object-store';
import { literal } from '../remote/document-sql.js';
import { deletedColumn, documentColumn, handleColumn, type Segment, versionColumn } from '../remote/manifest.js';
import { inputColumn, newestVersions } from '../remote/merge-segments.js';
import { withDatabase } from '../remote/segment-database.js';

export interface SegmentRow {
  readonly handle: Buffer;
  readonly version: number;
  /** Undefined: a delete mark. */
  readonly document: Buffer | undefined;
}

const chunkBytes = 8 * 2 ** 20;
const limits = { memoryMegabytes: 512, temporaryMegabytes: 65_536, threads: 1 };

/**
 * The newest row of each handle in the segments of a region, delete marks included, in no order. The segments are fetched into `folder`, which is
 * removed in the end; DuckDB finds the newest, in bounded memory.
 */
export async function eachSegmentRow(store: ObjectStore, segments: readonly Segment[], folder: string, take: (rows: readonly SegmentRow[]) => Promise<void>): Promise<void> {
  if (segments.length === 0) return;
  await withSegments(store, segments, folder, async (paths, temporaryFolder) => {
    await withDatabase({ ...limits, temporaryFolder }, async (connection) => {
      await connection.run(`CREATE TABLE newest AS ${newestVersions(paths, false)}`);
      for (const [input, path] of paths.entries()) await eachNewestRow(connection, path, input, take);
    });
  });
}

/** One segment at a time: DuckDB hands out 2,048 rows together, and no segment has more large documents side by side than fit into memory. */
async function eachNewestRow(connection: DuckDBConnection, path: string, input: number, take: (rows: readonly SegmentRow[]) => Promise<void>): Promise<void> {
  const document = `CASE WHEN ${deletedColumn} THEN NULL ELSE ${documentColumn} END`;
  const newest = `(FROM newest WHERE ${inputColumn} = ${input})`;
  const result = await connection.stream(`SELECT ${handleColumn}, ${versionColumn}, ${document} FROM read_parquet(${literal(path)}) JOIN ${newest} USING (${handleColumn}, ${versionColumn})`);
  for (let chunk = await result.fetchChunk(); chunk !== null && chunk.rowCount > 0; chunk = await result.fetchChunk()) {
    await take(
      chunk.getRows().map(([handle, version, stored]) => ({
        handle: Buffer.from(handle as string),
        version: Number(version),
        document: stored === null ? undefined : Buffer.from(stored as string),
      })),
    );
  }
}

/** Copies of the segments in a folder of their own inside `folder`, which is removed in the end. */
export async function withSegments(store: ObjectStore, segments: readonly Segment[], folder: string, use: (paths: readonly string[], temporaryFolder: string) => Promise<void>): Promise<void> {
  const temporaryFolder = join(folder, randomUUID());
  await mkdir(temporaryFolder, { recursive: true });
  try {
    const paths: string[] = [];
    for (const [index, segment] of segments.entries()) {
      const path = join(temporaryFolder, `${index}.parquet`);
      await fetchTo(store, segment, path);
      paths.push(path);
    }
    await use(paths, temporaryFolder);
  } finally {
    await rm(temporaryFolder, { recursive: true, force: true });
  }
}

async function fetchTo(store: ObjectStore, { key, bytes }: Segment, path: string): Promise<void> {
  await writeFile(path, '');
  for (let offset = 0; offset < bytes; offset += chunkBytes) {
    await writeFile(path, await store.getRange(key, { offset, length: Math.min(chunkBytes, bytes - offset) }), { flag: 'a' });
  }
}
