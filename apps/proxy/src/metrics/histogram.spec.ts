import { expect, test } from '@jest/globals';
import { seededRandom } from '@binnacle/testing/seeded-random';
import { exponentialBuckets, latencyBuckets, newHistogram, observe, observeLatency } from './histogram.js';

test("TiProxy's buckets for latencies are 29, from half a millisecond, each twice the one before", () => {
  expect(latencyBuckets).toHaveLength(29);
  expect(latencyBuckets.slice(0, 4)).toEqual([0.0005, 0.001, 0.002, 0.004]);
  expect(latencyBuckets[28]).toBe(134_217.728);
  expect(exponentialBuckets(0.1, 2, 3)).toEqual([0.1, 0.2, 0.4]);
});

test('without a search a latency falls into the bucket that a search finds, at every bound too', () => {
  const random = seededRandom(7);
  const fromBounds = latencyBuckets.flatMap((bound) => [bound * 1_000, bound * 1_000 * (1 + 1e-12), bound * 999.999]);
  const scattered = Array.from({ length: 5_000 }, () => (1 + random.below(1_000_000)) * 10 ** (random.below(10) - 8));
  for (const ms of [0, 1e-9, ...fromBounds, ...scattered, 3e8, 1e15]) {
    const [quick, searched] = [newHistogram(latencyBuckets), newHistogram(latencyBuckets)];
    observeLatency(quick, ms);
    observe(searched, latencyBuckets, ms / 1_000);
    expect([ms, quick.indexOf(1)]).toEqual([ms, searched.indexOf(1)]);
  }
});
