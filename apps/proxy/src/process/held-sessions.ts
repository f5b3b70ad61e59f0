import type { BackendRole } from '../backends/backend.js';
import type { MoveReason, SessionCount } from '../balance/orders.js';
import type { DisconnectionType } from '../metrics/proxy-metrics.js';
import type { Session } from '../session/session.js';

/** A session and what the worker that holds it has to remember of it. */
export interface HeldSession {
  readonly session: Session;
  readonly role: BackendRole;
  /** Ordered elsewhere, and not there yet: the backend it is to go to. */
  leavingTo: string | undefined;
  /** Why it was ordered there. */
  leavingFor: MoveReason | undefined;
  /** Not to be ordered away before this, on the monotonic clock: it could not move a moment ago. */
  restUntilMs: number;
  /** The backend it counts for: a session that ends while it moves must not count for one it never came to. */
  countedOn: string;
  /** What its end will count as. */
  endType: DisconnectionType;
}

/** The sessions of one worker. */
export class HeldSessions {
  readonly #byId = new Map<number, HeldSession>();

  get size(): number {
    return this.#byId.size;
  }

  has(id: number): boolean {
    return this.#byId.has(id);
  }

  get(id: number): HeldSession | undefined {
    return this.#byId.get(id);
  }

  all(): IterableIterator<HeldSession> {
    return this.#byId.values();
  }

  add(session: Session, role: BackendRole): HeldSession {
    const held: HeldSession = { session, role, leavingTo: undefined, leavingFor: undefined, restUntilMs: 0, countedOn: session.backend.backend.id, endType: 'success' };
    this.#byId.set(session.id, held);
    return held;
  }

  /** Its end is near, and this is why. */
  ending(id: number, type: DisconnectionType): void {
    const held = this.#byId.get(id);
    if (held !== undefined) held.endType = type;
  }

  remove(id: number): void {
    this.#byId.delete(id);
  }

  /** By backend and role, as the balancer needs them. */
  counts(nowMs: number): SessionCount[] {
    const counts = new Map<string, { backend: string; role: BackendRole; sessions: number; leaving: number; arriving: number; resting: number }>();
    const at = (backend: string, role: BackendRole) => {
      const key = `${role} ${backend}`;
      let count = counts.get(key);
      if (count === undefined) counts.set(key, (count = { backend, role, sessions: 0, leaving: 0, arriving: 0, resting: 0 }));
      return count;
    };
    for (const { session, role, leavingTo, restUntilMs } of this.#byId.values()) {
      const count = at(session.backend.backend.id, role);
      count.sessions++;
      if (leavingTo !== undefined) {
        count.leaving++;
        at(leavingTo, role).arriving++;
      } else if (restUntilMs > nowMs) {
        count.resting++;
      }
    }
    return [...counts.values()];
  }
}
