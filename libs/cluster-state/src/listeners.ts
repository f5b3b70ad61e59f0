import type { Unsubscribe } from './cluster-state.js';

/**
 * Those who want to hear of something. A listener that throws harms neither the others nor the loop that notifies:
 * its error goes out as a process warning, because a library has no log of its own.
 */
export class Listeners<T> {
  readonly #listeners = new Set<{ call: (value: T) => void }>();

  get size(): number {
    return this.#listeners.size;
  }

  add(call: (value: T) => void): Unsubscribe {
    // An object of its own, so that the same function added twice is called twice and removed once.
    const listener = { call };
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  notify(value: T): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener.call(value);
      } catch (error) {
        process.emitWarning(String((error as Error).stack ?? error), 'ListenerError');
      }
    }
  }
}
