import { BinnacleError } from '@binnacle/contracts/errors';
import type { WhenBusy } from './captured-profile.js';

/** By then one place at least is likely to be free: most captures take 10 or 30 s. */
const retryAfterS = 10;

interface Waiting {
  go(): void;
}

/** A target that is being captured. */
interface Turn {
  readonly waiting: Waiting[];
  /** Ends the capture that runs, where that is one that gives way. */
  giveWay: AbortController | undefined;
}

/** How a capture came to its turn. */
export interface Admission {
  /** Aborted when who asked has gone, or when the capture has to give way. */
  readonly signal: AbortSignal;
  /** `wait` also for one that may not, where the one before it gave way and may not be over yet on the node. */
  readonly whenBusy: WhenBusy;
}

/** One capture at a time of each target. Those that wait go in the order they came; one in the background is ended by the first that comes. */
export class CaptureQueue {
  readonly #turnOf = new Map<string, Turn>();

  constructor(private readonly waitingMax: number) {}

  /**
   * Runs `capture` once it is its turn; the turn ends with it, however it ends. Rejects with ALREADY_PROFILING when it may not wait or had to
   * give way, with OVERLOADED when too many wait already, and with the signal's reason: who has gone leaves the queue at once.
   */
  async run<T>(target: string, wish: Admission, capture: (admission: Admission) => Promise<T>): Promise<T> {
    const displaced = await this.#enter(target, wish);
    try {
      const { giveWay } = this.#turn(target);
      const signal = giveWay === undefined ? wish.signal : AbortSignal.any([wish.signal, giveWay.signal]);
      return await capture({ signal, whenBusy: displaced ? 'wait' : wish.whenBusy });
    } finally {
      this.#leave(target);
    }
  }

  /** How many wait for a target; undefined while nothing is captured of it. */
  waitingFor(target: string): number | undefined {
    return this.#turnOf.get(target)?.waiting.length;
  }

  /** Whether one that was running was ended for this. */
  async #enter(target: string, { whenBusy, signal }: Admission): Promise<boolean> {
    signal.throwIfAborted();
    const turn = this.#turnOf.get(target);
    if (turn === undefined) {
      this.#turnOf.set(target, { waiting: [], giveWay: whenBusy === 'give way' ? new AbortController() : undefined });
      return false;
    }
    const displaces = whenBusy !== 'give way' && turn.giveWay !== undefined && turn.waiting.length === 0;
    // In TiFlash's words.
    if (whenBusy !== 'wait' && !displaces) throw new BinnacleError('ALREADY_PROFILING', 'Already in Profiling');
    if (turn.waiting.length >= this.waitingMax) {
      throw new BinnacleError('OVERLOADED', `${turn.waiting.length} captures of node ${target} wait already`, { retryAfterS });
    }
    await new Promise<void>((resolve, reject) => {
      const leave = (): void => {
        turn.waiting.splice(turn.waiting.indexOf(own), 1);
        reject(signal.reason);
      };
      const own: Waiting = {
        go: () => {
          signal.removeEventListener('abort', leave);
          resolve();
        },
      };
      turn.waiting.push(own);
      signal.addEventListener('abort', leave, { once: true });
      if (displaces) turn.giveWay?.abort(new BinnacleError('ALREADY_PROFILING', 'gave way to a capture that somebody asked for'));
    });
    return displaces;
  }

  #turn(target: string): Turn {
    const turn = this.#turnOf.get(target);
    if (turn === undefined) throw new Error(`nobody captures ${target}`);
    return turn;
  }

  #leave(target: string): void {
    const turn = this.#turn(target);
    turn.giveWay = undefined;
    const next = turn.waiting.shift();
    if (next === undefined) this.#turnOf.delete(target);
    else next.go();
  }
}
