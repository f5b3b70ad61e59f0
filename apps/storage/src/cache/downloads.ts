import { BinnacleError } from '@binnacle/contracts/errors';

export interface DownloadLimits {
  readonly downloads: number;
  readonly downloadsMax: number;
}

/** Of the downloads that run, in memory: 16 of the longest entries. */
const bytesMax = 256 * 2 ** 20;
/** Readers that wait for a place in the queue. */
const waitersMax = 10_000;

interface Job {
  readonly bytes: number;
  readonly run: () => Promise<void>;
}

/** Which downloads run and which wait: as many as the settings say, and no more bytes than memory can take. */
export class Downloads {
  readonly #queue = new Set<Job>();
  readonly #waiters = new Set<() => void>();
  #running = 0;
  #runningBytes = 0;

  constructor(private readonly limits: () => DownloadLimits) {}

  running(): number {
    return this.#running;
  }

  waiting(): number {
    return this.#queue.size + this.#waiters.size;
  }

  hasRoom(): boolean {
    const { downloads, downloadsMax } = this.limits();
    return this.#running + this.#queue.size < Math.max(downloads, downloadsMax);
  }

  /** Resolves when there may be room again. Throws `OVERLOADED` when too many wait for that. */
  async room(signal?: AbortSignal): Promise<void> {
    if (this.#waiters.size >= waitersMax) throw new BinnacleError('OVERLOADED', 'too many reads wait for downloads from the remote store', { retryAfterS: 1 });
    await new Promise<void>((resolve, reject) => {
      const wake = (): void => {
        this.#waiters.delete(wake);
        signal?.removeEventListener('abort', cancel);
        resolve();
      };
      const cancel = (): void => {
        this.#waiters.delete(wake);
        reject(signal?.reason as Error);
      };
      if (signal?.aborted === true) return reject(signal.reason as Error);
      signal?.addEventListener('abort', cancel, { once: true });
      this.#waiters.add(wake);
    });
  }

  /** `run` never rejects. Returns what takes the download out of the queue again; false: it had begun. */
  add(bytes: number, run: () => Promise<void>): () => boolean {
    const job = { bytes, run };
    this.#queue.add(job);
    this.#next();
    return () => {
      const waited = this.#queue.delete(job);
      if (waited) this.passOn();
      return waited;
    };
  }

  /** Wakes one reader that waits for room. It calls this in its turn, whether it used the room or not. */
  passOn(): void {
    const [first] = this.#waiters;
    if (first !== undefined && this.hasRoom()) first();
  }

  #next(): void {
    const { downloads } = this.limits();
    for (const job of this.#queue) {
      if (this.#running > 0 && (this.#running >= downloads || this.#runningBytes + job.bytes > bytesMax)) return;
      this.#queue.delete(job);
      void this.#run(job);
    }
  }

  async #run(job: Job): Promise<void> {
    this.#running++;
    this.#runningBytes += job.bytes;
    await job.run();
    this.#running--;
    this.#runningBytes -= job.bytes;
    this.#next();
    this.passOn();
  }
}
