import type { Clock } from '@binnacle/cluster-state/clock';
import type { Logger } from 'pino';
import type { Spool, SpoolPart } from './spool.js';

export interface SpoolDrainOptions {
  readonly spool: Spool;
  readonly lane: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Where it goes, for the log: `metrics` cannot be sent to `their tables`. */
  readonly where: string;
  /** The longest pause between two attempts; half a minute if absent. */
  readonly retryMsMax?: number;
  /** Rejects when the part has to be sent again; the signal ends it when the node stops. */
  readonly send: (part: SpoolPart, signal: AbortSignal) => Promise<void>;
}

const retryMsMin = 1_000;
const usualRetryMsMax = 30_000;

/** Empties a lane of the spool, oldest first, and tries again with growing pauses while what takes it is away. */
export class SpoolDrain {
  #running: Promise<void> | undefined;
  #cancelTimer = (): void => {};
  #abort = new AbortController();
  #retryMs = retryMsMin;
  /** Why nothing is sent just now; undefined while all is well. */
  failure: string | undefined;

  constructor(private readonly options: SpoolDrainOptions) {}

  /** There is something in the lane. */
  wake(): void {
    if (this.#abort.signal.aborted || this.failure !== undefined) return;
    this.#run();
  }

  /** Resolves when the lane is empty, or cannot be emptied just now. Goes on after a stop. */
  async attempt(): Promise<void> {
    if (this.#abort.signal.aborted) this.#abort = new AbortController();
    this.wake();
    await this.#running;
  }

  /** Resolves when nothing is on its way any more; what is not sent stays in the spool. */
  async stop(): Promise<void> {
    this.#cancelTimer();
    this.#abort.abort();
    await this.#running;
  }

  #run(): void {
    this.#running ??= this.#drain();
  }

  async #drain(): Promise<void> {
    const { spool, lane, send, log, where, clock, retryMsMax = usualRetryMsMax } = this.options;
    const { signal } = this.#abort;
    try {
      while (!signal.aborted && (await spool.sendOldest(lane, (part) => send(part, signal))));
      if (this.failure !== undefined) log.info(`metrics are sent to ${where} again`);
      this.failure = undefined;
      this.#retryMs = retryMsMin;
    } catch (error) {
      if (!signal.aborted) {
        const reason = error instanceof Error ? error.message : String(error);
        if (this.failure === undefined) log.warn({ reason }, `metrics cannot be sent to ${where}; they wait in the spool`);
        this.failure = reason;
        this.#cancelTimer = clock.after(this.#retryMs, () => this.#run());
        this.#retryMs = Math.min(this.#retryMs * 2, retryMsMax);
      }
    }
    // In the same turn as the last look at the spool: whoever wakes it later begins anew.
    this.#running = undefined;
  }
}
