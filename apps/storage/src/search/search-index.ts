import { join } from 'node:path';
import { NodeContext, type NodePart } from '@binnacle/node-kit/node-context';
import { BinnacleError } from '@binnacle/contracts/errors';
import { Injectable } from '@nestjs/common';
import { projected } from '../documents/export.js';
import { LargeDocuments } from '../documents/large-documents.js';
import type { Row } from '../engine/row.js';
import { RowStore } from '../row-store.js';
import { Catalog } from '../tables/catalog.js';
import type { Table } from '../tables/schema.js';
import { Tasks } from '../tasks.js';
import { parseFilter } from './filter.js';
import { FilterMatch } from './filter-match.js';
import type { ResultRow, Statement } from './index-messages.js';
import { IndexThread } from './index-thread.js';
import { ResultCache } from './result-cache.js';
import { searchBody } from './search-answer.js';
import { parseSearch, type SearchQuery, type SearchRequest } from './search-query.js';
import { matchingStatement, searchStatements } from './search-sql.js';
import { IndexSpoilt, SearchThreads } from './search-threads.js';
import { layoutOf, type TableLayout } from './table-layout.js';

export interface SearchAnswer {
  /** JSON text: what Typesense answers to a search. Documents in it are as the row store has them. */
  readonly body: Buffer;
  /** Undefined for a search that did not ask for the cache. */
  readonly cache?: 'hit' | 'miss';
}

/** Some of the rows that a filter selects. */
export interface Matches {
  /** Ascending by the UTF-8 bytes of their ids. The version is the one for which the index says so. */
  readonly rows: readonly { readonly id: string; readonly version: number }[];
  /** Tells of other versions. Close it. */
  readonly filter: FilterMatch;
}

interface KnownTable {
  readonly table: Table;
  readonly layout: TableLayout;
}

/** The search index of this node, which is derived from its rows and can be deleted at any time. */
@Injectable()
export class SearchIndex implements NodePart {
  readonly name = 'search index';
  readonly #known = new Map<number, KnownTable>();
  readonly #indexing: IndexThread;
  readonly #searching: SearchThreads;
  #unlisten: () => void = () => {};

  constructor(
    private readonly node: NodeContext,
    private readonly rows: RowStore,
    private readonly catalog: Catalog,
    private readonly cache: ResultCache,
    private readonly large: LargeDocuments,
    tasks: Tasks,
  ) {
    const folder = join(node.config.dataDir, 'storage', 'index');
    this.#searching = new SearchThreads(folder, node.config.storage.searchThreads);
    this.#indexing = new IndexThread(folder, rows, node.log, tasks, () => this.#searching.reopen());
    node.addPart(this);
  }

  async start(): Promise<void> {
    this.#follow();
    this.#unlisten = this.catalog.onChange(() => this.#follow());
    this.#indexing.start();
  }

  async stop(): Promise<void> {
    this.#unlisten();
    await this.#searching.close();
    await this.#indexing.close();
  }

  /**
   * Sees every write that was acknowledged before the call. Rejects with BAD_REQUEST or NOT_FOUND (a field) in Typesense's words,
   * NOT_READY when the index lags for too long, REQUEST_TIMEOUT and OVERLOADED.
   */
  async search(table: Table, request: SearchRequest): Promise<SearchAnswer> {
    const known = this.#know(table);
    const query = parseSearch(request, known.table);
    const { lastVersion } = await this.#reached(known.layout);
    const search = (): Promise<SearchAnswer> => this.#search(known, query);
    if (!query.useCache) return search();
    const key = JSON.stringify([known.layout.rowTable, lastVersion, query], (_key, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value));
    return this.cache.answer(key, query.cacheTtlS, search);
  }

  /** Those with ids after `after`; at most `limit`. Errors as of `search`. */
  async matching(table: Table, filterBy: string, after: string | undefined, limit: number): Promise<Matches> {
    const { table: newest, layout } = this.#know(table);
    const filter = parseFilter(filterBy, newest);
    await this.#reached(layout);
    const [rows = []] = await this.#run([matchingStatement(filter, layout, after === undefined ? undefined : Buffer.from(after), limit)]);
    const matching = rows.map(([handle, version]) => ({ id: asBuffer(handle as Uint8Array).toString(), version: Number(version) }));
    return { rows: matching, filter: new FilterMatch(filter, layout) };
  }

  /** The commit log is needed from the version after this one. */
  position(): number {
    return this.#indexing.position();
  }

  async #search({ table, layout }: KnownTable, query: SearchQuery): Promise<SearchAnswer> {
    const startMs = performance.now();
    const { hits, found, facets } = searchStatements(query, layout);
    const statements = [hits, ...(found ? [found] : []), ...facets.flatMap(({ counts, stats }) => [counts, stats])];
    const results = await this.#run(statements, query.cutoffMs);
    const [hitRows = [], ...others] = results;
    const outOf = this.#indexing.table(layout)?.rowCount ?? 0;
    const foundCount = found === undefined ? outOf : Number(others.shift()?.[0]?.[0]);
    const shown = await this.#documents(table, query, hitRows);
    const facetResults = facets.map(({ column }, index) => ({ column, counts: others[2 * index] ?? [], stats: others[2 * index + 1]?.[0] ?? [] }));
    const body = searchBody(query, { collection: table.name, hits: shown, found: foundCount, outOf, facets: facetResults, tookMs: performance.now() - startMs });
    return { body };
  }

  /** The row store has the documents as they were written. A row that was deleted since the index was asked is left out. */
  async #documents(table: Table, query: SearchQuery, hits: readonly ResultRow[]): Promise<{ document: Buffer; textMatch: number }[]> {
    const handles = hits.map(([handle]) => asBuffer(handle as Uint8Array));
    const rows = await this.rows.getMany(table.id, handles);
    const shown: { document: Buffer; textMatch: number }[] = [];
    const projection = { include: query.includeFields, exclude: query.excludeFields };
    for (const [index, row] of rows.entries()) {
      if (row === undefined) continue;
      shown.push({ document: await projected((row as Row).document, projection, this.large), textMatch: Number(hits[index]?.[1]) });
    }
    return shown;
  }

  async #run(statements: readonly Statement[], cutoffMs = Infinity): Promise<readonly (readonly ResultRow[])[]> {
    try {
      return await this.#searching.run(statements, Math.min(cutoffMs, this.node.config.storage.searchTimeoutMs));
    } catch (error) {
      if (!(error instanceof IndexSpoilt)) throw error;
      this.#indexing.discard(error.message);
      throw new BinnacleError('NOT_READY', 'the search index is made anew', { cause: error, retryAfterS: 1 });
    }
  }

  #reached(layout: TableLayout): ReturnType<IndexThread['reached']> {
    return this.#indexing.reached(this.rows.appliedVersion(), layout, this.node.config.storage.searchWaitMs);
  }

  /** Tables of this node as the catalog has them now. */
  #follow(): void {
    const own = this.catalog.all().filter(({ regions }) => regions.some(({ writeNode }) => writeNode === this.node.id));
    for (const table of own) this.#know(table);
    const ids = new Set(own.map(({ id }) => id));
    for (const id of this.#known.keys()) {
      if (ids.has(id)) continue;
      this.#known.delete(id);
      this.#indexing.dropTable(id);
    }
  }

  /** The table as it is known here, which is not older than the one given. */
  #know(table: Table): KnownTable {
    const known = this.#known.get(table.id);
    if (known !== undefined && known.table.schemaVersion >= table.schemaVersion) return known;
    const layout = layoutOf(table);
    const fresh = { table, layout };
    this.#known.set(table.id, fresh);
    if (known?.layout.rowTable !== layout.rowTable) this.#indexing.setTable(layout);
    return fresh;
  }
}

function asBuffer({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
