import type { Clock } from '@binnacle/cluster-state/clock';
import { Errors } from '@binnacle/mysql-wire/error-codes';
import { StatusFlag } from '@binnacle/mysql-wire/status-flags';
import type { Session } from '../session/session.js';
import type { HeldSessions } from './held-sessions.js';

/** How often it looks for sessions that have come to a boundary outside a transaction. */
const lookMs = 20;

export interface WorkerDrainParts {
  readonly clock: Clock;
  readonly sessions: HeldSessions;
  /** Clients in their login: they become sessions yet. */
  logins(): number;
  /** Called once. */
  drained(cut: number): void;
}

const shutdown = { ...Errors.serverShutdown, message: 'Server shutdown in progress' };

/** The end of a worker's sessions: each at a boundary outside a transaction; what is left at the deadline is cut. */
export class WorkerDrain {
  #cancel = (): void => {};

  constructor(private readonly parts: WorkerDrainParts) {}

  start(graceMs: number): void {
    this.#cancel();
    this.#look(this.parts.clock.monotonicMs() + graceMs);
  }

  stop(): void {
    this.#cancel();
  }

  #look(untilMs: number): void {
    const { clock, sessions, logins, drained } = this.parts;
    const isLate = clock.monotonicMs() >= untilMs;
    let cut = 0;
    for (const held of [...sessions.all()]) {
      const { session } = held;
      const isFree = session.phase === 'idle' && (statusFlagsOf(session) & StatusFlag.inTransaction) === 0;
      if (!isFree && !isLate) continue;
      if (!isFree) cut++;
      held.endType = 'proxy shutdown';
      session.close(shutdown);
    }
    if (isLate || (sessions.size === 0 && logins() === 0)) return drained(cut);
    this.#cancel = clock.after(lookMs, () => this.#look(untilMs));
  }
}

/** Before the first answer: what its server said when it logged in. */
function statusFlagsOf({ responses, backend }: Session): number {
  return responses.tracker.statusFlags === -1 ? backend.statusFlags : responses.tracker.statusFlags;
}
