import type { Clock } from './clock.js';
import {
  ClusterStateUnavailable,
  type Availability,
  type CampaignAnswer,
  type CampaignRequest,
  type Candidate,
  type ClusterState,
  type DocumentWrite,
  type DocumentWriteAnswer,
  type HeartbeatAnswer,
  type KeyedDocument,
  type Lease,
  type NodeRecord,
  type ResignRequest,
  type Tenure,
  type Unsubscribe,
  type VersionedDocument,
  type WatchTopic,
} from './cluster-state.js';
import { EmbeddedStore } from './embedded-store.js';
import * as decide from './lease-decision.js';
import * as limits from './limits.js';
import { Listeners } from './listeners.js';
import { steadyPart } from './node-record.js';

/** Leases that one process may know; names come from code, so more is a mistake. */
const leasesMax = 10_000;
/** A disk that refused is tried again this often at most: whoever hears that it is back asks at once, and must not turn that into a loop. */
const diskProbeIntervalMs = 1_000;

/** Cluster state for a cluster that is one process: decided in memory, terms and documents on disk before an answer is given. */
export class EmbeddedClusterState implements ClusterState {
  readonly kind = 'embedded';
  readonly #clock: Clock;
  readonly #store: EmbeddedStore;
  readonly #leases = new Map<string, decide.LeaseState>();
  readonly #nodes = new Map<string, { node: NodeRecord; untilMs: number }>();
  readonly #topics = new Map<string, Listeners<string>>();
  readonly #availabilityListeners = new Listeners<Availability>();
  readonly #closing = new Listeners<void>();
  #availability: Availability;
  /** Monotonic. */
  #nextProbeMs = 0;
  #closed = false;

  /** Throws `ClusterStateUnusable` when the folder cannot be used, above all when another process uses it. A test may bring a store that fails on demand. */
  constructor(dataDir: string, clock: Clock, store = new EmbeddedStore(dataDir)) {
    this.#clock = clock;
    this.#store = store;
    this.#availability = { available: true, sinceMs: clock.nowMs(), reason: '' };
    for (const lease of this.#store.loadLeases(clock.nowMs())) this.#leases.set(lease.name, lease);
  }

  availability(): Availability {
    return this.#availability;
  }

  pendingOperations(): number {
    return 0;
  }

  async campaign(request: CampaignRequest): Promise<CampaignAnswer> {
    limits.checkCampaign(request);
    return this.#act(() => {
      const before = this.#lease(request.lease);
      const step = decide.campaign(before, request, this.#now());
      if (step.changed || step.lease.floor > before.floor) this.#store.saveLease(step.lease, step.ended);
      return this.#take(step);
    });
  }

  async resign(request: ResignRequest): Promise<boolean> {
    limits.checkResign(request);
    return this.#act(() => {
      const step = decide.resign(this.#lease(request.lease), request, this.#now());
      if (step.changed) this.#store.saveLease(step.lease, step.ended);
      return this.#take(step);
    });
  }

  async withdraw(lease: string, candidate: Candidate): Promise<void> {
    limits.checkLeaseName(lease);
    limits.checkCandidate(candidate);
    this.#act(() => this.#leases.set(lease, decide.withdraw(this.#lease(lease), candidate)));
  }

  async reserve(lease: string, nodeId: string, reservedMs: number): Promise<void> {
    limits.checkLeaseName(lease);
    limits.checkNodeId(nodeId);
    limits.checkDuration('reservedMs', reservedMs);
    this.#act(() => {
      const reserved = decide.reserve(this.#lease(lease), nodeId, reservedMs, this.#now());
      this.#take({ lease: reserved, answer: undefined, changed: true });
    });
  }

  async lease(name: string): Promise<Lease | undefined> {
    limits.checkLeaseName(name);
    return this.#act(() => decide.describeLease(this.#lease(name), this.#now()));
  }

  async leases(): Promise<Lease[]> {
    return this.#act(() => {
      const described = [...this.#leases.values()].map((lease) => decide.describeLease(lease, this.#now()));
      return described.filter((lease) => lease !== undefined).toSorted((a, b) => (a.name < b.name ? -1 : 1));
    });
  }

  async leaseHistory(name: string, limit: number): Promise<Tenure[]> {
    limits.checkLeaseName(name);
    const count = limits.checkHistoryLimit(limit);
    return this.#act(() => {
      const latest = decide.latestTenure(this.#lease(name), this.#now());
      const kept = this.#store.tenures(name, count);
      return latest === undefined ? kept : [latest, ...kept.filter(({ term }) => term < latest.term)].slice(0, count);
    });
  }

  async heartbeat(node: NodeRecord, ttlMs: number): Promise<HeartbeatAnswer> {
    limits.checkNode(node, ttlMs);
    return this.#act(() => {
      let changed = this.#forgetGoneNodes();
      const before = this.#nodes.get(node.id)?.node;
      if (before === undefined && this.#nodes.size >= limits.nodesMax) throw new RangeError(`the registry holds at most ${limits.nodesMax} nodes`);
      if (before === undefined || steadyPart(before) !== steadyPart(node)) changed = true;
      this.#nodes.set(node.id, { node: structuredClone(node), untilMs: this.#clock.monotonicMs() + ttlMs });
      if (changed) this.#publish('watch:nodes');
      const revision = this.#store.revision();
      return before !== undefined && before.incarnation !== node.incarnation ? { revision, replaced: before } : { revision };
    });
  }

  async deregister(nodeId: string, incarnation: string): Promise<void> {
    limits.checkNodeId(nodeId);
    limits.checkIncarnation(incarnation);
    this.#act(() => {
      if (this.#nodes.get(nodeId)?.node.incarnation !== incarnation) return;
      this.#nodes.delete(nodeId);
      this.#publish('watch:nodes');
    });
  }

  async nodes(): Promise<NodeRecord[]> {
    return this.#act(() => {
      const nowMs = this.#clock.monotonicMs();
      const live = [...this.#nodes.values()].filter(({ untilMs }) => untilMs > nowMs).map(({ node }) => structuredClone(node));
      return live.toSorted((a, b) => (a.id < b.id ? -1 : 1));
    });
  }

  async readDocument(key: string): Promise<{ document: VersionedDocument | undefined; revision: number }> {
    limits.checkDocumentKey(key);
    return this.#act(() => ({ document: this.#store.readDocument(key), revision: this.#store.revision() }));
  }

  async documents(): Promise<KeyedDocument[]> {
    return this.#act(() => this.#store.documents());
  }

  /** Everything that is kept, in a file which can take the place of the present one while nobody uses it. */
  async copyTo(file: string): Promise<void> {
    if (this.#closed) throw new ClusterStateUnavailable('the cluster state is closed');
    // A disk that refuses the copy is not the one that the state is on.
    this.#store.copyTo(file);
  }

  async writeDocument(request: DocumentWrite): Promise<DocumentWriteAnswer> {
    limits.checkDocumentWrite(request);
    return this.#act(() => {
      const { repeated, ...answer } = this.#store.writeDocument(request);
      if (answer.written && !repeated) this.#publish(`watch:document:${request.key}`);
      return answer;
    });
  }

  async signal(topic: string, payload: string): Promise<void> {
    limits.checkSignal(topic, payload);
    this.#act(() => this.#publish(`signal:${topic}`, payload));
  }

  onSignal(topic: string, listener: (payload: string) => void): Unsubscribe {
    limits.checkTopic(topic);
    return this.#subscribe(`signal:${topic}`, listener);
  }

  watch(topic: WatchTopic, listener: () => void): Unsubscribe {
    limits.checkTopic(topic);
    return this.#subscribe(`watch:${topic}`, () => listener());
  }

  onAvailabilityChange(listener: (availability: Availability) => void): Unsubscribe {
    return this.#availabilityListeners.add(listener);
  }

  /** For what belongs to this state and must end with it. */
  onClose(listener: () => void): Unsubscribe {
    return this.#closing.add(listener);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#closing.notify();
    this.#topics.clear();
    this.#store.close();
  }

  /** What the disk refuses is a store that is away: the state in memory is then as before, and the caller may ask again. */
  #act<T>(work: () => T): T {
    if (this.#closed) throw new ClusterStateUnavailable('the cluster state is closed');
    try {
      // Reads and renewals succeed without the disk; only a write that needs room shows that it is back.
      if (!this.#availability.available) this.#tryDisk();
      return work();
    } catch (error) {
      if (error instanceof RangeError) throw error;
      const reason = `the file of the cluster state cannot be used: ${(error as Error).message}`;
      if (this.#availability.available) this.#nextProbeMs = this.#clock.monotonicMs() + diskProbeIntervalMs;
      this.#setAvailability(false, reason);
      throw new ClusterStateUnavailable(reason, { cause: error });
    }
  }

  #tryDisk(): void {
    if (this.#clock.monotonicMs() < this.#nextProbeMs) return;
    this.#nextProbeMs = this.#clock.monotonicMs() + diskProbeIntervalMs;
    try {
      this.#store.probe();
      this.#setAvailability(true, '');
    } catch {
      // Still away; what can be answered from memory is answered.
    }
  }

  #setAvailability(available: boolean, reason: string): void {
    if (this.#availability.available === available) return;
    this.#availability = { available, sinceMs: this.#clock.nowMs(), reason };
    this.#availabilityListeners.notify(this.#availability);
  }

  #lease(name: string): decide.LeaseState {
    const lease = this.#leases.get(name);
    if (lease === undefined && this.#leases.size >= leasesMax) throw new RangeError(`there are at most ${leasesMax} leases`);
    return lease ?? decide.newLease(name);
  }

  #take<Answer>(step: decide.LeaseStep<Answer>): Answer {
    this.#leases.set(step.lease.name, step.lease);
    if (step.changed) this.#publish(`watch:lease:${step.lease.name}`);
    return step.answer;
  }

  #now(): decide.Instant {
    return { monotonicMs: this.#clock.monotonicMs(), wallMs: Math.round(this.#clock.nowMs()) };
  }

  #forgetGoneNodes(): boolean {
    const nowMs = this.#clock.monotonicMs();
    const gone = [...this.#nodes].filter(([, { untilMs }]) => untilMs <= nowMs);
    for (const [id] of gone) this.#nodes.delete(id);
    return gone.length > 0;
  }

  #subscribe(channel: string, listener: (payload: string) => void): Unsubscribe {
    let listeners = this.#topics.get(channel);
    if (listeners === undefined) {
      listeners = new Listeners();
      this.#topics.set(channel, listeners);
    }
    const remove = listeners.add(listener);
    return () => {
      remove();
      if (this.#topics.get(channel)?.size === 0) this.#topics.delete(channel);
    };
  }

  /** After the operation that caused it has been answered, as it would be over a network. */
  #publish(channel: string, payload = ''): void {
    queueMicrotask(() => this.#topics.get(channel)?.notify(payload));
  }
}
