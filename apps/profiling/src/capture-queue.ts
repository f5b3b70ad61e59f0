import { BinnacleError } from '@binnacle/contracts/errors';
import type { WhenBusy } from './captured-profile.js';

/** By then one place at least is likely to be free: most captures take 10 or 30 s. */
const retryAfterS = 10;

interface Waiting {
  go(): void;
}

/** One capture at a time of each target. Those that wait go in the order they came. */
export class CaptureQueue {
  /** Targets that are being captured, and who waits for them. */
  readonly #waitingOf = new Map<string, Waiting[]>();

  constructor(private readonly waitingMax: number) {}

  /**
   * Runs `capture` once it is its turn; the turn ends with it, however it ends. Rejects with ALREADY_PROFILING when it may not wait, with
   * OVERLOADED when too many wait already, and with the signal's reason: who has gone leaves the queue at once.
   */
  async run<T>(target: string, { whenBusy, signal }: { whenBusy: WhenBusy; signal: AbortSignal }, capture: () => Promise<T>): Promise<T> {
    await this.#enter(target, whenBusy, signal);
    try {
      return await capture();
    } finally {
      this.#leave(target);
    }
  }

  /** How many wait for a target; undefined while nothing is captured of it. */
  waitingFor(target: string): number | undefined {
    return this.#waitingOf.get(target)?.length;
  }

  async #enter(target: string, whenBusy: WhenBusy, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const waiting = this.#waitingOf.get(target);
    if (waiting === undefined) {
      this.#waitingOf.set(target, []);
      return;
    }
    // In TiFlash's words.
    if (whenBusy === 'refuse') throw new BinnacleError('ALREADY_PROFILING', 'Already in Profiling');
    if (waiting.length >= this.waitingMax) {
      throw new BinnacleError('OVERLOADED', `${waiting.length} captures of node ${target} wait already`, { retryAfterS });
    }
    await new Promise<void>((resolve, reject) => {
      const leave = (): void => {
        waiting.splice(waiting.indexOf(own), 1);
        reject(signal.reason);
      };
      const own: Waiting = {
        go: () => {
          signal.removeEventListener('abort', leave);
          resolve();
        },
      };
      waiting.push(own);
      signal.addEventListener('abort', leave, { once: true });
    });
  }

  #leave(target: string): void {
    const next = this.#waitingOf.get(target)?.shift();
    if (next === undefined) this.#waitingOf.delete(target);
    else next.go();
  }
}
