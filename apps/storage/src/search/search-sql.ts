import { filterSql, type SqlCondition, type SqlValue } from './filter-sql.js';
import type { Statement } from './index-messages.js';
import { matchText } from './match-text.js';
import { isEverything, type SearchQuery, type SortKey } from './search-query.js';
import { columnOf, type Column, type TableLayout } from './table-layout.js';
import type { Filter } from './filter.js';

/** Statements of a search, in the order in which their results come. */
export interface SearchStatements {
  /** Rows of handle, text match. */
  readonly hits: Statement;
  /** One row, one number; undefined: as many as the table has rows. */
  readonly found: Statement | undefined;
  /** For each facet: rows of value as text, count; and one row of min, max, average, sum, distinct values. */
  readonly facets: readonly { readonly column: Column; readonly counts: Statement; readonly stats: Statement }[];
}

/** The rows a search looks at. */
interface Source {
  readonly from: string;
  readonly where: string;
  readonly parameters: readonly SqlValue[];
  /** The version, in whatever gives its order for nothing. */
  readonly version: string;
  readonly hasMatch: boolean;
}

export function searchStatements(query: SearchQuery, layout: TableLayout): SearchStatements {
  const source = sourceOf(query, layout);
  const { sortBy, perPage, offset } = query;
  const matchWanted = source.hasMatch && sortBy.some(({ field }) => field === '_text_match');
  const score = matchWanted ? `-bm25(${layout.wordTable})` : '0';
  const order = [...sortBy.filter(({ field }) => field !== '_text_match' || matchWanted).map((key) => orderOf(key, layout)), `${source.version} DESC`];
  return {
    hits: {
      sql: `SELECT handle, ${score} AS score FROM ${source.from} WHERE ${source.where} ORDER BY ${order.join(', ')} LIMIT ? OFFSET ?`,
      parameters: [...source.parameters, perPage, offset],
    },
    found: isEverything(query.q) && query.filter.kind === 'all' ? undefined : { sql: `SELECT count(*) FROM ${source.from} WHERE ${source.where}`, parameters: source.parameters },
    facets: query.facetBy.map((field) => facetStatements(columnOf(layout, field), source, query.facetValuesMax)),
  };
}

/** Handle and version of rows that pass the filter, ascending by handle. */
export function matchingStatement(filter: Filter, layout: TableLayout, after: Buffer | undefined, limit: number): Statement {
  const conditions = [...guarded('version', filterSql(filter, layout)), ...(after === undefined ? [] : [{ sql: 'handle > ?', parameters: [after] }])];
  return {
    sql: `SELECT handle, version FROM ${layout.rowTable} WHERE ${conditions.map(({ sql }) => sql).join(' AND ')} ORDER BY handle LIMIT ?`,
    parameters: [...conditions.flatMap(({ parameters }) => parameters), limit],
  };
}

function sourceOf({ q, queryBy, prefix, filter }: SearchQuery, layout: TableLayout): Source {
  const { rowTable, wordTable } = layout;
  const filtered = filterSql(filter, layout);
  if (isEverything(q)) return source(rowTable, 'version', guarded('version', filtered), false);
  const match = matchText(queryBy.map((field) => columnOf(layout, field)), q, prefix);
  if (match === undefined) return source(rowTable, 'version', [{ sql: '0', parameters: [] }], false);
  const version = `${wordTable}.rowid`;
  const words = { sql: `${wordTable} MATCH ?`, parameters: [match] };
  return source(`${wordTable} JOIN ${rowTable} ON version = ${version}`, version, [words, ...guarded(version, filtered)], true);
}

function source(from: string, version: string, conditions: readonly SqlCondition[], hasMatch: boolean): Source {
  const where = conditions.map(({ sql }) => sql).join(' AND ');
  return { from, where, parameters: conditions.flatMap(({ parameters }) => parameters), version, hasMatch };
}

/** One row in 64 looks at the clock, which costs as much as 20 rows; versions are consecutive, so none is overlooked for long. */
function guarded(version: string, condition: SqlCondition | undefined): SqlCondition[] {
  const guard = { sql: `((${version} & 63) <> 0 OR within_time())`, parameters: [] };
  return condition === undefined ? [guard] : [guard, condition];
}

function orderOf({ field, descending }: SortKey, layout: TableLayout): string {
  const value = field === '_text_match' ? 'score' : columnOf(layout, field).sql;
  return `${value} ${descending ? 'DESC' : 'ASC'} NULLS LAST`;
}

function facetStatements(column: Column, source: Source, valuesMax: number): SearchStatements['facets'][number] {
  const from = column.isArray ? `${source.from}, json_each(${column.sql}) AS each` : source.from;
  const value = column.isArray ? 'each.value' : column.sql;
  const where = `${source.where} AND ${value} IS NOT NULL`;
  return {
    column,
    counts: {
      sql: `SELECT CAST(${value} AS TEXT), count(*) FROM ${from} WHERE ${where} GROUP BY ${value} ORDER BY count(*) DESC, ${value} LIMIT ?`,
      parameters: [...source.parameters, valuesMax],
    },
    stats: {
      sql: `SELECT CAST(min(${value}) AS REAL), CAST(max(${value}) AS REAL), avg(${value}), total(${value}), count(DISTINCT ${value}) FROM ${from} WHERE ${where}`,
      parameters: source.parameters,
    },
  };
}
