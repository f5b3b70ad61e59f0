import type { Clock } from '@binnacle/cluster-state/clock';

/** After the last try; what comes later counts as new. */
const keptMs = 600_000;
/** About 0.3 kB each. */
const keysMax = 20_000;

/** Recognises requests that are sent again under the same `Idempotency-Key`, also while the first one is still on its way. */
export class Idempotency {
  /** In order of their last coming. */
  readonly #byKey = new Map<string, { readonly done: Promise<void>; readonly sinceMs: number }>();
  /** Requests that were not counted because they had been before. */
  recognised = 0;

  constructor(private readonly clock: Clock) {}

  /** Runs `take` unless it ran, or runs, for this key; without a key it always does. One that failed is forgotten, so that a retry may succeed. */
  once(key: string, take: () => Promise<void>): Promise<void> {
    if (key === '') return take();
    const known = this.#byKey.get(key);
    if (known !== undefined) {
      this.recognised += 1;
      // Its sender is still at it: the time begins anew.
      this.#byKey.delete(key);
      this.#remember(key, known.done);
      return known.done;
    }
    const done = take();
    this.#remember(key, done);
    done.catch(() => this.#byKey.delete(key));
    return done;
  }

  #remember(key: string, done: Promise<void>): void {
    const nowMs = this.clock.monotonicMs();
    this.#byKey.set(key, { done, sinceMs: nowMs });
    for (const [oldest, { sinceMs }] of this.#byKey) {
      if (this.#byKey.size <= keysMax && nowMs - sinceMs <= keptMs) return;
      this.#byKey.delete(oldest);
    }
  }
}
