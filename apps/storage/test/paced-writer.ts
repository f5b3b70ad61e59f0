import type { StorageProcess } from './storage-process.js';

export interface Acknowledged {
  readonly ids: readonly string[];
  readonly sentAtMs: number;
  readonly acknowledgedAtMs: number;
}

const perRequest = 10;
/** Beyond it the pace is not kept: a queue here would measure this process, not the node. */
const requestsMax = 64;
/** Ticks of the pace; a timer is about a millisecond late, and what was missed is sent in the next tick. */
const tickMs = 5;

/** Writes documents to a collection, ten a request, so many a second, and remembers what was acknowledged when. */
export class PacedWriter {
  readonly acknowledged: Acknowledged[] = [];
  readonly failures: string[] = [];
  readonly #inFlight = new Set<Promise<void>>();
  #next = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly node: StorageProcess,
    private readonly collection: string,
    private readonly writesPerSecond: number,
  ) {}

  start(): void {
    let duePart = 0;
    let lastMs = performance.now();
    this.#timer = setInterval(() => {
      const nowMs = performance.now();
      duePart += ((nowMs - lastMs) * this.writesPerSecond) / 1_000 / perRequest;
      lastMs = nowMs;
      for (; duePart >= 1; duePart--) if (this.#inFlight.size < requestsMax) this.#send();
    }, tickMs);
  }

  /** Documents. */
  count(): number {
    return this.acknowledged.length * perRequest;
  }

  /** Sends nothing more, and waits for what is on its way. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#inFlight);
  }

  #send(): void {
    const ids = Array.from({ length: perRequest }, () => `d${this.#next++}`);
    const writing: Promise<void> = this.#write(ids).finally(() => this.#inFlight.delete(writing));
    this.#inFlight.add(writing);
  }

  async #write(ids: readonly string[]): Promise<void> {
    const sentAtMs = performance.now();
    const text = 'x'.repeat(150);
    try {
      const body = ids.map((id) => JSON.stringify({ id, text })).join('\n');
      const answer = await this.node.ask('POST', `/collections/${this.collection}/documents/import`, body);
      const isWritten = answer.status === 200 && answer.text.split('\n').every((line) => line.includes('"success":true'));
      if (isWritten) this.acknowledged.push({ ids, sentAtMs, acknowledgedAtMs: performance.now() });
      else this.failures.push(answer.text);
    } catch (error) {
      this.failures.push(String(error));
    }
  }
}

/** Of the requests that overlap a time: the longest between two acknowledgements in a row, and the longest that one took. */
export function pauses(all: readonly Acknowledged[], fromMs: number, toMs: number): { writes: number; gapMs: number; slowestMs: number } {
  const during = all.filter(({ sentAtMs, acknowledgedAtMs }) => acknowledgedAtMs >= fromMs && sentAtMs <= toMs);
  const times = during.map(({ acknowledgedAtMs }) => acknowledgedAtMs).toSorted((a, b) => a - b);
  const gapMs = times.slice(1).reduce((longest, time, index) => Math.max(longest, time - (times[index] as number)), 0);
  const slowestMs = during.reduce((longest, { sentAtMs, acknowledgedAtMs }) => Math.max(longest, acknowledgedAtMs - sentAtMs), 0);
  return { writes: during.length * perRequest, gapMs, slowestMs };
}
