import type { Route } from '@binnacle/contracts/route';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { expect, test } from '@jest/globals';
import { ApiStatistics, windowMs } from './api-statistics.js';

const debug = { method: 'GET', path: '/debug' } as Route;
const search = { method: 'GET', path: '/collections/:collection/documents/search', operation: 'search' } as Route;
const write = { method: 'POST', path: '/collections/:collection/documents', operation: 'write' } as Route;

function statistics(): { clock: FakeClock; statistics: ApiStatistics } {
  const clock = new FakeClock();
  return { clock, statistics: new ApiStatistics({ clock, state: { pendingOperations: () => 3 } } as never) };
}

test('before a window is complete there is nothing but zeros', () => {
  const { statistics: stats } = statistics();
  stats.record(debug, 5);
  expect(stats.snapshot()).toEqual({
    search_requests_per_second: 0,
    search_latency_ms: 0,
    import_requests_per_second: 0,
    import_latency_ms: 0,
    write_requests_per_second: 0,
    write_latency_ms: 0,
    delete_requests_per_second: 0,
    delete_latency_ms: 0,
    latency_ms: {},
    requests_per_second: {},
    overloaded_requests_per_second: 0,
    total_requests_per_second: 0,
    cache_hit_ratio: 0,
    pending_write_batches: 3,
  });
});

test('the last complete window is shown by method and template, until the next one is complete', async () => {
  const { clock, statistics: stats } = statistics();
  stats.record(debug, 5);
  stats.record(debug, 10);
  stats.record(write, 4);
  await clock.advance(windowMs);
  for (let request = 0; request < 100; request++) stats.record(search, 1);
  await clock.advance(windowMs - 1);
  const body = stats.snapshot();
  expect(body['requests_per_second']).toEqual({ 'GET /debug': 0.2, 'POST /collections/:collection/documents': 0.1 });
  expect(body['latency_ms']).toEqual({ 'GET /debug': 7.5, 'POST /collections/:collection/documents': 4 });
  expect(body['total_requests_per_second']).toBeCloseTo(0.3);
  expect(body).toMatchObject({ write_requests_per_second: 0.1, write_latency_ms: 4, search_requests_per_second: 0 });
  await clock.advance(1);
  expect(stats.snapshot()).toMatchObject({ search_requests_per_second: 10, total_requests_per_second: 10, write_requests_per_second: 0 });
});

test('after a window in which nothing happened, nothing is shown', async () => {
  const { clock, statistics: stats } = statistics();
  stats.record(search, 5);
  stats.overloaded();
  await clock.advance(2 * windowMs);
  expect(stats.snapshot()).toMatchObject({ search_requests_per_second: 0, requests_per_second: {}, overloaded_requests_per_second: 0 });
});

test('windows keep their boundaries however late they are looked at', async () => {
  const { clock, statistics: stats } = statistics();
  await clock.advance(3.5 * windowMs);
  stats.record(debug, 1);
  await clock.advance(0.5 * windowMs);
  expect(stats.snapshot()['requests_per_second']).toEqual({ 'GET /debug': 0.1 });
});

test('percentiles are those counted by hand, to three figures', async () => {
  const { clock, statistics: stats } = statistics();
  // 1 to 100 ms once each, in no order: of 100 values the 70th is 70 ms, the 95th 95 ms, the 99th 99 ms.
  for (let n = 0; n < 100; n++) stats.record(search, ((n * 37) % 100) + 1);
  await clock.advance(windowMs);
  const body = stats.snapshot() as Record<string, number>;
  const expected = { min: 1, max: 100, '70Percentile': 70, '95Percentile': 95, '99Percentile': 99 };
  for (const [label, ms] of Object.entries(expected)) {
    const shown = body[`search_${label}_latency_ms`] as number;
    expect(Math.abs(shown - ms) / ms).toBeLessThanOrEqual(0.001);
  }
  expect(body['search_latency_ms']).toBe(50.5);
  expect(Object.keys(body).filter((key) => key.startsWith('write_'))).toEqual(['write_requests_per_second', 'write_latency_ms']);
});

test('a recycled histogram remembers nothing of the window before the last', async () => {
  const { clock, statistics: stats } = statistics();
  stats.record(search, 5_000);
  await clock.advance(2 * windowMs);
  stats.record(search, 2);
  await clock.advance(windowMs);
  expect(stats.snapshot()).toMatchObject({ search_max_latency_ms: 2, search_99Percentile_latency_ms: 2, search_latency_ms: 2 });
});

test('two rows of one method and path are one label', async () => {
  const { clock, statistics: stats } = statistics();
  stats.record({ method: 'GET', path: '/debug/pprof/heap', dialects: ['tiflash'] } as never, 10);
  stats.record({ method: 'GET', path: '/debug/pprof/heap', dialects: ['gostatsd'] } as never, 30);
  await clock.advance(windowMs);
  expect(stats.snapshot()['requests_per_second']).toEqual({ 'GET /debug/pprof/heap': 0.2 });
  expect(stats.snapshot()['latency_ms']).toEqual({ 'GET /debug/pprof/heap': 20 });
});

test('an hour and an instant are recorded, and neither breaks the histogram', async () => {
  const { clock, statistics: stats } = statistics();
  stats.record(search, 1e12);
  stats.record(search, 0);
  await clock.advance(windowMs);
  const body = stats.snapshot() as Record<string, number>;
  expect(body['search_min_latency_ms']).toBe(0.001);
  expect(body['search_max_latency_ms']).toBeGreaterThan(3_590_000);
});

test('requests turned away are counted on their own', async () => {
  const { clock, statistics: stats } = statistics();
  stats.overloaded();
  stats.overloaded();
  await clock.advance(windowMs);
  expect(stats.snapshot()).toMatchObject({ overloaded_requests_per_second: 0.2, total_requests_per_second: 0 });
});

test('the share of searches that a result cache answered, of those that asked for one', async () => {
  const { clock, statistics: stats } = statistics();
  for (const results of ['miss', 'hit', 'hit, miss', 'hit']) stats.recordCache(results);
  await clock.advance(windowMs);
  expect(stats.snapshot()).toMatchObject({ cache_hit_ratio: 0.6 });
  await clock.advance(windowMs);
  expect(stats.snapshot()).toMatchObject({ cache_hit_ratio: 0 });
});
