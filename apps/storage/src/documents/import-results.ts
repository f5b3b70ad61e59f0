import type { Clock } from '@binnacle/cluster-state/clock';
import { BinnacleError } from '@binnacle/contracts/errors';
import { Readable } from 'node:stream';

/** Results that wait for their client, successes not counted: 8 MiB. */
const pendingBytesMax = 8 * 1024 * 1024;
/** A client that reads none of its results for that long, while they cannot be kept any more, is given up: it may wait for us as we for it. */
const standstillMsMax = 60_000;
const chunkBytesMax = 64 * 1024;
const success = '{"success":true}';

/**
 * The result lines of an import, in order, with a newline between them as Typesense has it. Plain successes, which are nearly all, are only
 * counted while they wait: many clients read nothing before they have sent everything.
 */
export class ImportResults extends Readable {
  /** Lines, and numbers of successes. */
  #pending: (string | number)[] = [];
  #pendingBytes = 0;
  #isFirst = true;
  #isWanted = false;
  #isComplete = false;
  #roomWaiter: (() => void) | undefined;

  constructor(private readonly clock: Clock) {
    super();
  }

  addSuccess(): void {
    const last = this.#pending.length - 1;
    if (typeof this.#pending[last] === 'number') (this.#pending[last] as number)++;
    else this.#pending.push(1);
    if (this.#isWanted) this.#flush();
  }

  add(line: string): void {
    this.#pending.push(line);
    this.#pendingBytes += Buffer.byteLength(line);
    if (this.#isWanted) this.#flush();
  }

  complete(): void {
    this.#isComplete = true;
    if (this.#isWanted) this.#flush();
  }

  /** Resolves once the client has read enough, or is gone. */
  async room(): Promise<void> {
    while (this.#pendingBytes > pendingBytesMax && !this.destroyed) {
      const giveUp = (): void => void this.destroy(new BinnacleError('REQUEST_TIMEOUT', 'the results of the import are not read'));
      const cancel = this.clock.after(standstillMsMax, giveUp);
      await new Promise<void>((resolve) => (this.#roomWaiter = resolve));
      cancel();
    }
  }

  override _read(): void {
    this.#isWanted = true;
    this.#flush();
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#roomWaiter?.();
    callback(error);
  }

  #flush(): void {
    while (this.#isWanted && this.#pending.length > 0) this.#isWanted = this.push(this.#chunk());
    if (this.#isComplete && this.#pending.length === 0) {
      this.#isComplete = false;
      this.push(null);
    }
    this.#roomWaiter?.();
  }

  #chunk(): string {
    let chunk = '';
    let taken = 0;
    while (taken < this.#pending.length && chunk.length < chunkBytesMax) {
      const next = this.#pending[taken] as string | number;
      if (typeof next === 'string') {
        chunk += this.#separated(next);
        this.#pendingBytes -= Buffer.byteLength(next);
        taken++;
        continue;
      }
      const repeated = Math.min(next, Math.ceil(chunkBytesMax / success.length));
      chunk += this.#separated(success) + `\n${success}`.repeat(repeated - 1);
      if (repeated === next) taken++;
      else this.#pending[taken] = next - repeated;
    }
    this.#pending.splice(0, taken);
    return chunk;
  }

  #separated(line: string): string {
    if (!this.#isFirst) return `\n${line}`;
    this.#isFirst = false;
    return line;
  }
}
