import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { fieldExpressions, literal, plainValues, quoted } from './document-sql.js';
import { deletedColumn, documentColumn, handleColumn, type SegmentColumn, versionColumn } from './manifest.js';
import { answer, withDatabase } from './segment-database.js';
import { plainColumn, sqlTypeOf } from './segment-columns.js';
import { describeSegment, segmentDocumentBytesMax, type SegmentFile, writeSegment } from './segment-file.js';
import type { MergeJob, SegmentJobResult } from './segment-job.js';

/** Which input a row is of. No field has that name. */
const inputColumn = plainColumn;

/** The newest row of each handle in some segments as new ones that do not overlap, each with as many documents as may be in memory together. */
export async function mergeSegments({ inputs, dropsMarks, schemaVersion, columns, output }: MergeJob): Promise<SegmentJobResult> {
  return withDatabase(output.limits, async (connection) => {
    // Small: of all rows only the handle, the version and the input.
    await connection.run(`CREATE TABLE newest AS ${newestVersions(inputs.map(({ path }) => path), dropsMarks)}`);
    const [[rows, documentBytes] = []] = await answer(connection, `SELECT (SELECT count(*) FROM newest), sum(total_uncompressed_size) FILTER (path_in_schema = ${literal(documentColumn)}) FROM parquet_metadata([${inputs.map(({ path }) => literal(path)).join(', ')}])`);
    const ranges = await handleRanges(connection, inputs.map(({ path }) => path), Number(rows), Number(documentBytes ?? 0));
    const segments: { regionId: number; file: SegmentFile }[] = [];
    let written = 0;
    for (const range of ranges) {
      const path = join(output.folder, `${randomUUID()}.parquet`);
      const source = inputs.map((input, index) => `SELECT ${selected(columns, input.columns)}, ${index} AS ${inputColumn} FROM ${rowsOf(input.path, input.columns, columns)} WHERE ${range}`).join(' UNION ALL ');
      const query = `SELECT given.* EXCLUDE (${inputColumn}) FROM (${source}) given JOIN (FROM newest WHERE ${range}) USING (${handleColumn}, ${versionColumn}, ${inputColumn}) ORDER BY ${handleColumn}`;
      await writeSegment(connection, query, path, Number(rows), Number(documentBytes ?? 0));
      const file = await describeSegment(connection, path, columns, schemaVersion);
      written += file?.rows ?? 0;
      if (file !== undefined) segments.push({ regionId: 0, file });
    }
    // Anything else would be rows lost, or one handle twice.
    if (written !== Number(rows)) throw new Error(`${String(rows)} rows were merged, and ${written} written`);
    return { toVersion: 0, segments };
  });
}

/** The newest row of each handle: its version, and which input has it. An upload whose answer got lost may be in two of them. */
function newestVersions(paths: readonly string[], dropsMarks: boolean): string {
  const rows = paths.map((path, input) => `SELECT ${handleColumn}, ${versionColumn}, ${deletedColumn}, ${input} AS ${inputColumn} FROM read_parquet(${literal(path)})`);
  const having = dropsMarks ? `HAVING NOT arg_max(${deletedColumn}, ${versionColumn})` : '';
  return `SELECT ${handleColumn}, max(${versionColumn}) AS ${versionColumn}, arg_max(${inputColumn}, ${versionColumn}) AS ${inputColumn} FROM (${rows.join(' UNION ALL ')}) GROUP BY ${handleColumn} ${having}`;
}

/** Conditions on the handle that cut all rows into parts with about so many document bytes as a segment may have. */
async function handleRanges(connection: DuckDBConnection, paths: readonly string[], rows: number, documentBytes: number): Promise<string[]> {
  const bytesMax = segmentDocumentBytesMax(rows, documentBytes);
  if (documentBytes <= bytesMax) return ['true'];
  const found = await answer(
    connection,
    `SELECT min(${handleColumn}) AS start FROM (
       SELECT ${handleColumn}, floor(sum(bytes) OVER (ORDER BY ${handleColumn} ROWS UNBOUNDED PRECEDING) / ${bytesMax}) AS part FROM (
         SELECT ${handleColumn}, strlen(${documentColumn}) AS bytes FROM read_parquet([${paths.map(literal).join(', ')}]) SEMI JOIN newest USING (${handleColumn}, ${versionColumn})))
     GROUP BY part ORDER BY start`,
  );
  const starts = found.map(([start]) => literal(start as string));
  return starts.map((start, index) => {
    const from = index === 0 ? 'true' : `${handleColumn} >= ${start}`;
    return index === starts.length - 1 ? from : `${from} AND ${handleColumn} < ${starts[index + 1] as string}`;
  });
}

const isSame = (a: SegmentColumn, b: SegmentColumn): boolean => a.name === b.name && a.type === b.type;

/** What the output has, out of `rowsOf`: as the segment has it, or out of the document for a field the table has got since. */
function selected(wanted: readonly SegmentColumn[], present: readonly SegmentColumn[]): string {
  const missing = wanted.filter((column) => !present.some((candidate) => isSame(candidate, column)));
  const made = fieldExpressions(missing);
  const fields = wanted.map((column) => {
    const known = present.find((candidate) => isSame(candidate, column));
    if (known === undefined) return `, ${made[missing.indexOf(column)] as string}`;
    return `, ${quoted(known.column)}::${sqlTypeOf(column.type)} AS ${quoted(column.column)}`;
  });
  return `${handleColumn}, ${versionColumn}, ${deletedColumn}${fields.join('')}, ${documentColumn}`;
}

function rowsOf(path: string, present: readonly SegmentColumn[], wanted: readonly SegmentColumn[]): string {
  const missing = wanted.filter((column) => !present.some((candidate) => isSame(candidate, column)));
  const file = `read_parquet(${literal(path)})`;
  return missing.length === 0 ? file : `(SELECT *, ${plainValues(missing)} AS ${plainColumn} FROM ${file})`;
}
