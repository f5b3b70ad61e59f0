/*
 * The file cache: look-ups against lru-cache's `get` in the same run, eviction of a tenth of all entries, and a restart with all of them.
 * From the root, under Node.js 24:  node --conditions=@binnacle/source apps/storage/bench/file-cache.bench.ts [entries] [together | scattered]
 *
 * Entries of 4 KiB, 100 a segment, really on the disk of the folder. A look-up is `acquire` and `release` of a range that is there, in a
 * random order; the peer's is `get` of the same key and range as one string, without a file behind it, a pin or an access time on disk.
 * Sides take turns, medians count. An eviction finds its entries together, in whole segments, or
 * scattered: every other block of twice as many. The event loop is watched while entries are evicted and while a restarted cache reads its index.
 */
import '../test/fixtures/typescript-hooks.mjs';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { LRUCache } from 'lru-cache';
import type { FileType } from '../src/cache/file-type.js';

const { systemClock } = await import('@binnacle/cluster-state/clock');
const { FileCache } = await import('../src/cache/file-cache.js');

const entryCount = Number(process.argv[2] ?? 1_000_000);
const folder = mkdtempSync(join(tmpdir(), 'binnacle-cache-bench-'));
const entriesPerSegment = 100;
const entryBytes = 4_096;
const lookupCount = 200_000;
const rounds = 5;
const resolutionMs = 1;
const types: readonly FileType[] = process.argv[3] === 'scattered' ? ['ColData', 'HandleColData'] : ['ColData'];

const segmentAt = (index: number) => ({ key: `regions/1/256/segments/${String(index).padStart(36, '0')}.parquet`, bytes: 2 ** 20 });
const rangesOf = Array.from({ length: entriesPerSegment }, (_, index) => ({ offset: index * entryBytes, length: entryBytes, type: types[index % types.length] as FileType }));
const bytes = Buffer.alloc(2 ** 20, 'binnacle');
const openCache = () =>
  new FileCache(async (_, { length }) => bytes.subarray(0, length), systemClock, {
    folder,
    capacityBytes: Math.ceil((entryCount * entryBytes) / 0.75) + 2 ** 20,
    limits: () => ({ fileLevel: 100, minAgeMs: 0, downloads: 4, downloadsMax: 20 }),
    warn: (error) => console.error(error),
  });

const threadCpuUs = (): number => {
  const { user, system } = process.threadCpuUsage();
  return user + system;
};

async function watched<T>(work: () => Promise<T>): Promise<{ seconds: number; cpuSeconds: number; loopDelayMsMax: number; turnCpuMsMax: number; result: T }> {
  const delay = monitorEventLoopDelay({ resolution: resolutionMs });
  delay.enable();
  // What others do to the machine delays turns; the processor time this thread takes between two of them does not depend on that.
  let [turnCpuUs, lastCpuUs] = [0, threadCpuUs()];
  const turns = setInterval(() => {
    const nowCpuUs = threadCpuUs();
    [turnCpuUs, lastCpuUs] = [Math.max(turnCpuUs, nowCpuUs - lastCpuUs), nowCpuUs];
  }, resolutionMs);
  const cpu = process.cpuUsage();
  const startMs = performance.now();
  const result = await work();
  const { user, system } = process.cpuUsage(cpu);
  const seconds = (performance.now() - startMs) / 1_000;
  // One more turn, so that the last piece of work is seen as well.
  await new Promise((resolve) => setTimeout(resolve, 20));
  delay.disable();
  clearInterval(turns);
  return { seconds: Number(seconds.toFixed(3)), cpuSeconds: Number(((user + system) / 1e6).toFixed(3)), loopDelayMsMax: Math.round(delay.max / 1e6), turnCpuMsMax: Math.round(turnCpuUs / 1e3), result };
}

const median = (values: number[]): number => values.sort((one, other) => one - other)[Math.floor(values.length / 2)] as number;
const heapMegabytes = (): number => {
  globalThis.gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return Math.round((heapUsed + arrayBuffers) / 1e6);
};

// On a machine that others use too, this is what they do to the figures below.
const idle = await watched(async () => new Promise((resolve) => setTimeout(resolve, 2_000)));
console.log('idle', { loopDelayMsMax: idle.loopDelayMsMax, turnCpuMsMax: idle.turnCpuMsMax });

let cache = openCache();
const before = heapMegabytes();
const filled = await watched(async () => {
  for (let index = 0; index < entryCount / entriesPerSegment; index++) (await cache.acquire(segmentAt(index), rangesOf)).release();
});
console.log('fill', { entries: entryCount, seconds: filled.seconds, cpuSeconds: filled.cpuSeconds, loopDelayMsMax: filled.loopDelayMsMax, turnCpuMsMax: filled.turnCpuMsMax, heapMegabytes: heapMegabytes() - before });

const peer = new LRUCache<string, object>({ max: entryCount });
const keyAt = (index: number): string => `${segmentAt(Math.floor(index / entriesPerSegment)).key}:${index % entriesPerSegment}`;
for (let index = 0; index < entryCount; index++) peer.set(keyAt(index), {});
const speeds = { cache: [] as number[], lruCache: [] as number[] };
for (let round = 0; round < rounds; round++) {
  // Segments that were looked at within the last second, as those of a query are.
  const picks = Array.from({ length: lookupCount }, (_, index) => (Math.imul(index + round, 2_654_435_761) >>> 0) % Math.min(entryCount, 20_000));
  const segments = picks.map((pick) => segmentAt(Math.floor(pick / entriesPerSegment)));
  const wanted = picks.map((pick) => [rangesOf[pick % entriesPerSegment] as (typeof rangesOf)[number]]);
  const keys = picks.map(keyAt);
  for (const [index, segment] of segments.entries()) if (index < 20_000) (await cache.acquire(segment, wanted[index] as (typeof wanted)[number])).release();
  let startMs = performance.now();
  for (const [index, segment] of segments.entries()) (await cache.acquire(segment, wanted[index] as (typeof wanted)[number])).release();
  speeds.cache.push((lookupCount / (performance.now() - startMs)) * 1_000);
  startMs = performance.now();
  for (const key of keys) if (peer.get(key) === undefined) throw new Error('the peer lost an entry');
  speeds.lruCache.push((lookupCount / (performance.now() - startMs)) * 1_000);
}
peer.clear();
const [ours, theirs] = [median(speeds.cache), median(speeds.lruCache)];
console.log('look-ups', { perSecond: Math.round(ours), lruCacheGetsPerSecond: Math.round(theirs), ratio: Number((ours / theirs).toFixed(3)) });

const info = await watched(async () => cache.info(Date.now()));
console.log('info', { seconds: info.seconds, loopDelayMsMax: info.loopDelayMsMax, turnCpuMsMax: info.turnCpuMsMax });

const tenth = Math.floor(entryCount / 10);
const spare = cache.capacityBytes - cache.statistics().usedBytes;
const evicted = await watched(async () => cache.evictBySize({ reserveBytes: spare + tenth * entryBytes, minAgeMs: 0, force: true }));
console.log('evict', { entries: evicted.result / entryBytes, seconds: evicted.seconds, cpuSeconds: evicted.cpuSeconds, loopDelayMsMax: evicted.loopDelayMsMax, turnCpuMsMax: evicted.turnCpuMsMax });

await cache.stop();
console.log('index file', { megabytes: Math.round(statSync(join(folder, 'index')).size / 1e6) });
cache = openCache();
const restarted = await watched(async () => {
  cache.start();
  (await cache.acquire(segmentAt(entryCount / entriesPerSegment - 1), [{ offset: 0, length: entryBytes, type: 'Meta' }])).release();
});
const entries = cache.statistics().countByType.reduce((sum, count) => sum + count, 0);
console.log('restart', { entries, secondsToFirstRead: restarted.seconds, cpuSeconds: restarted.cpuSeconds, loopDelayMsMax: restarted.loopDelayMsMax, turnCpuMsMax: restarted.turnCpuMsMax });
const examined = await watched(async () => cache.settled());
console.log('examination of the folder', { seconds: examined.seconds, loopDelayMsMax: examined.loopDelayMsMax, turnCpuMsMax: examined.turnCpuMsMax });

const again = entriesPerSegment * 100;
const verified = await watched(async () => {
  for (let index = 0; index < 100; index++) (await cache.acquire(segmentAt(entryCount / entriesPerSegment - 1 - index), rangesOf)).release();
});
console.log('first use after a restart', { entriesPerSecond: Math.round(again / verified.seconds), megabytesPerSecond: Math.round((again * entryBytes) / verified.seconds / 1e6) });
await cache.stop();
rmSync(folder, { recursive: true, force: true });
