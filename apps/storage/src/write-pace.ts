import type { Clock } from '@binnacle/cluster-state/clock';

/** What follows the writes at a speed of its own. */
export interface Follower {
  /** How long it would take for everything that is written, and for one more version at its present speed. */
  lag(): { readonly ms: number; readonly msPerVersion: number };
}

/** Of one batch, however far the follower is behind: writes always go on. */
export const delayMsMax = 1_000;
/** Shorter delays are added up first: no timer is that exact. */
const delayMsMin = 5;

/**
 * Slows writes down while a follower lags too far: a batch waits for as long as the follower takes for it, or in proportion longer the further it
 * is behind. Writes come to its speed at about the allowed lag, wherever that speed lies.
 */
export class WritePace {
  readonly #followers: Follower[] = [];
  #owedMs = 0;
  /** Since the start, of all batches together. */
  delayedMs = 0;

  constructor(
    private readonly clock: Clock,
    private readonly lagMsMax: number,
  ) {}

  add(follower: Follower): void {
    this.#followers.push(follower);
  }

  lagMs(): number {
    return Math.max(0, ...this.#followers.map((follower) => follower.lag().ms));
  }

  /** Resolves when so many changes may go on. Call it for one batch after the other. */
  async wait(changes: number): Promise<void> {
    let delayMs = 0;
    for (const follower of this.#followers) {
      const { ms, msPerVersion } = follower.lag();
      if (ms > this.lagMsMax) delayMs = Math.max(delayMs, changes * msPerVersion * (ms / this.lagMsMax));
    }
    if (delayMs === 0) this.#owedMs = 0;
    this.#owedMs = Math.min(delayMsMax, this.#owedMs + delayMs);
    if (this.#owedMs < delayMsMin) return;
    const beganMs = this.clock.monotonicMs();
    await new Promise<void>((resolve) => this.clock.after(this.#owedMs, resolve));
    this.#owedMs = 0;
    this.delayedMs += this.clock.monotonicMs() - beganMs;
  }
}
