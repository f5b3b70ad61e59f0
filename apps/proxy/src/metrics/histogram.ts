/** Counts by bucket, not cumulative, then those beyond the last one, then the sum of what was observed. */
export type HistogramArray = Float64Array;

export const newHistogram = (buckets: readonly number[]): HistogramArray => new Float64Array(buckets.length + 2);

/** `count` bounds, each `factor` times the one before. */
export function exponentialBuckets(first: number, factor: number, count: number): number[] {
  const bounds: number[] = [];
  for (let bound = first; bounds.length < count; bound *= factor) bounds.push(bound);
  return bounds;
}

export function observe(histogram: HistogramArray, buckets: readonly number[], value: number): void {
  let index = 0;
  while (index < buckets.length && value > (buckets[index] as number)) index++;
  histogram[index] = (histogram[index] as number) + 1;
  histogram[buckets.length + 1] = (histogram[buckets.length + 1] as number) + value;
}

/** TiProxy's buckets for what takes time, in seconds: 0.5 ms to 1.5 days. */
export const latencyBuckets = exponentialBuckets(0.0005, 2, 29);
const beyond = latencyBuckets.length;

/** The same as `observe` with `latencyBuckets`, of milliseconds and without a search: a doubling bound is a matter of the highest bit. */
export function observeLatency(histogram: HistogramArray, ms: number): void {
  const halves = ms * 2;
  const index = halves <= 1 ? 0 : halves > 2 ** 28 ? beyond : 32 - Math.clz32(Math.ceil(halves) - 1);
  histogram[index] = (histogram[index] as number) + 1;
  histogram[beyond + 1] = (histogram[beyond + 1] as number) + ms / 1_000;
}
