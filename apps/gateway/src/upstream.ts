import type { Clock } from '@binnacle/cluster-state/clock';
import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import type { NodeDirectory } from '@binnacle/cluster-state/node-directory';
import type { Load } from './balancer.js';
import { NodeConnection, type AnswerHandler, type NodeRequest } from './node-connection.js';
import { OutlierDetection } from './outlier-detection.js';

/** How often idle connections are looked at that have become too old. */
const sweepMs = 1_000;

/** One node as this gateway sees it: how much it has to do, how well it does, and the connections to it. */
export class Upstream implements Load {
  readonly outliers = new OutlierDetection();
  outstanding = 0;
  #record: NodeRecord;
  #outstandingOfOthers = 0;
  #runningSinceMs: number | undefined;
  readonly #connections = new Set<NodeConnection>();
  /** The one used last comes first: few connections stay warm, and the rest can go. */
  readonly #idle: NodeConnection[] = [];
  #cancelSweep: (() => void) | undefined;

  constructor(
    record: NodeRecord,
    private readonly clock: Clock,
  ) {
    this.#record = record;
    this.update(record);
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
  update(record: NodeRecord): void {
    if (record.host !== this.#record.host || record.port !== this.#record.port) this.closeIdle();
    this.#record = record;
    this.#outstandingOfOthers = Math.max(0, record.outstandingRequests - this.outstanding);
    if (record.state === 'running') this.#runningSinceMs ??= this.clock.monotonicMs();
  }

  /** On an idle connection if there is one, else on a new one: there are never more than requests on their way, which have a limit. */
  send(request: NodeRequest, handler: AnswerHandler): NodeConnection {
    const connection = this.#takeIdle() ?? this.#connect();
    connection.send(request, handler);
    return connection;
  }

  connectionCount(): number {
    return this.#connections.size;
  }

  /** Those in use end with their requests' answers, because the node is gone or elsewhere. */
  closeIdle(): void {
    for (const connection of this.#idle.splice(0)) connection.destroy();
  }

  destroy(): void {
    this.#cancelSweep?.();
    for (const connection of this.#connections) connection.destroy();
  }

  #takeIdle(): NodeConnection | undefined {
    for (let connection = this.#idle.pop(); connection !== undefined; connection = this.#idle.pop()) {
      if (connection.isFresh()) return connection;
      connection.destroy();
    }
    return undefined;
  }

  #connect(): NodeConnection {
    const { host, port } = this.#record;
    const connection = new NodeConnection({ host, port }, this.clock, {
      onIdle: () => {
        // The node may have moved since.
        if (host !== this.#record.host || port !== this.#record.port) return connection.destroy();
        this.#idle.push(connection);
        this.#cancelSweep ??= this.clock.after(sweepMs, () => this.#sweep());
      },
      onClose: () => {
        this.#connections.delete(connection);
        const index = this.#idle.indexOf(connection);
        if (index >= 0) this.#idle.splice(index, 1);
      },
    });
    this.#connections.add(connection);
    return connection;
  }

  #sweep(): void {
    for (const connection of this.#idle) if (!connection.isFresh()) connection.destroy();
    this.#cancelSweep = this.#idle.length === 0 ? undefined : this.clock.after(sweepMs, () => this.#sweep());
  }
}

export interface UpstreamsOptions {
  readonly directory: Pick<NodeDirectory, 'byId' | 'all' | 'onChange'>;
  readonly clock: Clock;
  /** Requests on their way to one node, and so connections to it. */
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
        known.update(record);
        return known;
      }
      known.closeIdle();
    }
    const upstream = new Upstream(record, this.#clock);
    this.#byId.set(record.id, upstream);
    return upstream;
  }

  all(): Iterable<Upstream> {
    return this.#byId.values();
  }

  /** Cuts what still runs. */
  stop(): void {
    this.#stopWatching();
    for (const upstream of this.#byId.values()) upstream.destroy();
    this.#byId.clear();
  }

  #follow(): void {
    for (const record of this.#directory.all()) this.of(record);
    for (const [id, upstream] of this.#byId) {
      if (this.#directory.byId(id) !== undefined) continue;
      this.#byId.delete(id);
      upstream.closeIdle();
    }
  }
}
