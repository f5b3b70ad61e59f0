import { fieldExpressions, literal, plainValues, quoted } from '../remote/document-sql.js';
import { deletedColumn, documentColumn, handleColumn, type Segment, type SegmentColumn, versionColumn } from '../remote/manifest.js';
import { columnsOf, plainColumn } from '../remote/segment-columns.js';
import type { Table } from '../tables/schema.js';
import { freshDelimiter } from './fresh-format.js';

/** A segment and the local file it is read from. */
export interface SegmentSource {
  readonly segment: Segment;
  readonly path: string;
}

/** What there is to read of a region at one moment. */
export interface RegionSource {
  /** Oldest data first, as in the manifest. */
  readonly segments: readonly SegmentSource[];
  /** Files of `fresh-format`, of which versions over `from`, up to `to`, count. */
  readonly fresh: { readonly paths: readonly string[]; readonly lineBytes: number; readonly from: number; readonly to: number; readonly versionBase: number };
}

const lineBytesMin = 128 * 1_024;

/** Where the user's SQL finds nothing: a schema of its own for what views are made of. */
export const innerSchema = 'inner_parts';

/** The columns a table has in SQL: `id`, then its fields. */
export function sqlColumnsOf(table: Pick<Table, 'fields'>): SegmentColumn[] {
  return columnsOf([{ name: 'id', type: 'string' }, ...table.fields]);
}

/** Statements that load what is not in the bucket yet into a table of DuckDB. It has of every handle the newest row. */
export function loadFreshSql(table: Pick<Table, 'id'>, regions: readonly RegionSource[]): string[] {
  const rows = regions.flatMap(({ fresh: { paths, lineBytes, from, to, versionBase } }) =>
    paths.length === 0 ? [] : [`SELECT handle, version + ${versionBase} AS version, document FROM ${readFresh(paths, lineBytes)} WHERE version > ${from} AND version <= ${to}`],
  );
  if (rows.length === 0) return [];
  const newest = `SELECT handle::JSON ->> '$' AS ${handleColumn}, max(version) AS ${versionColumn}, arg_max_null(document, version) AS ${documentColumn}
    FROM (${rows.join(' UNION ALL ')}) GROUP BY handle`;
  return [`CREATE TABLE ${freshTable(table)} AS ${newest}`];
}

/**
 * `CREATE VIEW` of the table's rows: of each handle the newest one that is no delete mark. Runs hide rows of older runs by anti-join; where nothing
 * can be hidden there is none, and no column is read for it. `inner`: also `_version` and `_document`.
 */
export function viewSql(table: Pick<Table, 'id' | 'name' | 'fields'>, regions: readonly RegionSource[], { name, isInner }: { name: string; isInner: boolean }): string {
  const columns = sqlColumnsOf(table);
  const hasFresh = regions.some(({ fresh }) => fresh.paths.length > 0);
  const groups = groupsOf(regions);
  const selects = groups.map((group) => segmentsSql(group, hidersOf(group, groups, hasFresh ? table : undefined), columns, isInner));
  if (hasFresh) selects.push(freshSql(table, columns, isInner));
  const body = selects.length > 0 ? selects.join('\nUNION ALL ') : nothingSql(columns, isInner);
  return `CREATE VIEW ${name} AS ${body}`;
}

/** Segments that are read by one scan: of the same columns, hidden by the same runs. */
interface Group {
  /** Rows are hidden by groups of higher ranks, and by fresh ones. 0: by nothing. */
  readonly rank: number;
  readonly hasMarks: boolean;
  readonly segments: SegmentSource[];
}

function groupsOf(regions: readonly RegionSource[]): Group[] {
  const groups = new Map<string, Group>();
  for (const { segments, fresh } of regions) {
    const ranks = ranksOf(segments);
    for (const [index, source] of segments.entries()) {
      const { segment } = source;
      const isHidden = fresh.paths.length > 0 || segments.slice(index + 1).some((newer) => overlap(segment, newer.segment));
      const hasMarks = segment.deleteMarks > 0;
      const rank = ranks[index] as number;
      const key = JSON.stringify([rank, isHidden, hasMarks, segment.columns]);
      const group = groups.get(key);
      if (group === undefined) groups.set(key, { rank: isHidden ? rank : -rank, hasMarks, segments: [source] });
      else group.segments.push(source);
    }
  }
  return [...groups.values()];
}

/**
 * Of each segment one more than of the older ones it overlaps: so those of one rank have no handle in common, and of two that do the newer one has
 * the higher rank. Regions have no handles in common at all, so that one rank goes over all of them.
 */
function ranksOf(segments: readonly SegmentSource[]): number[] {
  const ranks: number[] = [];
  for (const [index, { segment }] of segments.entries()) {
    const older = ranks.filter((_rank, before) => overlap((segments[before] as SegmentSource).segment, segment));
    ranks[index] = 1 + Math.max(0, ...older);
  }
  return ranks;
}

function overlap(left: Segment, right: Segment): boolean {
  return compareHandles(left.minHandle, right.maxHandle) <= 0 && compareHandles(right.minHandle, left.maxHandle) <= 0;
}

/** As Parquet orders them: by their bytes. */
function compareHandles(left: string, right: string): number {
  return Buffer.compare(Buffer.from(left), Buffer.from(right));
}

/** Queries of the handles that hide rows of the group. */
function hidersOf({ rank }: Group, groups: readonly Group[], fresh: Pick<Table, 'id'> | undefined): string[] {
  if (rank < 0) return [];
  const newer = groups.filter((other) => Math.abs(other.rank) > rank).flatMap(({ segments }) => segments);
  const handles = newer.length > 0 ? [`SELECT ${handleColumn} FROM ${readParquet(newer)}`] : [];
  return fresh === undefined ? handles : [...handles, `SELECT ${handleColumn} FROM ${freshTable(fresh)}`];
}

function segmentsSql({ segments, hasMarks }: Group, hiders: readonly string[], columns: readonly SegmentColumn[], isInner: boolean): string {
  const inFile = (segments[0] as SegmentSource).segment.columns;
  const [, ...fields] = columns;
  const missing = fields.filter((field) => fileColumn(inFile, field) === undefined);
  // Of a field that is younger than the segment the documents may have values all the same.
  const taken = new Map(fieldExpressions(missing).map((expression, index) => [missing[index], expression]));
  const there = fields.filter((field) => !taken.has(field));
  const selected = fields.map((field) => taken.get(field) ?? `k${there.indexOf(field)} AS ${quoted(field.column)}`);
  const read = there.map((field, index) => `${quoted((fileColumn(inFile, field) as SegmentColumn).column)} AS k${index}`);
  const from = `SELECT ${[handleColumn, versionColumn, documentColumn, ...read, ...(missing.length > 0 ? [`${plainValues(missing)} AS ${plainColumn}`] : [])].join(', ')} FROM ${readParquet(segments)}`;
  const marked = hasMarks ? ` WHERE NOT ${deletedColumn}` : '';
  const hidden = hiders.length > 0 ? ` ANTI JOIN (${hiders.join(' UNION ALL ')}) AS newer ON rows.${handleColumn} = newer.${handleColumn}` : '';
  return `SELECT ${[`rows.${handleColumn} AS id`, ...selected, ...innerColumns(isInner)].join(', ')} FROM (${from}${marked}) AS rows${hidden}`;
}

function freshSql(table: Pick<Table, 'id'>, [, ...fields]: readonly SegmentColumn[], isInner: boolean): string {
  const selected = [`${handleColumn} AS id`, ...fieldExpressions(fields), ...innerColumns(isInner)];
  return `SELECT ${selected.join(', ')} FROM (SELECT *, ${plainValues(fields)} AS ${plainColumn} FROM ${freshTable(table)} WHERE ${documentColumn} IS NOT NULL)`;
}

/** A row of the right types, which is not there. */
function nothingSql([, ...fields]: readonly SegmentColumn[], isInner: boolean): string {
  const selected = ['id', ...fieldExpressions(fields), ...innerColumns(isInner)];
  return `SELECT ${selected.join(', ')} FROM (SELECT *, ${plainValues(fields)} AS ${plainColumn} FROM (SELECT '' AS id, 0::BIGINT AS ${versionColumn}, '{}' AS ${documentColumn})) WHERE false`;
}

function innerColumns(isInner: boolean): string[] {
  return isInner ? [versionColumn, documentColumn] : [];
}

function fileColumn(inFile: readonly SegmentColumn[], { name, type }: SegmentColumn): SegmentColumn | undefined {
  return inFile.find((column) => column.name === name && column.type === type);
}

function freshTable({ id }: Pick<Table, 'id'>): string {
  return `${innerSchema}.fresh_${id}`;
}

function readParquet(segments: readonly SegmentSource[]): string {
  return `read_parquet([${segments.map(({ path }) => literal(path)).join(', ')}])`;
}

/** DuckDB sets sixteen of the longest lines aside for each thread unless it is told. */
function readFresh(paths: readonly string[], lineBytes: number): string {
  const lineBytesMax = Math.max(lineBytesMin, lineBytes + 1);
  return `read_csv([${paths.map(literal).join(', ')}], auto_detect = false, header = false, delim = ${literal(freshDelimiter)}, quote = '', escape = '', new_line = '\\n',
    max_line_size = ${lineBytesMax}, buffer_size = ${4 * lineBytesMax}, columns = {version: 'BIGINT', handle: 'VARCHAR', document: 'VARCHAR'})`;
}
