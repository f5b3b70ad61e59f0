import { join, resolve } from 'node:path';
import { isInMode } from '@binnacle/contracts/disagg-mode';
import { BinnacleError } from '@binnacle/contracts/errors';
import { AgentClient } from '@binnacle/node-kit/agent-client';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import { Gauge } from 'prom-client';
import { FileCache } from '../cache/file-cache.js';
import { writeNodesOf } from '../regions/region.js';
import { OwnRegions } from '../regions/own-regions.js';
import { RemoteStore } from '../remote/remote-store.js';
import { Uploader } from '../remote/uploader.js';
import { RowStore } from '../row-store.js';
import { LargeDocuments } from '../documents/large-documents.js';
import { ResultCache } from '../search/result-cache.js';
import type { Table } from '../tables/schema.js';
import { Catalog } from '../tables/catalog.js';
import { decodeFreshAnswer, type FreshAnswer, type FreshRegionQuestion } from './fresh-format.js';
import { FreshRows } from './fresh-rows.js';
import { FreshRowsSource } from './fresh-rows-source.js';
import { ManifestFollower, type PendingQuestion } from './manifest-follower.js';
import { QueryProcesses } from './query-processes.js';
import { RemoteSearch } from './remote-search.js';
import { SegmentFiles } from './segment-files.js';
import { Sql } from './sql.js';
import { TableQueries } from './table-query.js';

const mebibyte = 2 ** 20;
/** A write node that does not answer within this is away. */
const askTimeoutMs = 10_000;
/** Lines of JSON with an answer; the rows beside it have their own limit. */
const answerHeadBytesMax = 8 * mebibyte;

/** What a node does for queries: it follows manifests, tells and gets rows that are not uploaded yet, and runs SQL. */
@Injectable()
export class Compute {
  readonly follower: ManifestFollower;
  readonly source: FreshRowsSource;
  readonly fresh: FreshRows;
  readonly processes: QueryProcesses;
  readonly queries: TableQueries;
  readonly #sql: Sql;
  readonly #search: RemoteSearch;

  constructor(
    private readonly node: NodeContext,
    private readonly catalog: Catalog,
    private readonly remote: RemoteStore,
    private readonly cache: FileCache,
    private readonly agents: AgentClient,
    own: OwnRegions,
    rows: RowStore,
    uploader: Uploader,
    results: ResultCache,
    large: LargeDocuments,
  ) {
    const { config, clock, log, state } = node;
    const { freshMegabytesMax, manifestPollMs, sqlMemoryMegabytesMax, sqlQueriesMax, sqlQueueMax, sqlRowsMax, sqlThreads, sqlTimeoutMs, sqlViewTimeoutMs } = config.storage;
    const manifests = own.manifests;
    this.source = new FreshRowsSource({
      clock,
      log,
      rows,
      uploader,
      tableById: (id) => catalog.byId(id),
      claimed: (regionId) => own.claimed(regionId),
      bytesMax: freshMegabytesMax * mebibyte,
    });
    this.follower = new ManifestFollower({
      clock,
      state,
      log,
      isOn: () => remote.isOn(),
      regions: () => catalog.all().flatMap(({ regions }) => regions),
      read: (tableId, regionId, options) => manifests.read(tableId, regionId, options),
      readUnless: (known, options) => manifests.readUnless(known, options),
      pendingMs: (nodeId, questions, signal) => this.#pendingMs(nodeId, questions, signal),
      pollMs: manifestPollMs,
    });
    const folder = resolve(join(config.dataDir, 'storage', 'fresh'));
    this.fresh = new FreshRows({
      folder,
      bytesMax: freshMegabytesMax * mebibyte,
      current: (regionId) => this.follower.current(regionId),
      refresh: (regionId) => this.follower.refresh(regionId),
      ask: (nodeId, questions, signal) => this.#ask(nodeId, questions, signal),
    });
    const limits = { memoryMegabytes: sqlMemoryMegabytesMax, threads: sqlThreads };
    this.processes = new QueryProcesses({ queriesMax: sqlQueriesMax, waitingMax: sqlQueueMax, ...limits });
    this.queries = new TableQueries({ fresh: this.fresh, files: new SegmentFiles(cache) });
    const sqlLimits = { rowsMax: sqlRowsMax, timeoutMs: sqlTimeoutMs, viewTimeoutMs: sqlViewTimeoutMs, ...limits };
    this.#search = new RemoteSearch({ processes: this.processes, queries: this.queries, large, limits: { ...sqlLimits, timeoutMs: config.storage.searchWaitMs + config.storage.searchTimeoutMs } });
    this.#sql = new Sql({
      processes: this.processes,
      queries: this.queries,
      catalog,
      cache: results,
      log,
      limits: sqlLimits,
      fetchedBytes: () => cache.counters.missBytes,
      folder,
      hidden: [folder, ...cache.folders().map((cached) => resolve(cached))],
    });
    // Parts stop in the reverse order: queries before what they read from.
    if (config.storage.modes.includes('write') && remote.isOn()) node.addPart(this.source);
    node.addPart(this.follower);
    if (this.isCompute()) for (const part of [this.fresh, this.processes]) node.addPart(part);
    uploader.onPublished((known) => this.follower.published(known));
    this.#addMetrics();
  }

  isCompute(): boolean {
    return this.node.config.storage.modes.includes('compute');
  }

  /** Throws CAPABILITY_MISSING where there is no remote store. */
  sql(): Sql {
    this.remote.store();
    return this.#sql;
  }

  /** Undefined: this node does not answer for rows that are elsewhere. */
  search(): RemoteSearch | undefined {
    return this.isCompute() && this.remote.isOn() ? this.#search : undefined;
  }

  /** The node that answers for all rows of the table, where this one cannot: the only one that has them, or a compute node. Throws NO_TARGET. */
  nodeFor(table: Pick<Table, 'regions'>): string {
    const [only, ...others] = writeNodesOf(table);
    return only !== undefined && others.length === 0 ? only : this.otherNode();
  }

  /** The compute node with the least to do. Throws NO_TARGET when there is none. */
  otherNode(): string {
    const computes = this.node.directory.byRole('storage').filter((node) => node.id !== this.node.id && node.state === 'running' && isInMode(node, 'compute'));
    const [target] = computes.sort((left, right) => left.outstandingRequests - right.outstandingRequests);
    if (target !== undefined) return target.id;
    throw new BinnacleError('NO_TARGET', 'No compute node is there: `storage.modes` of at least one storage node has to have `compute`.', { retryAfterS: 1 });
  }

  async #ask(nodeId: string, questions: readonly FreshRegionQuestion[], signal: AbortSignal): Promise<FreshAnswer> {
    if (nodeId === this.node.id) return this.source.answer(questions);
    const bytesMax = this.node.config.storage.freshMegabytesMax * mebibyte + answerHeadBytesMax;
    return decodeFreshAnswer(await this.#post(nodeId, '/internal/v1/fresh-rows', { regions: questions }, bytesMax, signal));
  }

  async #pendingMs(nodeId: string, questions: readonly PendingQuestion[], signal: AbortSignal): Promise<ReadonlyMap<number, number>> {
    if (nodeId === this.node.id) return this.source.pending(questions);
    const bytes = await this.#post(nodeId, '/internal/v1/pending-writes', { regions: questions }, answerHeadBytesMax, signal);
    return new Map(JSON.parse(bytes.toString()) as [number, number][]);
  }

  async #post(nodeId: string, path: string, body: unknown, bytesMax: number, signal: AbortSignal): Promise<Buffer> {
    const record = this.node.directory.byId(nodeId);
    if (record === undefined) throw away(nodeId);
    const { status, bytes } = await this.agents.requestBytes(record, { method: 'POST', path, body, timeoutMs: askTimeoutMs, signal }, bytesMax).catch((error: unknown) => {
      throw away(nodeId, error);
    });
    if (status !== 200) throw away(nodeId, new Error(`it answers ${status}: ${bytes.toString('utf8', 0, 200)}`));
    return bytes;
  }

  #addMetrics(): void {
    const gauge = (name: string, help: string, value: () => number): void => {
      const metric: Gauge = new Gauge({ name, help, registers: [this.node.metrics], collect: () => metric.set(value()) });
    };
    gauge('binnacle_storage_queries_running', 'Queries that run on this node.', () => this.processes.running());
    gauge('binnacle_storage_queries_waiting', 'Queries that wait for others to end.', () => this.processes.waiting());
    gauge('binnacle_storage_fresh_bytes', 'Rows not in the remote store yet that this node keeps for queries.', () => this.fresh.bytes());
  }
}

function away(nodeId: string, cause?: unknown): BinnacleError {
  return new BinnacleError('NOT_READY', `Node ${nodeId}, which has rows that are not in the remote store yet, does not answer; with stale=true the answer is without them.`, { cause, retryAfterS: 1 });
}
