import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { fieldExpressions, literal, plainValues, quoted } from './document-sql.js';
import { deletedColumn, documentColumn, handleColumn, type SegmentColumn, versionColumn } from './manifest.js';
import { answer, withDatabase } from './segment-database.js';
import { plainColumn, sqlTypeOf } from './segment-columns.js';
import { describeSegment, segmentDocumentBytesMax, type SegmentFile, writeSegment } from './segment-file.js';
import type { MergeJob, SegmentJobResult } from './segment-job.js';

/** Which input a row is of, counted from 0. No field has that name. */
export const inputColumn = plainColumn;

/** The newest row of each handle in some segments as new ones that do not overlap, each with as many documents as may be in memory together. */
export async function mergeSegments(job: MergeJob): Promise<SegmentJobResult> {
  return withDatabase(job.output.limits, async (connection) => {
    const paths = job.inputs.map(({ path }) => path);
    // Small: of all rows only the handle, the version and the input.
    await connection.run(`CREATE TABLE newest AS ${newestVersions(paths, job.dropsMarks)}`);
    const [[rows, documentBytes] = []] = await answer(connection, `SELECT (SELECT count(*) FROM newest), sum(total_uncompressed_size) FILTER (path_in_schema = ${literal(documentColumn)}) FROM parquet_metadata([${paths.map(literal).join(', ')}])`);
    const size = { rows: Number(rows), documentBytes: Number(documentBytes ?? 0) };
    const segments: { regionId: number; file: SegmentFile }[] = [];
    for (const range of await handleRanges(connection, paths, size)) {
      for (const file of await writeRange(connection, job, size, range)) segments.push({ regionId: 0, file });
    }
    const written = segments.reduce((sum, { file }) => sum + file.rows, 0);
    // Anything else would be rows lost, or one handle twice.
    if (written !== size.rows) throw new Error(`${size.rows} rows were merged, and ${written} written`);
    return { toVersion: 0, segments };
  });
}

interface Size {
  readonly rows: number;
  readonly documentBytes: number;
}

/**
 * The rows of a range as one segment, or as several where that takes more memory than there is: large documents may lie together among small ones, and
 * the fields of some take many times their bytes. What fails for a single row, too, has another cause, or the row gets no new fields.
 */
async function writeRange(connection: DuckDBConnection, job: MergeJob, size: Size, range: string): Promise<SegmentFile[]> {
  try {
    return await writeRows(connection, job, size, range, true);
  } catch (error) {
    const middle = await middleOf(connection, job, range);
    if (middle !== undefined) {
      const before = await writeRange(connection, job, size, `${range} AND ${handleColumn} < ${literal(middle)}`);
      return [...before, ...(await writeRange(connection, job, size, `${range} AND ${handleColumn} >= ${literal(middle)}`))];
    }
    if (job.inputs.every((input) => missingOf(job.columns, input.columns).length === 0)) throw error;
    return writeRows(connection, job, size, range, false);
  }
}

async function writeRows(connection: DuckDBConnection, job: MergeJob, { rows, documentBytes }: Size, range: string, makesFields: boolean): Promise<SegmentFile[]> {
  const { inputs, columns, schemaVersion, output } = job;
  const path = join(output.folder, `${randomUUID()}.parquet`);
  const rowsIn = ({ path: given, columns: present }: MergeJob['inputs'][number], index: number): string => {
    const from = makesFields ? rowsOf(given, present, columns) : `read_parquet(${literal(given)})`;
    return `SELECT ${selected(columns, present, makesFields)}, ${index} AS ${inputColumn} FROM ${from} WHERE ${range}`;
  };
  const newest = `(FROM newest WHERE ${range})`;
  const query = `SELECT given.* EXCLUDE (${inputColumn}) FROM (${inputs.map(rowsIn).join(' UNION ALL ')}) given JOIN ${newest} USING (${handleColumn}, ${versionColumn}, ${inputColumn}) ORDER BY ${handleColumn}`;
  await writeSegment(connection, query, path, rows, documentBytes);
  const file = await describeSegment(connection, path, columns, schemaVersion);
  return file === undefined ? [] : [file];
}

/** The newest row of each handle: its version, and which input has it. An upload whose answer got lost may be in two of them. */
export function newestVersions(paths: readonly string[], dropsMarks: boolean): string {
  const rows = paths.map((path, input) => `SELECT ${handleColumn}, ${versionColumn}, ${deletedColumn}, ${input} AS ${inputColumn} FROM read_parquet(${literal(path)})`);
  const having = dropsMarks ? `HAVING NOT arg_max(${deletedColumn}, ${versionColumn})` : '';
  return `SELECT ${handleColumn}, max(${versionColumn}) AS ${versionColumn}, arg_max(${inputColumn}, ${versionColumn}) AS ${inputColumn} FROM (${rows.join(' UNION ALL ')}) GROUP BY ${handleColumn} ${having}`;
}

/** Conditions on the handle that cut all rows into parts with about so many document bytes as a segment may have. */
async function handleRanges(connection: DuckDBConnection, paths: readonly string[], { rows, documentBytes }: Size): Promise<string[]> {
  const bytesMax = segmentDocumentBytesMax(rows, documentBytes);
  if (documentBytes <= bytesMax) return ['true'];
  const found = await answer(connection, `SELECT min(${handleColumn}) AS start FROM (SELECT ${handleColumn}, floor(bytes / ${bytesMax}) AS part FROM (${bytesUpTo(paths, 'true')})) GROUP BY part ORDER BY start`);
  const starts = found.map(([start]) => literal(start as string));
  return starts.map((start, index) => {
    const from = index === 0 ? 'true' : `${handleColumn} >= ${start}`;
    return index === starts.length - 1 ? from : `${from} AND ${handleColumn} < ${starts[index + 1] as string}`;
  });
}

/** The handle with about half of the bytes of a range before it. Undefined: the range has one row. */
async function middleOf(connection: DuckDBConnection, { inputs }: MergeJob, range: string): Promise<string | undefined> {
  const sums = bytesUpTo(inputs.map(({ path }) => path), range);
  const [[middle] = []] = await answer(connection, `SELECT ${handleColumn} FROM (${sums}) WHERE number > 1 ORDER BY bytes < total / 2, number LIMIT 1`);
  return middle as string | undefined;
}

/** Of each row in a range: the bytes of documents up to it, and how many rows that are. */
function bytesUpTo(paths: readonly string[], range: string): string {
  return `SELECT ${handleColumn}, sum(own) OVER (ORDER BY ${handleColumn} ROWS UNBOUNDED PRECEDING) AS bytes, sum(own) OVER () AS total, row_number() OVER (ORDER BY ${handleColumn}) AS number
    FROM (SELECT ${handleColumn}, max(strlen(coalesce(${documentColumn}, ''))) AS own FROM read_parquet([${paths.map(literal).join(', ')}])
      SEMI JOIN (FROM newest WHERE ${range}) USING (${handleColumn}, ${versionColumn}) WHERE ${range} GROUP BY ${handleColumn})`;
}

const isSame = (a: SegmentColumn, b: SegmentColumn): boolean => a.name === b.name && a.type === b.type;

function missingOf(wanted: readonly SegmentColumn[], present: readonly SegmentColumn[]): SegmentColumn[] {
  return wanted.filter((column) => !present.some((candidate) => isSame(candidate, column)));
}

/** What the output has, out of `rowsOf`: as the segment has it, or out of the document for a field the table has got since, or null. */
function selected(wanted: readonly SegmentColumn[], present: readonly SegmentColumn[], makesFields: boolean): string {
  const missing = missingOf(wanted, present);
  const made = fieldExpressions(missing);
  const fields = wanted.map((column) => {
    const known = present.find((candidate) => isSame(candidate, column));
    if (known !== undefined) return `, ${quoted(known.column)}::${sqlTypeOf(column.type)} AS ${quoted(column.column)}`;
    return makesFields ? `, ${made[missing.indexOf(column)] as string}` : `, NULL::${sqlTypeOf(column.type)} AS ${quoted(column.column)}`;
  });
  return `${handleColumn}, ${versionColumn}, ${deletedColumn}${fields.join('')}, ${documentColumn}`;
}

function rowsOf(path: string, present: readonly SegmentColumn[], wanted: readonly SegmentColumn[]): string {
  const missing = missingOf(wanted, present);
  const file = `read_parquet(${literal(path)})`;
  return missing.length === 0 ? file : `(SELECT *, ${plainValues(missing)} AS ${plainColumn} FROM ${file})`;
}
