/**
 * What the nodes of a cluster agree on: leases, the node registry, documents, signals.
 * Implemented by `RedisClusterState` (many processes) and `EmbeddedClusterState` (one process, durable file);
 * `cluster-state.contract.ts` says what both must do.
 *
 * Every operation is one round trip, has a deadline, and rejects with `ClusterStateUnavailable` when the store cannot be
 * reached in time; whether it took effect is then unknown, and asking again is always safe.
 */
export interface ClusterState {
  readonly kind: 'redis' | 'embedded';

  /** Whether the store answers, and since when (wall clock) this is so. Never throws, never waits. */
  availability(): Availability;
  /** Operations sent and not answered yet. */
  pendingOperations(): number;

  /**
   * Takes the lease when it is free, renews it when this candidate holds it, else puts the candidate among those who wait.
   * A waiting candidate is forgotten after `ttlMs` without a further call.
   */
  campaign(request: CampaignRequest): Promise<CampaignAnswer>;
  /**
   * Ends the candidate's tenure. With a `successor` (node id) the free lease is kept for that node for `reservedMs`;
   * without one, the node that resigned gets it back only once nobody else waits.
   * False when the candidate does not hold that term.
   */
  resign(request: ResignRequest): Promise<boolean>;
  /** Stops waiting for a lease. */
  withdraw(lease: string, candidate: Candidate): Promise<void>;
  /** Keeps the lease, once it is free, for one node for `reservedMs`: how a vote outlasts a dead leader. */
  reserve(lease: string, nodeId: string, reservedMs: number): Promise<void>;
  lease(name: string): Promise<Lease | undefined>;
  leases(): Promise<Lease[]>;
  /** Newest first; at most the last 1000 tenures of a lease are kept. The tenure that still runs has no `endedAtMs`. */
  leaseHistory(name: string, limit: number): Promise<Tenure[]>;

  /** Registers or refreshes a node; it goes by itself when not refreshed for `ttlMs`. */
  heartbeat(node: NodeRecord, ttlMs: number): Promise<HeartbeatAnswer>;
  /** Takes the node out at once, unless another incarnation of it has registered since. */
  deregister(nodeId: string, incarnation: string): Promise<void>;
  nodes(): Promise<NodeRecord[]>;

  /** `revision` is the committed revision at the time of the read. */
  readDocument(key: string): Promise<{ document: VersionedDocument | undefined; revision: number }>;
  /** Every document, by key. */
  documents(): Promise<KeyedDocument[]>;
  /** Writes when the stored version is `expectedVersion` (0: there is none yet). Each write raises the committed revision by one. */
  writeDocument(request: DocumentWrite): Promise<DocumentWriteAnswer>;

  /** Sends a small message (at most 64 KiB) to every listener of the topic, at most once each. */
  signal(topic: string, payload: string): Promise<void>;
  onSignal(topic: string, listener: (payload: string) => void): Unsubscribe;
  /**
   * Calls back after something of the topic changed, and whenever changes may have been missed (reconnect): read again then.
   * A hint that may come late or twice; whoever needs certainty polls as well.
   */
  watch(topic: WatchTopic, listener: () => void): Unsubscribe;
  onAvailabilityChange(listener: (availability: Availability) => void): Unsubscribe;

  close(): Promise<void>;
}

export type Unsubscribe = () => void;
export type WatchTopic = 'nodes' | `lease:${string}` | `document:${string}`;

export interface Availability {
  readonly available: boolean;
  readonly sinceMs: number;
  /** Why it is away, in words for a person; empty while it is there. */
  readonly reason: string;
}

/** A node that wants a lease. The incarnation is new at every start, so that a restarted process does not inherit. */
export interface Candidate {
  readonly nodeId: string;
  readonly incarnation: string;
  /** host:port, for people and for `owner_id`. */
  readonly address: string;
}

export interface CampaignRequest {
  readonly lease: string;
  readonly candidate: Candidate;
  readonly ttlMs: number;
  /** The highest term this candidate has ever seen of the lease: a store that lost its memory cannot go back behind it. */
  readonly termFloor: number;
}

export type CampaignAnswer =
  | { readonly held: true; readonly term: number }
  | { readonly held: false; readonly lease: Lease | undefined };

export interface ResignRequest {
  readonly lease: string;
  readonly candidate: Candidate;
  readonly term: number;
  readonly successor?: string;
  readonly reservedMs?: number;
}

export interface Lease {
  readonly name: string;
  readonly term: number;
  /** Absent while the lease is free. */
  readonly owner: Candidate | undefined;
  /** What is left of it on the store's clock; 0 while it is free. */
  readonly remainingMs: number;
  /** Node ids of those who wait for it. */
  readonly waiting: readonly string[];
}

export interface Tenure {
  readonly term: number;
  readonly owner: Candidate;
  /** Wall clock of the store. */
  readonly acquiredAtMs: number;
  readonly endedAtMs?: number;
  readonly endReason?: 'resigned' | 'handed over' | 'expired';
}

export type NodeState = 'starting' | 'running' | 'stopping';
export type ResourceError = 'OUT_OF_DISK' | 'OUT_OF_MEMORY';

/** What a node says of itself in the registry. At most 16 KiB as JSON. */
export interface NodeRecord {
  readonly id: string;
  readonly incarnation: string;
  readonly roles: readonly string[];
  /** Where its node listener is reached. */
  readonly host: string;
  readonly port: number;
  readonly state: NodeState;
  readonly version: string;
  readonly startedAtMs: number;
  /** Committed revision up to which this node has applied what it watches. */
  readonly appliedRevision: number;
  /** Requests it works on now. */
  readonly outstandingRequests: number;
  readonly eventLoopDelayMs: number;
  readonly resourceError?: ResourceError;
  /** Free-form facts: `zone`, `disagg-mode`, ports of its listeners. */
  readonly labels: Readonly<Record<string, string>>;
}

export interface HeartbeatAnswer {
  /** The committed revision. */
  readonly revision: number;
  /** The live record of another incarnation of the same node id, which this one has taken the place of. */
  readonly replaced?: NodeRecord;
}

export interface VersionedDocument {
  readonly version: number;
  readonly value: string;
}

export interface KeyedDocument extends VersionedDocument {
  readonly key: string;
}

export interface DocumentWrite {
  readonly key: string;
  /** At most 1 MiB. */
  readonly value: string;
  readonly expectedVersion: number;
  /** The same id again (a retry after a cut connection) reports the first write's success instead of a conflict. */
  readonly requestId: string;
}

export type DocumentWriteAnswer =
  | { readonly written: true; readonly version: number; readonly revision: number }
  | { readonly written: false; readonly version: number };

export class ClusterStateUnavailable extends Error {
  readonly code = 'CLUSTER_STATE_UNAVAILABLE';
}

/** The store cannot be opened as things are: a wrong setting, a data folder in use or damaged. The message is one line for the operator. */
export class ClusterStateUnusable extends Error {
  override readonly name = 'ClusterStateUnusable';
}
