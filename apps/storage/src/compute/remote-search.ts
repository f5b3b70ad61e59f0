import { BinnacleError } from '@binnacle/contracts/errors';
import { projected } from '../documents/export.js';
import type { LargeDocuments } from '../documents/large-documents.js';
import type { Row } from '../engine/row.js';
import { documentColumn } from '../remote/manifest.js';
import { literal } from '../remote/document-sql.js';
import type { ResultRow } from '../search/index-messages.js';
import { parseFilter } from '../search/filter.js';
import { searchBody } from '../search/search-answer.js';
import type { SearchAnswer } from '../search/search-index.js';
import { parseSearch, type SearchQuery, type SearchRequest } from '../search/search-query.js';
import { columnOf, layoutOf } from '../search/table-layout.js';
import type { Table } from '../tables/schema.js';
import { duckFilter } from './duck-filter.js';
import { DuckSearch, searchedView, type WordStatistics } from './duck-search.js';
import { QueryError, type QueryProcess } from './query-process.js';
import type { QueryProcesses } from './query-processes.js';
import type { SqlLimits } from './sql.js';
import { sqlColumnsOf } from './table-view.js';
import type { ReadyQuery, TableQueries } from './table-query.js';

export interface RemoteSearchParts {
  readonly processes: QueryProcesses;
  readonly queries: TableQueries;
  readonly large: LargeDocuments;
  readonly limits: SqlLimits;
}

/** Documents of an export that are read and sorted together. */
const exportedTogether = 2_000;

/** Typesense's searches and exports of tables whose rows are on several nodes, or on another one: over the remote store and the rows that are not in it yet. */
export class RemoteSearch {
  constructor(private readonly parts: RemoteSearchParts) {}

  /** As `SearchIndex.search`, whose answers it gives. */
  async search(table: Table, request: SearchRequest, gone: AbortSignal): Promise<SearchAnswer> {
    const startMs = performance.now();
    const query = parseSearch(request, table);
    const columns = sqlColumnsOf(table);
    const layout = layoutOf(table);
    const search = new DuckSearch(query, columns, layout.columns.filter(({ words }) => words !== '').map(({ field }) => field));
    const statisticsSql = search.statisticsSql();
    // The columns that scores read are those that the statistics read.
    const planned = [search.foundSql(undefined), `SELECT id, ${documentColumn} FROM ${searchedView}`, ...(statisticsSql === undefined ? [] : [statisticsSql])];
    return this.#over(table, planned, gone, query.cutoffMs, async (ready) => {
      const statistics = statisticsSql === undefined ? undefined : statisticsOf(await rowsOf(ready, statisticsSql));
      await rowsOf(ready, DuckSearch.keep(search.foundSql(statistics)));
      const [[found, outOf] = []] = await rowsOf(ready, DuckSearch.countsSql());
      const hits = await rowsOf(ready, search.hitsSql());
      const facets = [];
      for (const field of query.facetBy) {
        const { counts, stats } = search.facetSql(field);
        facets.push({ column: columnOf(layout, field), counts: await rowsOf(ready, counts), stats: (await rowsOf(ready, stats))[0] ?? [] });
      }
      const shown = await this.#documents(query, hits);
      const body = searchBody(query, { collection: table.name, hits: shown, found: Number(found), outOf: Number(outOf), facets, tookMs: performance.now() - startMs });
      return { body };
    });
  }

  /** Documents that match, ascending by their ids, handed on one after the other. */
  async export(table: Table, filterBy: string | undefined, gone: AbortSignal, take: (rows: AsyncGenerator<Pick<Row, 'document'>>) => Promise<void>): Promise<void> {
    const condition = duckFilter(parseFilter(filterBy ?? '', table), sqlColumnsOf(table)) ?? 'true';
    const selected = `SELECT id, ${documentColumn} FROM ${searchedView} WHERE ${condition}`;
    await this.#over(table, [selected], gone, undefined, async (ready) => {
      const places = `SELECT id FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM ${searchedView} WHERE ${condition}) WHERE place % ${exportedTogether} = 1 ORDER BY id`;
      const firsts = (await rowsOf(ready, places)).map(([id]) => String(id));
      await take(documentsOf(ready, selected, firsts));
    });
  }

  async #over<T>(table: Table, planned: readonly string[], gone: AbortSignal, cutoffMs: number | undefined, use: (ready: ReadyQuery) => Promise<T>): Promise<T> {
    const { limits, processes, queries } = this.parts;
    const deadline = AbortSignal.timeout(Math.min(cutoffMs ?? Infinity, limits.timeoutMs));
    const signal = AbortSignal.any([gone, deadline]);
    try {
      return await processes.use(signal, (process: QueryProcess) => {
        const query = { tables: [{ name: searchedView, table }], stale: false, viewTimeoutMs: limits.viewTimeoutMs, signal, isInner: true, planned };
        return queries.withTables(process, query, () => process.open(limits.memoryMegabytes, limits.threads), use);
      });
    } catch (error) {
      if (deadline.aborted && !gone.aborted) throw new BinnacleError('REQUEST_TIMEOUT', 'Request Timeout', { cause: error });
      if (error instanceof QueryError && error.failure === 'memory') throw new BinnacleError('BAD_REQUEST', error.message, { cause: error });
      throw error;
    }
  }

  async #documents(query: SearchQuery, hits: readonly ResultRow[]): Promise<{ document: Buffer; textMatch: number }[]> {
    const projection = { include: query.includeFields, exclude: query.excludeFields };
    return Promise.all(hits.map(async ([document, score]) => ({ document: await projected(Buffer.from(String(document)), projection, this.parts.large), textMatch: Number(score) })));
  }
}

async function* documentsOf(ready: ReadyQuery, selected: string, firsts: readonly string[]): AsyncGenerator<Pick<Row, 'document'>> {
  for (const [index, first] of firsts.entries()) {
    const next = firsts[index + 1];
    const range = `id >= ${literal(first)}${next === undefined ? '' : ` AND id < ${literal(next)}`}`;
    for await (const [, document] of streamedRows(ready, `${selected} AND ${range} ORDER BY id`)) yield { document: Buffer.from(String(document)) };
  }
}

async function rowsOf(ready: ReadyQuery, sql: string): Promise<ResultRow[]> {
  const rows: ResultRow[] = [];
  for await (const row of streamedRows(ready, sql)) rows.push(row);
  return rows;
}

async function* streamedRows(ready: ReadyQuery, sql: string): AsyncGenerator<ResultRow> {
  const { data } = await ready.run({ sql, values: [], format: 'rows', rowsMax: null, file: '' });
  for await (const bytes of data) yield* JSON.parse(`[${bytes.toString().replace(/^,\n/, '')}]`) as ResultRow[];
}

function statisticsOf([row = []]: readonly ResultRow[]): WordStatistics {
  const [rows, words, ...rowsWith] = row.map(Number) as [number, number, ...number[]];
  return { rows, wordsPerRow: words / Math.max(1, rows), rowsWith };
}
