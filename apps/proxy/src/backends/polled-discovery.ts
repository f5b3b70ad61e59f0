import type { Clock } from '@binnacle/cluster-state/clock';
import type { Discovered } from './discovery.js';
import { FoundBackends } from './found-backends.js';

export interface Finding {
  /** Absent: what was found last counts. */
  readonly found?: readonly Discovered[];
  /** Empty: none. */
  readonly problem: string;
}

/** Looks, waits, looks again. */
export abstract class PolledDiscovery extends FoundBackends {
  readonly #clock: Clock;
  readonly #intervalMs: number;
  #running = false;
  #cancel: () => void = () => {};

  protected constructor(what: string, clock: Clock, intervalMs: number) {
    super(what);
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

  async #lookAgain(changed: () => void): Promise<void> {
    const { found, problem } = await this.look();
    if (!this.#running) return;
    if (this.learn(found, problem)) changed();
    this.#cancel = this.#clock.after(this.#intervalMs, () => void this.#lookAgain(changed));
  }
}
