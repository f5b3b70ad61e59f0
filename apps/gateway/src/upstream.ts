import type { Clock } from '@binnacle/cluster-state/clock';
import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import type { NodeDirectory } from '@binnacle/cluster-state/node-directory';
import { Pool } from 'undici';
import type { Load } from './balancer.js';
import { OutlierDetection } from './outlier-detection.js';

/** Nodes are in the same network: one that does not take a connection in this time is not there. */
const connectTimeoutMs = 2_000;
/** A body that stands still for this long is given up. Server-sent events send a comment more often than that. */
const bodyIdleMsMax = 120_000;
/** Where a node does not say how long it keeps an idle connection. Ours do, and undici then closes it 2 s earlier than they would. */
const keepAliveMs = 30_000;
const answerHeadBytesMax = 32 * 1024;

/** One node as this gateway sees it: how much it has to do, how well it does, and the connections to it. */
export class Upstream implements Load {
  readonly outliers = new OutlierDetection();
  outstanding = 0;
  #record: NodeRecord;
  #outstandingOfOthers = 0;
  #runningSinceMs: number | undefined;
  #pool: Pool | undefined;

  constructor(
    record: NodeRecord,
    private readonly connectionsMax: number,
    nowMs: number,
  ) {
    this.#record = record;
    this.update(record, nowMs);
  }

  get record(): NodeRecord {
    return this.#record;
  }

  get outstandingOfOthers(): number {
    return this.#outstandingOfOthers;
  }

  get runningSinceMs(): number | undefined {
    return this.#runningSinceMs;
  }

  /** Takes a newer record of the same incarnation. What it reports includes the requests of this gateway at that time. */
  update(record: NodeRecord, nowMs: number): void {
    if (record.host !== this.#record.host || record.port !== this.#record.port) this.close();
    this.#record = record;
    this.#outstandingOfOthers = Math.max(0, record.outstandingRequests - this.outstanding);
    if (record.state === 'running') this.#runningSinceMs ??= nowMs;
  }

  get pool(): Pool {
    if (this.#pool !== undefined) return this.#pool;
    const { host, port } = this.#record;
    this.#pool = new Pool(`http://${host.includes(':') ? `[${host}]` : host}:${port}`, {
      connections: this.connectionsMax,
      pipelining: 1,
      connectTimeout: connectTimeoutMs,
      // The deadline of the route counts, and it includes the wait for a connection.
      headersTimeout: 0,
      bodyTimeout: bodyIdleMsMax,
      keepAliveTimeout: keepAliveMs,
      maxHeaderSize: answerHeadBytesMax,
      allowH2: false,
    });
    return this.#pool;
  }

  /** Lets the requests on their way finish, then closes their connections. */
  close(): void {
    const pool = this.#pool;
    this.#pool = undefined;
    void pool?.close();
  }

  async destroy(): Promise<void> {
    await this.#pool?.destroy();
  }
}

export interface UpstreamsOptions {
  readonly directory: Pick<NodeDirectory, 'byId' | 'all' | 'onChange'>;
  readonly clock: Clock;
  /** Connections to one node, and requests on their way to it. */
  readonly outstandingPerNodeMax: number;
}

/** The nodes that requests were sent to. */
export class Upstreams {
  readonly outstandingPerNodeMax: number;
  readonly #byId = new Map<string, Upstream>();
  readonly #clock: Clock;
  readonly #directory: UpstreamsOptions['directory'];
  #stopWatching: () => void;

  constructor({ directory, clock, outstandingPerNodeMax }: UpstreamsOptions) {
    this.#clock = clock;
    this.#directory = directory;
    this.outstandingPerNodeMax = outstandingPerNodeMax;
    // Nodes are taken up when they appear and not with their first request, so that slow start counts from there.
    this.#stopWatching = directory.onChange(() => this.#follow());
    this.#follow();
  }

  of(record: NodeRecord): Upstream {
    const known = this.#byId.get(record.id);
    if (known !== undefined) {
      if (known.record === record) return known;
      if (known.record.incarnation === record.incarnation) {
        known.update(record, this.#clock.monotonicMs());
        return known;
      }
      known.close();
    }
    const upstream = new Upstream(record, this.outstandingPerNodeMax, this.#clock.monotonicMs());
    this.#byId.set(record.id, upstream);
    return upstream;
  }

  all(): Iterable<Upstream> {
    return this.#byId.values();
  }

  async stop(): Promise<void> {
    this.#stopWatching();
    await Promise.all([...this.#byId.values()].map((upstream) => upstream.destroy()));
    this.#byId.clear();
  }

  #follow(): void {
    for (const record of this.#directory.all()) this.of(record);
    for (const [id, upstream] of this.#byId) {
      if (this.#directory.byId(id) !== undefined) continue;
      this.#byId.delete(id);
      upstream.close();
    }
  }
}
