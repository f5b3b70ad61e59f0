import type { BackendRole } from '../backends/backend.js';

/** Sessions of one role on one backend, over all workers of this node. */
export interface SessionCount {
  readonly backend: string;
  readonly role: BackendRole;
  /** Logged in there or logging in. */
  readonly sessions: number;
  /** Of these: ordered away, and not moved or failed yet. */
  readonly leaving: number;
  /** On other backends now, on their way here. */
  readonly arriving: number;
  /** Of `sessions`: not to be ordered away now, because a move failed within the last `retryAfterMs`. */
  readonly resting: number;
}

/** Of all roles, by backend: those on their way there included and those on their way out not. */
export function totalSessions(counts: readonly SessionCount[]): Map<string, number> {
  const totals = new Map<string, number>();
  for (const { backend, sessions, leaving, arriving } of counts) totals.set(backend, (totals.get(backend) ?? 0) + sessions - leaving + arriving);
  return totals;
}

/** A session whose move failed is not tried again before this. */
export const retryAfterMs = 3_000;

/** Label `reason` of the migration metrics: the factor that asked, or who. */
export type MoveReason = 'label' | 'status' | 'health' | 'memory' | 'cpu' | 'location' | 'conn' | 'role' | 'drain' | 'api';

/** So many sessions of a backend are to be moved, whichever can: the worker that holds them picks. */
export interface MoveOrder {
  readonly from: string;
  readonly to: string;
  readonly role: BackendRole;
  readonly count: number;
  readonly reason: MoveReason;
}

/** Sessions of a backend whose time to leave is over: they are closed with an error. */
export interface CloseOrder {
  readonly from: string;
  readonly reason: string;
}
