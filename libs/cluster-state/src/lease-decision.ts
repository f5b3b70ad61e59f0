import type { CampaignAnswer, CampaignRequest, Candidate, Lease, ResignRequest, Tenure } from './cluster-state.js';
import { defaultReservedMs, waitingPerLeaseMax } from './limits.js';

/*
 * The rules of a lease as pure functions, for the embedded store. `redis-scripts.ts` has the same rules in Lua;
 * the contract suite and a comparison over random operations hold the two together.
 */

/** Both clocks at one instant: deadlines are on the monotonic one, what people read is on the wall clock. */
export interface Instant {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

export interface Holding {
  readonly candidate: Candidate;
  readonly acquiredAtMs: number;
  /** Monotonic. The lease is held while this is in the future. */
  readonly untilMs: number;
}

export interface LeaseState {
  readonly name: string;
  /** Of the last tenure; 0 before the first. */
  readonly term: number;
  /** The highest term any candidate has told of; above `term` only when a store forgot something. */
  readonly floor: number;
  /** The last holder, also when its time is over and nobody has taken the lease since. */
  readonly holding: Holding | undefined;
  /** Candidate key → monotonic time at which it is forgotten. */
  readonly waiting: ReadonlyMap<string, number>;
  readonly reserved: { readonly nodeId: string; readonly untilMs: number } | undefined;
  /** Who resigned last; it stays behind others who wait until somebody has had the lease. */
  readonly resignedBy: string | undefined;
}

export interface LeaseStep<Answer> {
  readonly lease: LeaseState;
  readonly answer: Answer;
  /** The tenure that ended with this step, to be added to the history. */
  readonly ended?: Tenure;
  /** Whether anyone who watches the lease should look again. */
  readonly changed: boolean;
}

export function newLease(name: string): LeaseState {
  return { name, term: 0, floor: 0, holding: undefined, waiting: new Map(), reserved: undefined, resignedBy: undefined };
}

export function campaign(before: LeaseState, request: CampaignRequest, now: Instant): LeaseStep<CampaignAnswer> {
  const { candidate, ttlMs } = request;
  const lease = { ...before, floor: Math.max(before.floor, before.term, request.termFloor) };
  const holder = liveHolding(lease, now);
  const holdsIt = holder !== undefined && isSame(holder.candidate, candidate);
  if (holdsIt && lease.term >= lease.floor) {
    const renewed = { ...lease, holding: { ...holder, untilMs: now.monotonicMs + ttlMs } };
    return { lease: renewed, answer: { held: true, term: lease.term }, changed: false };
  }
  // A holder whose term is below the floor has been outlived by terms that this store forgot: it begins anew, above them.
  if ((holder !== undefined && !holdsIt) || !mayTake(lease, candidate, now)) {
    const waits = { ...lease, waiting: withWaiting(lease.waiting, keyOf(candidate), now.monotonicMs + ttlMs, now) };
    return { lease: waits, answer: { held: false, lease: describeLease(waits, now) }, changed: false };
  }
  const waiting = new Map(lease.waiting);
  waiting.delete(keyOf(candidate));
  const term = lease.floor + 1;
  const holding = { candidate, acquiredAtMs: now.wallMs, untilMs: now.monotonicMs + ttlMs };
  const taken: LeaseState = { ...lease, term, floor: term, holding, waiting, reserved: undefined, resignedBy: undefined };
  const ended = lease.holding && endedTenure(lease, lease.holding, now);
  return { lease: taken, answer: { held: true, term }, changed: true, ...(ended && { ended }) };
}

export function resign(lease: LeaseState, request: ResignRequest, now: Instant): LeaseStep<boolean> {
  const holder = liveHolding(lease, now);
  if (holder === undefined || !isSame(holder.candidate, request.candidate) || lease.term !== request.term) {
    return { lease, answer: false, changed: false };
  }
  const { successor, reservedMs = defaultReservedMs } = request;
  const reserved = successor === undefined ? lease.reserved : { nodeId: successor, untilMs: now.monotonicMs + reservedMs };
  return {
    lease: { ...lease, holding: undefined, reserved, resignedBy: request.candidate.nodeId },
    answer: true,
    ended: { ...runningTenure(lease, holder), endedAtMs: now.wallMs, endReason: successor === undefined ? 'resigned' : 'handed over' },
    changed: true,
  };
}

export function withdraw(lease: LeaseState, candidate: Candidate): LeaseState {
  const waiting = new Map(lease.waiting);
  waiting.delete(keyOf(candidate));
  return { ...lease, waiting };
}

/** The time counts from when the lease is free, if its holder does not renew it any more. */
export function reserve(lease: LeaseState, nodeId: string, reservedMs: number, now: Instant): LeaseState {
  const freeAtMs = Math.max(now.monotonicMs, lease.holding?.untilMs ?? 0);
  return { ...lease, reserved: { nodeId, untilMs: freeAtMs + reservedMs } };
}

/** Undefined for a lease that nobody ever held. */
export function describeLease(lease: LeaseState, now: Instant): Lease | undefined {
  if (lease.term === 0) return undefined;
  const holder = liveHolding(lease, now);
  const waiting = [...lease.waiting].filter(([, untilMs]) => untilMs > now.monotonicMs).map(([key]) => nodeIdOf(key));
  return {
    name: lease.name,
    term: lease.term,
    owner: holder?.candidate,
    remainingMs: holder ? Math.max(0, Math.round(holder.untilMs - now.monotonicMs)) : 0,
    waiting: waiting.toSorted(),
  };
}

/** The tenure of the last holder as the history shows it now: running, or expired and not succeeded yet. */
export function latestTenure(lease: LeaseState, now: Instant): Tenure | undefined {
  if (lease.holding === undefined) return undefined;
  return lease.holding.untilMs > now.monotonicMs ? runningTenure(lease, lease.holding) : endedTenure(lease, lease.holding, now);
}

function mayTake(lease: LeaseState, candidate: Candidate, now: Instant): boolean {
  const { reserved } = lease;
  if (reserved !== undefined && reserved.untilMs > now.monotonicMs) return reserved.nodeId === candidate.nodeId;
  if (lease.resignedBy !== candidate.nodeId) return true;
  for (const [key, untilMs] of lease.waiting) {
    if (untilMs > now.monotonicMs && nodeIdOf(key) !== candidate.nodeId) return false;
  }
  return true;
}

function liveHolding(lease: LeaseState, now: Instant): Holding | undefined {
  return lease.holding !== undefined && lease.holding.untilMs > now.monotonicMs ? lease.holding : undefined;
}

function withWaiting(waiting: ReadonlyMap<string, number>, key: string, untilMs: number, now: Instant): Map<string, number> {
  const live = new Map([...waiting].filter(([, until]) => until > now.monotonicMs));
  if (live.size < waitingPerLeaseMax || live.has(key)) live.set(key, untilMs);
  return live;
}

function runningTenure(lease: LeaseState, holding: Holding): Tenure {
  return { term: lease.term, owner: holding.candidate, acquiredAtMs: holding.acquiredAtMs };
}

function endedTenure(lease: LeaseState, holding: Holding, now: Instant): Tenure {
  // A holding that is replaced before its time (its term was below the floor) ends now.
  const sinceMs = Math.max(0, now.monotonicMs - holding.untilMs);
  return { ...runningTenure(lease, holding), endedAtMs: Math.round(now.wallMs - sinceMs), endReason: 'expired' };
}

function isSame(a: Candidate, b: Candidate): boolean {
  return a.nodeId === b.nodeId && a.incarnation === b.incarnation;
}

/** Neither part can contain a space. */
export function keyOf(candidate: Candidate): string {
  return `${candidate.nodeId} ${candidate.incarnation}`;
}

export function nodeIdOf(key: string): string {
  return key.slice(0, key.indexOf(' '));
}
