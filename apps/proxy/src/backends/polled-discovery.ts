import type { Clock } from '@binnacle/cluster-state/clock';
import type { Discovered, Discovery } from './discovery.js';

export interface Finding {
  /** Absent: what was found last counts. */
  readonly found?: readonly Discovered[];
  /** Empty: none. */
  readonly problem: string;
}

/** Looks, waits, looks again. */
export abstract class PolledDiscovery implements Discovery {
  readonly what: string;
  readonly #clock: Clock;
  readonly #intervalMs: number;
  #found: readonly Discovered[] = [];
  #problem = '';
  #looked = false;
  #running = false;
  #cancel: () => void = () => {};

  protected constructor(what: string, clock: Clock, intervalMs: number) {
    this.what = what;
    this.#clock = clock;
    this.#intervalMs = intervalMs;
  }

  /** Does not reject, and has a deadline. */
  protected abstract look(): Promise<Finding>;

  start(changed: () => void): void {
    this.#running = true;
    void this.#lookAgain(changed);
  }

  stop(): void {
    this.#running = false;
    this.#cancel();
  }

  current(): readonly Discovered[] {
    return this.#found;
  }

  problem(): string {
    return this.#problem;
  }

  looked(): boolean {
    return this.#looked;
  }

  async #lookAgain(changed: () => void): Promise<void> {
    const { found, problem } = await this.look();
    if (!this.#running) return;
    const differs = problem !== this.#problem || (found !== undefined && (!this.#looked || JSON.stringify(found) !== JSON.stringify(this.#found)));
    this.#problem = problem;
    if (found !== undefined) {
      this.#found = found;
      this.#looked = true;
    }
    if (differs) changed();
    this.#cancel = this.#clock.after(this.#intervalMs, () => void this.#lookAgain(changed));
  }
}
