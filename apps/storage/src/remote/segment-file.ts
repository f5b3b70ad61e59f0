import { stat } from 'node:fs/promises';
import type { DuckDBConnection } from '@duckdb/node-api';
import { literal, quoted } from './document-sql.js';
import { deletedColumn, documentColumn, handleColumn, type Segment, type SegmentColumn, versionColumn } from './manifest.js';
import { answer } from './segment-database.js';
import { sqlTypeOf } from './segment-columns.js';

/** A segment as it lies in a local file: what is known of it before it has a place in the remote store. */
export type SegmentFile = { readonly path: string } & Omit<Segment, 'key' | 'level' | 'createdAtMs'>;

/*
 * DuckDB reads and writes 2,048 rows at a time, and a document may have 16 MiB. So what is held of documents at once is limited by the size of a segment
 * where they are large, and by the size of a row group where they are small.
 */
const rowGroupBytes = 16 * 2 ** 20;
const rowGroupRowsMin = 2_048;
const rowGroupRowsMax = 122_880;
/** Documents of this size on average, and 2,048 of them are 8 MiB: no trouble, however many more there are. */
const smallDocumentBytes = 4_096;
const smallDocumentsBytesMax = 512 * 2 ** 20;
export const largeDocumentsBytesMax = 64 * 2 ** 20;

/** Of the documents in one segment, before compression. */
export function segmentDocumentBytesMax(rows: number, documentBytes: number): number {
  return documentBytes / Math.max(1, rows) <= smallDocumentBytes ? smallDocumentsBytesMax : largeDocumentsBytesMax;
}

/** `name TYPE` of every column of a segment with these fields. */
export function columnDefinitions(columns: readonly SegmentColumn[]): string {
  const fields = columns.map(({ column, type }) => `, ${quoted(column)} ${sqlTypeOf(type)}`).join('');
  return `${handleColumn} VARCHAR, ${versionColumn} BIGINT, ${deletedColumn} BOOLEAN${fields}, ${documentColumn} VARCHAR`;
}

/** Writes what the query gives, which has the columns of a segment and is ordered by handle. `rows` and `documentBytes` may be estimates. */
export async function writeSegment(connection: DuckDBConnection, query: string, path: string, rows: number, documentBytes: number): Promise<void> {
  const fitting = Math.floor(rowGroupBytes / Math.max(1, documentBytes / Math.max(1, rows)));
  const rowGroupRows = Math.min(rowGroupRowsMax, Math.max(rowGroupRowsMin, fitting));
  await connection.run(`COPY (${query}) TO ${literal(path)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE ${rowGroupRows})`);
}

/** Reads what the manifest says of a segment from the file itself. Undefined: it has no rows. */
export async function describeSegment(connection: DuckDBConnection, path: string, columns: readonly SegmentColumn[], schemaVersion: number): Promise<SegmentFile | undefined> {
  const [row = []] = await answer(
    connection,
    `SELECT count(*), count_if(${deletedColumn}), min(${handleColumn}), max(${handleColumn}), min(${versionColumn}), max(${versionColumn}) FROM read_parquet(${literal(path)})`,
  );
  const [rows, deleteMarks, minHandle, maxHandle, minVersion, maxVersion] = row;
  if (Number(rows) === 0) return undefined;
  const [[metaOffset] = []] = await answer(
    connection,
    `SELECT max(coalesce(dictionary_page_offset, data_page_offset) + total_compressed_size) FROM parquet_metadata(${literal(path)})`,
  );
  return {
    path,
    bytes: (await stat(path)).size,
    metaOffset: Number(metaOffset),
    rows: Number(rows),
    deleteMarks: Number(deleteMarks),
    minHandle: String(minHandle),
    maxHandle: String(maxHandle),
    minVersion: Number(minVersion),
    maxVersion: Number(maxVersion),
    schemaVersion,
    columns,
  };
}
