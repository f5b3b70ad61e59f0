import type { Clock } from '@binnacle/cluster-state/clock';
import { SomeAtATime } from '@binnacle/node-kit/some-at-a-time';
import { mayMove, type Backend } from '../backends/backend.js';
import { type MoveOrder, type MoveReason, retryAfterMs } from '../balance/orders.js';
import type { Router } from '../balance/router.js';
import type { MoveResult } from '../migration/migrate.js';
import type { HeldSession, HeldSessions } from './held-sessions.js';
import type { MoveOutcome } from './worker-protocol.js';

/** Moves under way in one worker: each is a login and a replay on the new backend, which logs in so many at a time anyway. */
const movesMax = 32;

export interface SessionMoverParts {
  readonly clock: Clock;
  readonly sessions: HeldSessions;
  readonly router: Router;
  /** Never rejects. */
  attempt(held: HeldSession, to: Backend): Promise<MoveResult>;
  /** `ms` is all of it, the login on the target included. */
  measured(outcome: MoveOutcome, ms: number): void;
  report(outcome: MoveOutcome): void;
}

/** Carries out in one worker what the balancer ordered, or a person asked for: picks sessions, some at a time, and lets those rest that could not move. */
export class SessionMover {
  readonly #moves = new SomeAtATime(movesMax);

  constructor(private readonly parts: SessionMoverParts) {}

  /** Picks up to `count` sessions that can move, idle ones first. */
  order({ from, to, role, count, reason }: MoveOrder): void {
    const target = this.parts.router.backend(to);
    if (target === undefined) return;
    const nowMs = this.parts.clock.monotonicMs();
    const busy: HeldSession[] = [];
    let left = count;
    for (const held of this.parts.sessions.all()) {
      if (left === 0) break;
      if (held.role !== role || held.leavingTo !== undefined || held.restUntilMs > nowMs || held.session.backend.backend.id !== from) continue;
      if (held.session.why().some(({ untilNextBoundary }) => !untilNextBoundary)) {
        // It would only be picked again and again.
        held.restUntilMs = nowMs + retryAfterMs;
        continue;
      }
      if (held.session.phase !== 'idle' || held.session.why().length > 0) busy.push(held);
      else {
        this.#queue(held, target, reason);
        left--;
      }
    }
    for (const held of busy.slice(0, left)) this.#queue(held, target, reason);
  }

  /** One session, now. Without a target the router chooses among those it may go to. Undefined when there is no such session. */
  async one(id: number, to: string | undefined, reason: MoveReason): Promise<MoveOutcome | undefined> {
    const held = this.parts.sessions.get(id);
    if (held === undefined) return undefined;
    const from = this.#from(held);
    const refused = (code: string, text: string): MoveOutcome => ({ sessionId: id, from: from.id, to: to ?? '', reason, result: 'refused', why: [{ code, text }], pauseMs: 0 });
    if (held.leavingTo !== undefined) return refused('moving', `the session is on its way to ${held.leavingTo} already`);
    const target = to === undefined ? this.#best(held) : this.parts.router.backend(to);
    if (target === undefined) return to === undefined ? refused('no-target', 'no other healthy backend has the data of this one') : refused('unknown-backend', `there is no backend ${to}`);
    if (target.id === from.id) return refused('same-backend', `the session is on ${from.id}`);
    if (!target.healthy) return refused('unhealthy', `${target.id} is unhealthy: ${target.reason}`);
    if (target.draining) return refused('draining', `${target.id} is drained: ${target.reason}`);
    if (!mayMove(from, target, held.role)) return refused('not-equivalent', notEquivalent(from, target));
    return this.#run(held, target, reason);
  }

  #best(held: HeldSession): Backend | undefined {
    const from = this.#from(held);
    return this.parts.router.choose({ cluster: from.cluster, role: held.role, group: from.group, exclude: new Set([from.id]) });
  }

  /** What the session was told of its backend at its login may be old: groups and roles change. */
  #from({ session }: HeldSession): Backend {
    const { backend } = session.backend;
    return this.parts.router.backend(backend.id) ?? backend;
  }

  #queue(held: HeldSession, target: Backend, reason: MoveReason): void {
    held.leavingTo = target.id;
    held.leavingFor = reason;
    void this.#moves.run(() => this.#run(held, target, reason));
  }

  async #run(held: HeldSession, target: Backend, reason: MoveReason): Promise<MoveOutcome> {
    const { clock, sessions, report, measured } = this.parts;
    const startMs = clock.monotonicMs();
    const { session } = held;
    const from = session.backend.backend.id;
    held.leavingTo = target.id;
    held.leavingFor = reason;
    const attempt = sessions.has(session.id) ? await this.parts.attempt(held, target) : gone;
    held.leavingTo = undefined;
    if (attempt.result !== 'moved') held.restUntilMs = clock.monotonicMs() + retryAfterMs;
    const outcome: MoveOutcome = { sessionId: session.id, from, to: target.id, reason, ...attempt };
    measured(outcome, clock.monotonicMs() - startMs);
    report(outcome);
    return outcome;
  }
}

const gone: MoveResult = { result: 'lost', why: [{ code: 'gone', text: 'the session ended' }], pauseMs: 0 };

function notEquivalent(from: Backend, to: Backend): string {
  if (from.cluster !== to.cluster) return `${to.id} belongs to the cluster ${to.cluster}, the session to ${from.cluster}`;
  if (from.group !== to.group) return `nothing shows that ${to.id} (${to.group}) has the data of ${from.id} (${from.group})`;
  return to.readOnly ? `${to.id} is read-only, and the session may write` : `${to.id} takes writes, and the session is for replicas`;
}
