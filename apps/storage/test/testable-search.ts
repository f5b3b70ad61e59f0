import { systemClock } from '@binnacle/cluster-state/clock';
import { NodeConfig } from '@binnacle/node-kit/config';
import { EventLog } from '@binnacle/node-kit/event-log';
import type { NodeContext } from '@binnacle/node-kit/node-context';
import { Settings } from '@binnacle/node-kit/settings';
import { Registry } from 'prom-client';
import { pino } from 'pino';
import type { LargeDocuments } from '../src/documents/large-documents.js';
import { ResultCache } from '../src/search/result-cache.js';
import { SearchIndex } from '../src/search/search-index.js';
import type { SearchRequest } from '../src/search/search-query.js';
import type { Catalog } from '../src/tables/catalog.js';
import type { Field, FieldType, Table } from '../src/tables/schema.js';
import { type TaskChange, Tasks } from '../src/tasks.js';
import { openRows, type TestableRows } from './testable-rows.js';

export interface Found {
  readonly found: number;
  readonly out_of: number;
  readonly page: number;
  readonly hits: { document: Record<string, unknown>; text_match?: number }[];
  readonly facet_counts: { field_name: string; counts: { value: string; count: number }[]; stats: Record<string, number> }[];
}

/** Rows, their log, and the search index over them, as in a node, for tables that a test declares. */
export class TestableSearch {
  readonly #tables = new Map<number, Table>();
  readonly #listeners = new Set<() => void>();
  readonly #settings = new Set<() => void>();
  readonly settings = new Settings();
  readonly lines: { msg: string; [field: string]: unknown }[] = [];
  readonly index: SearchIndex;
  readonly cache: ResultCache;
  readonly tasks: Tasks;

  private constructor(
    dataDir: string,
    readonly rows: TestableRows,
    change: (config: NodeConfig) => void,
  ) {
    const config = new NodeConfig();
    config.dataDir = dataDir;
    change(config);
    const catalog = { all: () => [...this.#tables.values()], onChange: (listener: () => void) => this.#listen(this.#listeners, listener) };
    const node = {
      id: 'n1',
      clock: systemClock,
      config,
      metrics: new Registry(),
      settings: { value: () => this.settings, onChange: (listener: () => void) => this.#listen(this.#settings, listener) },
      log: pino({}, { write: (line: string) => void this.lines.push(JSON.parse(line) as never) }),
      addPart: () => undefined,
    } as unknown as NodeContext;
    this.tasks = new Tasks(node, new EventLog<TaskChange>(systemClock, 100));
    this.cache = new ResultCache(node);
    this.index = new SearchIndex(node, rows.store, catalog as unknown as Catalog, this.cache, {} as LargeDocuments, this.tasks);
  }

  static async open(dataDir: string, tables: readonly Table[] = [], change: (config: NodeConfig) => void = () => {}): Promise<TestableSearch> {
    const search = new TestableSearch(dataDir, await openRows(dataDir, change), change);
    for (const table of tables) search.#tables.set(table.id, table);
    await search.cache.start();
    await search.index.start();
    return search;
  }

  setTable(table: Table): Table {
    this.#tables.set(table.id, table);
    for (const listener of this.#listeners) listener();
    return table;
  }

  changeSettings(change: Partial<Settings>): void {
    Object.assign(this.settings, change);
    for (const listener of this.#settings) listener();
  }

  async put(table: Table, ...documents: { id: string; [field: string]: unknown }[]): Promise<void> {
    await this.putText(table, documents.map((document) => [document.id, JSON.stringify(document)]));
  }

  async putText(table: Table, documents: readonly (readonly [id: string, text: string])[]): Promise<void> {
    const changes = documents.map(([id, text]) => ({ handle: Buffer.from(id), put: Buffer.from(text) }));
    await this.rows.store.write(table.id, changes, { durability: 'fsync' });
  }

  async delete(table: Table, ...ids: string[]): Promise<void> {
    const changes = ids.map((id) => ({ handle: Buffer.from(id), decide: () => 'delete' as const }));
    await this.rows.store.write(table.id, changes, { durability: 'fsync' });
  }

  async find(table: Table, request: SearchRequest): Promise<Found> {
    return JSON.parse((await this.index.search(table, request)).body.toString()) as Found;
  }

  /** Ids of the hits, in their order. */
  async ids(table: Table, request: SearchRequest): Promise<string> {
    return (await this.find(table, request)).hits.map(({ document }) => document['id']).join(' ');
  }

  async close(): Promise<void> {
    await this.index.stop();
    await this.cache.stop();
    await this.rows.store.stop();
  }

  #listen(listeners: Set<() => void>, listener: () => void): () => void {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }
}

/** `string facet sort`: the type and what else the field is for. */
export function tableOf(id: number, fields: Record<string, string>, more: Partial<Table> = {}): Table {
  const parsed = Object.entries(fields).map(([name, text]): Field => {
    const [type, ...words] = text.split(' ');
    const has = (word: string): boolean => words.includes(word);
    return { name, type: type as FieldType, optional: true, index: !has('unindexed'), facet: has('facet'), sort: has('sort') };
  });
  return {
    id,
    keyspace: 0,
    name: `table${id}`,
    fields: parsed,
    defaultSortingField: '',
    enableNestedFields: true,
    tokenSeparators: [],
    createdAtS: 0,
    schemaVersion: 1,
    regions: [{ id: 256 * id, writeNode: 'n1', term: 1 }],
    ...more,
  };
}
