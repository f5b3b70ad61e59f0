import type { Clock } from './clock.js';
import type { Candidate, CampaignAnswer, ClusterState, Unsubscribe } from './cluster-state.js';
import { checkCampaign } from './limits.js';
import { Listeners } from './listeners.js';

export interface CandidacyOptions {
  readonly lease: string;
  readonly candidate: Candidate;
  /** Failover takes at most this long plus one renewal. */
  readonly ttlMs: number;
}

interface Held {
  readonly term: number;
  /** On this process's monotonic clock. */
  readonly untilMs: number;
}

/** Renewals go out every third of the ttl, so one may be lost, and the next one too, before the lease is. */
const renewalsPerTtl = 3;
/** A waiting candidate asks this long after the lease should have run out: the store's clock counts whole milliseconds. */
const expiryGraceMs = 5;
/** With the store away it is asked this often at least, or every tenth of the ttl where that is sooner. */
const retryDelayMsMax = 1_000;

/**
 * A tenure counts as over this long before the store ends it. It covers the difference in speed of two clocks (a wall clock being slewed
 * runs off by at most 500 ppm) and the way from a check of `isOwner` to what is done on its strength.
 */
function marginMs(ttlMs: number): number {
  return Math.max(ttlMs / 10, 10);
}

/** One node's standing campaign for one lease: waits for it, renews it, notices in time that it is lost. */
export class Candidacy {
  readonly lease: string;
  readonly #state: ClusterState;
  readonly #clock: Clock;
  readonly #candidate: Candidate;
  readonly #ttlMs: number;
  readonly #listeners = new Listeners<number | undefined>();
  readonly #subscriptions: Unsubscribe[] = [];
  #running = false;
  #held: Held | undefined;
  /** The term the store gave us last and has not taken back as far as we know, whatever our own clock says of it. */
  #givenTerm: number | undefined;
  #termSeenMax = 0;
  /** Raised by `resign`: what was asked before it must not make us the owner again. */
  #epoch = 0;
  #inFlight: Promise<void> | undefined;
  #resigning = false;
  #askAgain = false;
  #cancelNext: () => void = () => {};
  #cancelLoss: () => void = () => {};

  constructor(state: ClusterState, clock: Clock, options: CandidacyOptions) {
    this.#state = state;
    this.#clock = clock;
    this.lease = options.lease;
    this.#candidate = options.candidate;
    this.#ttlMs = options.ttlMs;
    checkCampaign({ ...options, termFloor: 0 });
  }

  /** `first` is an answer that this candidate has already, and when it was asked for, on the monotonic clock: the tenure is watched and renewed from there. */
  start(first?: { readonly answer: CampaignAnswer; readonly sentAtMs: number }): void {
    if (this.#running) return;
    this.#running = true;
    this.#subscriptions.push(
      this.#state.watch(`lease:${this.lease}`, () => this.#wake()),
      this.#state.onAvailabilityChange(({ available }) => available && this.#ask()),
    );
    if (first === undefined) return this.#ask();
    this.#cancelNext = this.#clock.after(this.#take(first.answer, first.sentAtMs, this.#epoch), () => this.#ask());
  }

  /** Checked against the monotonic clock at every call: false from `acquired + ttl - margin` on, even when nothing could be sent since. */
  isOwner(): boolean {
    return this.term() !== undefined;
  }

  /** The term held now, or undefined. What the lease protects is written under this. */
  term(): number | undefined {
    return this.#held !== undefined && this.#clock.monotonicMs() < this.#held.untilMs ? this.#held.term : undefined;
  }

  onChange(listener: (term: number | undefined) => void): () => void {
    return this.#listeners.add(listener);
  }

  /**
   * Stops acting first, then tells the store. False when this node does not own the lease. Goes on waiting for it afterwards.
   * Throws `ClusterStateUnavailable` when the store did not answer; the candidacy then goes on, and may find itself owner still.
   */
  async resign(options: { successor?: string; reservedMs?: number } = {}): Promise<boolean> {
    const term = this.term();
    if (term === undefined) return false;
    return this.#giveUp(term, options);
  }

  /** Resigns if it owns, and campaigns no more. */
  async stop(): Promise<void> {
    if (!this.#running) return;
    this.#running = false;
    for (const unsubscribe of this.#subscriptions.splice(0)) unsubscribe();
    this.#cancelNext();
    try {
      // A campaign under way may still bring the lease.
      await this.#inFlight;
      if (this.#givenTerm === undefined) await this.#state.withdraw(this.lease, this.#candidate);
      else await this.#giveUp(this.#givenTerm, {});
    } catch {
      // The store is away: the lease runs out, the waiting is forgotten.
      this.#lose();
    }
  }

  async #giveUp(term: number, options: { successor?: string; reservedMs?: number }): Promise<boolean> {
    this.#epoch++;
    this.#resigning = true;
    this.#cancelNext();
    this.#lose();
    try {
      const resigned = await this.#state.resign({ lease: this.lease, candidate: this.#candidate, term, ...options });
      this.#givenTerm = undefined;
      return resigned;
    } finally {
      this.#resigning = false;
      this.#ask();
    }
  }

  /** Something changed about the lease. For its owner the next renewal is soon enough. */
  #wake(): void {
    if (!this.isOwner()) this.#ask();
  }

  #ask(): void {
    if (!this.#running || this.#resigning) return;
    if (this.#inFlight !== undefined) {
      this.#askAgain = true;
      return;
    }
    this.#cancelNext();
    this.#askAgain = false;
    this.#inFlight = this.#campaign().then(({ answered, delayMs }) => {
      this.#inFlight = undefined;
      if (!this.#running || this.#resigning) return;
      // After a failure only the timer asks: a store that is back for reads and refuses this at once would be asked without end.
      if (this.#askAgain && answered && !this.isOwner()) return this.#ask();
      this.#cancelNext = this.#clock.after(delayMs, () => this.#ask());
    });
  }

  /** Asks once, and says after how many milliseconds to ask again. Never rejects. */
  async #campaign(): Promise<{ answered: boolean; delayMs: number }> {
    const sentAtMs = this.#clock.monotonicMs();
    const epoch = this.#epoch;
    const { lease } = this;
    try {
      const answer = await this.#state.campaign({ lease, candidate: this.#candidate, ttlMs: this.#ttlMs, termFloor: this.#termSeenMax });
      return { answered: true, delayMs: this.#take(answer, sentAtMs, epoch) };
    } catch {
      // `availability()` says that the store is away. What is held stays held until its time is over.
      return { answered: false, delayMs: Math.min(this.#ttlMs / 10, retryDelayMsMax) };
    }
  }

  #take(answer: CampaignAnswer, sentAtMs: number, epoch: number): number {
    const renewalMs = this.#ttlMs / renewalsPerTtl;
    this.#givenTerm = answer.held ? answer.term : undefined;
    this.#termSeenMax = Math.max(this.#termSeenMax, answer.held ? answer.term : (answer.lease?.term ?? 0));
    if (!answer.held) {
      this.#lose();
      const remainingMs = answer.lease?.owner ? answer.lease.remainingMs + expiryGraceMs : renewalMs;
      return Math.min(renewalMs, remainingMs);
    }
    // From when the request was sent: the store counts from when it came in, which is later.
    const untilMs = sentAtMs + this.#ttlMs - marginMs(this.#ttlMs);
    const leftMs = untilMs - this.#clock.monotonicMs();
    if (epoch !== this.#epoch) return renewalMs;
    if (leftMs > 0) this.#hold({ term: answer.term, untilMs });
    else this.#lose();
    return Math.max(0, renewalMs - (this.#clock.monotonicMs() - sentAtMs));
  }

  #hold(held: Held): void {
    if (this.#held?.term !== held.term || !this.isOwner()) this.#lose();
    const before = this.#held;
    this.#held = held;
    this.#watchLoss(held);
    if (before === undefined) this.#listeners.notify(held.term);
  }

  #watchLoss(held: Held): void {
    this.#cancelLoss();
    this.#cancelLoss = this.#clock.after(Math.max(1, held.untilMs - this.#clock.monotonicMs()), () => {
      // Timers may be a little early.
      if (this.#held === held && this.isOwner()) this.#watchLoss(held);
      else this.#lose();
    });
  }

  #lose(): void {
    this.#cancelLoss();
    if (this.#held === undefined) return;
    this.#held = undefined;
    this.#listeners.notify(undefined);
  }
}
