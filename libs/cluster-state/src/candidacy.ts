import type { Candidate, ClusterState } from './cluster-state.js';
import type { Clock } from './clock.js';

export interface CandidacyOptions {
  readonly lease: string;
  readonly candidate: Candidate;
  /** Failover takes at most this long plus one renewal. */
  readonly ttlMs: number;
}

/** One node's standing campaign for one lease: waits for it, renews it, notices in time that it is lost. */
export declare class Candidacy {
  constructor(state: ClusterState, clock: Clock, options: CandidacyOptions);
  readonly lease: string;
  start(): void;
  /** Checked against the monotonic clock at every call: false from `acquired + ttl - margin` on, even when nothing could be sent since. */
  isOwner(): boolean;
  /** The term held now, or undefined. What the lease protects is written under this. */
  term(): number | undefined;
  onChange(listener: (term: number | undefined) => void): () => void;
  /** Stops acting first, then tells the store. False when this node does not own the lease. Goes on waiting for it afterwards. */
  resign(options?: { successor?: string; reservedMs?: number }): Promise<boolean>;
  /** Resigns if it owns, and campaigns no more. */
  stop(): Promise<void>;
}
