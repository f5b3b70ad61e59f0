import type { Clock } from '@binnacle/cluster-state/clock';
import { Errors } from '@binnacle/mysql-wire/error-codes';
import type { ErrPacket } from '@binnacle/mysql-wire/err-packet';

/** What bounds the statements of a namespace in this process; `Infinity` for what is not limited. */
export interface TurnLimits {
  readonly perSecond: number;
  readonly burst: number;
  readonly concurrent: number;
  readonly queueMax: number;
  readonly queueWaitMs: number;
}

/** A statement that waits for its turn. */
export interface Turn {
  /** Undefined: it may go on, and counts as running. Otherwise what its client is to be told. Never rejects. */
  readonly done: Promise<ErrPacket | undefined>;
  /** The client has gone: nobody waits any more. */
  cancel(): void;
}

interface Waiting extends Turn {
  readonly untilMs: number;
  readonly granted: () => void;
  settle: ((refusal: ErrPacket | undefined) => void) | undefined;
}

const nobodyWaits: ErrPacket = { ...Errors.queryInterrupted, message: 'Query execution was interrupted' };

/** Why a statement would have to wait. */
export type TurnLimit = 'queries_per_second' | 'concurrent_queries';

/**
 * Statements one after another where a rate (a bucket of tokens) or a number at the same time is limited: who comes first goes first, the line
 * and the wait in it are bounded.
 *
 * A statement in an open transaction does not wait: it holds locks that those before it may be waiting for. It counts all the same, up to
 * one burst beyond the limit, so those who do wait pay for it.
 */
export class Turns {
  readonly #line: Waiting[] = [];
  #limits: TurnLimits;
  #tokens: number;
  #refilledMs: number;
  #running = 0;
  #cancelTimer: (() => void) | undefined;

  constructor(
    private readonly clock: Clock,
    limits: TurnLimits,
    private readonly refused: (limit: TurnLimit) => ErrPacket,
  ) {
    this.#limits = limits;
    this.#tokens = limits.burst;
    this.#refilledMs = clock.monotonicMs();
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#line.length;
  }

  /** What waits is judged by the new limits, but for how long it may wait. */
  limit(limits: TurnLimits): void {
    this.#refill();
    const wasUnlimited = this.#limits.perSecond === Infinity;
    this.#limits = limits;
    this.#tokens = wasUnlimited ? limits.burst : Math.min(this.#tokens, limits.burst);
    this.#advance();
  }

  /** Undefined: go on at once, `end` follows. `granted` is called, before `done` settles, if it has to wait and then may go on. */
  begin(inTransaction: boolean, granted: () => void): ErrPacket | Turn | undefined {
    this.#refill();
    const obstacle = this.#obstacle();
    if (inTransaction || (obstacle === undefined && this.#line.length === 0)) {
      this.#enter();
      return undefined;
    }
    if (this.#line.length >= this.#limits.queueMax || this.#limits.queueWaitMs <= 0) return this.refused(obstacle ?? 'queries_per_second');
    return this.#join(granted);
  }

  /** A statement that was let through is answered, or its session has ended. */
  end(): void {
    this.#running--;
    if (this.#line.length > 0) this.#advance();
  }

  #refill(): void {
    const nowMs = this.clock.monotonicMs();
    const { perSecond, burst } = this.#limits;
    if (perSecond !== Infinity) this.#tokens = Math.min(burst, this.#tokens + ((nowMs - this.#refilledMs) / 1_000) * perSecond);
    this.#refilledMs = nowMs;
  }

  #obstacle(): TurnLimit | undefined {
    if (this.#running >= this.#limits.concurrent) return 'concurrent_queries';
    return this.#limits.perSecond !== Infinity && this.#tokens < 1 ? 'queries_per_second' : undefined;
  }

  #enter(): void {
    this.#running++;
    if (this.#limits.perSecond !== Infinity) this.#tokens = Math.max(this.#tokens - 1, -this.#limits.burst);
  }

  #join(granted: () => void): Turn {
    let settle: Waiting['settle'];
    const done = new Promise<ErrPacket | undefined>((resolve) => (settle = resolve));
    const turn: Waiting = { done, granted, settle, untilMs: this.clock.monotonicMs() + this.#limits.queueWaitMs, cancel: () => this.#leave(turn) };
    this.#line.push(turn);
    if (this.#line.length === 1) this.#schedule();
    return turn;
  }

  #leave(turn: Waiting): void {
    const index = this.#line.indexOf(turn);
    if (index < 0) return;
    this.#line.splice(index, 1);
    this.#settle(turn, nobodyWaits);
    if (index === 0) this.#advance();
  }

  #advance(): void {
    this.#refill();
    const nowMs = this.#refilledMs;
    for (let first = this.#line[0]; first !== undefined; first = this.#line[0]) {
      const obstacle = this.#obstacle();
      if (obstacle !== undefined && first.untilMs > nowMs) break;
      this.#line.shift();
      if (obstacle === undefined) {
        this.#enter();
        first.granted();
      }
      this.#settle(first, obstacle === undefined ? undefined : this.refused(obstacle));
    }
    this.#schedule();
  }

  #settle(turn: Waiting, refusal: ErrPacket | undefined): void {
    turn.settle?.(refusal);
    turn.settle = undefined;
  }

  /** One timer for the whole line: everybody in it waits for the first one's token or deadline. */
  #schedule(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    const first = this.#line[0];
    if (first === undefined) return;
    const nowMs = this.clock.monotonicMs();
    const { perSecond } = this.#limits;
    const tokenInMs = this.#obstacle() === 'queries_per_second' && perSecond > 0 ? ((1 - this.#tokens) / perSecond) * 1_000 : Infinity;
    const inMs = Math.max(1, Math.ceil(Math.min(tokenInMs, first.untilMs - nowMs)));
    this.#cancelTimer = this.clock.after(inMs, () => this.#advance());
  }
}
