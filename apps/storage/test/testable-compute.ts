import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@binnacle/cluster-state/clock';
import type { ClusterState } from '@binnacle/cluster-state/cluster-state';
import type { ObjectStore } from '@binnacle/object-store/object-store';
import { FileCache } from '../src/cache/file-cache.js';
import { decodeFreshAnswer, encodeFreshAnswer, type FreshRegionQuestion } from '../src/compute/fresh-format.js';
import { FreshRows } from '../src/compute/fresh-rows.js';
import { FreshRowsSource } from '../src/compute/fresh-rows-source.js';
import { ManifestFollower } from '../src/compute/manifest-follower.js';
import { QueryProcesses } from '../src/compute/query-processes.js';
import { SegmentFiles } from '../src/compute/segment-files.js';
import { Sql, type SqlLimits } from '../src/compute/sql.js';
import { parseSqlRequest } from '../src/compute/sql-request.js';
import { TableQueries } from '../src/compute/table-query.js';
import type { MergeLimits } from '../src/remote/merge-policy.js';
import { defaultMergeLimits } from '../src/remote/merge-policy.js';
import type { Table } from '../src/tables/schema.js';
import { openRows, type TestableRows } from './testable-rows.js';
import { openFolder, TestableUploads } from './testable-uploads.js';

export interface ComputeOptions {
  readonly tables: Table[];
  readonly regionCount?: number;
  readonly freshBytesMax?: number;
  readonly limits?: Partial<SqlLimits>;
  readonly queriesMax?: number;
  readonly waitingMax?: number;
  readonly mergeLimits?: MergeLimits;
}

export interface SqlAnswer {
  readonly columns: { name: string; type: string }[];
  readonly rows: unknown[][];
  readonly row_count: number;
  readonly stats: { took_ms: number; bytes_fetched: number; bytes_read_from_cache: number };
}

/** A write node and a compute node in one process, without the nodes: rows, uploads, a bucket in a folder, the file cache, and queries. */
export class TestableCompute {
  readonly folder = mkdtempSync(join(tmpdir(), 'binnacle-compute-'));
  rows!: TestableRows;
  store!: ObjectStore;
  uploads!: TestableUploads;
  cache!: FileCache;
  source!: FreshRowsSource;
  follower!: ManifestFollower;
  fresh!: FreshRows;
  processes!: QueryProcesses;
  queries!: TableQueries;
  sql!: Sql;
  /** What the compute node asked write nodes for rows. */
  readonly asked: FreshRegionQuestion[][] = [];
  isWriteNodeAway = false;

  private constructor(readonly options: ComputeOptions) {}

  static async open(options: ComputeOptions): Promise<TestableCompute> {
    const compute = new TestableCompute(options);
    await compute.#open();
    return compute;
  }

  async #open(): Promise<void> {
    const { tables, regionCount = 2, freshBytesMax = 2 ** 20, mergeLimits = defaultMergeLimits } = this.options;
    this.rows = await openRows(this.folder);
    this.store = await openFolder(this.folder);
    this.uploads = new TestableUploads({ dataDir: this.folder, clock: systemClock, rows: this.rows.store, store: this.store, tables, regionCount, mergeLimits });
    const silent = { warn: () => undefined, error: () => undefined };
    const claimed = (id: number): { term: number; versionBase: number } => ({ term: 1, versionBase: this.uploads.uploader.known(id)?.manifest.versionBase ?? 0 });
    this.source = new FreshRowsSource({
      clock: systemClock,
      log: silent,
      rows: this.rows.store,
      tableById: (id) => tables.find((table) => table.id === id),
      claimed,
      uploader: this.uploads.uploader,
      bytesMax: freshBytesMax,
    });
    this.follower = new ManifestFollower({
      clock: systemClock,
      state: { signal: async () => undefined, onSignal: () => () => undefined } as unknown as ClusterState,
      log: silent,
      isOn: () => true,
      regions: () => tables.flatMap(({ regions }) => regions),
      read: (tableId, regionId, read) => this.uploads.manifests.read(tableId, regionId, read),
      readUnless: (known, read) => this.uploads.manifests.readUnless(known, read),
      pendingMs: async (_node, questions) => {
        if (this.isWriteNodeAway) throw new Error('away');
        return this.source.pending(questions);
      },
      pollMs: 1_000,
    });
    this.fresh = new FreshRows({
      folder: join(this.folder, 'fresh'),
      bytesMax: freshBytesMax,
      current: (id) => this.follower.current(id),
      refresh: (id) => this.follower.refresh(id),
      ask: async (_node, questions) => {
        if (this.isWriteNodeAway) throw new Error('away');
        this.asked.push([...questions]);
        return decodeFreshAnswer(Buffer.concat(encodeFreshAnswer(await this.source.answer(questions))));
      },
    });
    this.cache = new FileCache(async (key, range, signal) => this.store.getRange(key, range, { signal }), systemClock, {
      folder: join(this.folder, 'cache'),
      capacityBytes: 2 ** 32,
      limits: () => ({ fileLevel: 100, minAgeMs: 0, downloads: 4, downloadsMax: 20 }),
    });
    this.#openQueries(tables);
    this.uploads.uploader.onPublished((known) => this.follower.published(known));
    this.cache.start();
    await this.uploads.start();
    await this.source.start();
    await this.follower.start();
    await this.fresh.start();
  }

  #openQueries(tables: readonly Table[]): void {
    const { queriesMax = 2, waitingMax = 8 } = this.options;
    const limits = { rowsMax: 1_000_000, timeoutMs: 60_000, viewTimeoutMs: 60_000, memoryMegabytes: 256, threads: 2, ...this.options.limits };
    this.processes = new QueryProcesses({ queriesMax, waitingMax, memoryMegabytes: limits.memoryMegabytes, threads: limits.threads });
    this.queries = new TableQueries({ fresh: this.fresh, files: new SegmentFiles(this.cache) });
    const kept = new Map<string, { body: Buffer }>();
    this.sql = new Sql({
      processes: this.processes,
      queries: this.queries,
      catalog: {
        all: () => tables,
        lookUp: async (name) => {
          const table = tables.find((candidate) => candidate.name === name);
          if (table === undefined) throw new Error('Collection not found');
          return table;
        },
      },
      cache: { kept: (key) => kept.get(key), keep: (key, _ttlS, answer) => void kept.set(key, answer) },
      log: { warn: () => undefined, error: () => undefined },
      limits,
      fetchedBytes: () => this.cache.counters.missBytes,
      folder: this.folder,
      hidden: [this.folder],
    });
  }

  async put(table: Pick<Table, 'id'>, ...documents: { id: string; [field: string]: unknown }[]): Promise<void> {
    const changes = documents.map((document) => ({ handle: Buffer.from(document.id), put: Buffer.from(JSON.stringify(document)) }));
    await this.rows.store.write(table.id, changes, { durability: 'fsync' });
  }

  async remove(table: Pick<Table, 'id'>, ...ids: string[]): Promise<void> {
    const changes = ids.map((id) => ({ handle: Buffer.from(id), decide: () => 'delete' as const }));
    await this.rows.store.write(table.id, changes, { durability: 'fsync' });
  }

  async upload(): Promise<void> {
    await this.uploads.uploader.uploadNow();
  }

  async text(sql: string, more: Record<string, unknown> = {}): Promise<string> {
    const parts: Buffer[] = [];
    const request = parseSqlRequest(JSON.stringify({ sql, ...more }), {}, undefined);
    await this.sql.answer(request, { write: async (bytes) => void parts.push(Buffer.from(bytes)) }, new AbortController().signal);
    return Buffer.concat(parts).toString(request.format === 'json' || request.format === 'csv' ? 'utf8' : 'latin1');
  }

  async ask(sql: string, more: Record<string, unknown> = {}): Promise<SqlAnswer> {
    return JSON.parse(await this.text(sql, more)) as SqlAnswer;
  }

  async find(sql: string, more: Record<string, unknown> = {}): Promise<unknown[][]> {
    return (await this.ask(sql, more)).rows;
  }

  async close(): Promise<void> {
    await this.processes.stop();
    await this.fresh.stop();
    await this.follower.stop();
    await this.source.stop();
    await this.uploads.stop();
    await this.cache.stop();
    await this.rows.store.stop();
    await this.store.close();
    rmSync(this.folder, { recursive: true });
  }
}
