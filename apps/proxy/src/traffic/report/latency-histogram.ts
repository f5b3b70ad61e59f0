import { exponentialBuckets } from '../../metrics/histogram.js';
import type { Latencies } from './traffic-report.js';

/** From 10 microseconds to an hour in steps of a fourth of a doubling: a percentile is at most 19 % off, mostly much less. The last one has all beyond. */
const bounds = exponentialBuckets(10, 2 ** 0.25, 115);
export const bucketsMax = bounds.length;

/** Latencies of one digest in less than a kilobyte. Node's own histogram of perf_hooks is more exact, and can neither be written down nor drawn. */
export class LatencyHistogram {
  /** No typed array: digests may come and go by the thousand, and each of those costs an allocation outside the heap. */
  readonly #buckets: number[] = [];
  #count = 0;
  #sumUs = 0;
  #minUs = Infinity;
  #maxUs = 0;

  add(latencyUs: number): void {
    // Below zero only by a clock that was set back.
    const us = Math.max(0, latencyUs);
    const index = us <= 10 ? 0 : Math.min(bucketsMax - 1, Math.ceil(Math.log2(us / 10) * 4));
    while (this.#buckets.length <= index) this.#buckets.push(0);
    this.#buckets[index]!++;
    this.#count++;
    this.#sumUs += us;
    if (us < this.#minUs) this.#minUs = us;
    if (us > this.#maxUs) this.#maxUs = us;
  }

  /** Undefined: nothing was added. */
  latencies(): Latencies | undefined {
    if (this.#count === 0) return undefined;
    return {
      count: this.#count,
      meanUs: Math.round(this.#sumUs / this.#count),
      p50Us: this.#percentile(0.5),
      p95Us: this.#percentile(0.95),
      p99Us: this.#percentile(0.99),
      maxUs: Math.round(this.#maxUs),
      buckets: [...this.#buckets],
    };
  }

  /** As if the latencies of a bucket were spread evenly over what of it lies between the least and the greatest of all. */
  #percentile(share: number): number {
    const rank = share * this.#count;
    let below = 0;
    let index = 0;
    while (below + this.#buckets[index]! < rank) below += this.#buckets[index++]!;
    const from = Math.max(this.#minUs, index === 0 ? 0 : bounds[index - 1]!);
    const to = index === bucketsMax - 1 ? this.#maxUs : Math.min(this.#maxUs, bounds[index]!);
    return Math.round(from + ((to - from) * (rank - below)) / this.#buckets[index]!);
  }
}
