import type { Clock } from '@binnacle/cluster-state/clock';

const looksPerPause = 4;
/** What lay in the buffers of connections is read at once. */
const quietMs = 1_000;

/**
 * Notices that this process did not run for a while, because it was stopped, or its machine suspended. What it then reads first was sent before that,
 * by nodes that have long since taken it for gone.
 */
export class Pauses {
  #lastLookMs: number;
  #quietUntilMs = -Infinity;
  #cancelTimer = (): void => {};

  /** @param pauseMsMin what counts as a pause */
  constructor(
    private readonly clock: Clock,
    private readonly pauseMsMin: number,
  ) {
    this.#lastLookMs = clock.monotonicMs();
  }

  start(): void {
    this.#look();
    this.#cancelTimer = this.clock.after(this.pauseMsMin / looksPerPause, () => this.start());
  }

  stop(): void {
    this.#cancelTimer();
  }

  /** Whether what arrives now may have been sent before a pause. */
  isJustOver(): boolean {
    return this.#look() < this.#quietUntilMs;
  }

  /** Timers and what arrives come in any order after a pause: whichever is first notices it. */
  #look(): number {
    const nowMs = this.clock.monotonicMs();
    if (nowMs - this.#lastLookMs > this.pauseMsMin) this.#quietUntilMs = nowMs + quietMs;
    this.#lastLookMs = nowMs;
    return nowMs;
  }
}
