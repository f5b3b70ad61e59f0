import { expect, test } from '@jest/globals';
import { underJemalloc } from '../test/under-jemalloc.js';
import { CapabilityMissing } from './capture-errors.js';
import { Jemalloc } from './jemalloc.js';
import { collectGarbage, purgeMemory } from './memory-purge.js';

/** Counts the purges and does nothing. */
function countingJemalloc(): { jemalloc: Jemalloc; purged: string[] } {
  const purged: string[] = [];
  const mallctl = (name: string): number => (purged.push(name), 0);
  return { jemalloc: new Jemalloc({ mallctl, errno: () => 0, printStatistics: () => undefined }), purged };
}

test('memory that was freed goes back to the system', () => {
  const { purged, residentBytes } = underJemalloc<{ purged: Awaited<ReturnType<typeof purgeMemory>>; residentBytes: number }>(`
    const { purgeMemory } = await load('memory-purge');
    let blocks = Array.from({ length: 25_000 }, () => Buffer.allocUnsafeSlow(8192).fill(1));
    blocks = undefined;
    const purged = await purgeMemory();
    console.log(JSON.stringify({ purged, residentBytes: process.memoryUsage.rss() }));`);
  expect(purged.residentBeforeBytes).toBeGreaterThan(200e6);
  expect(purged.releasedBytes).toBe(purged.residentBeforeBytes - purged.residentAfterBytes);
  expect(purged.releasedBytes).toBeGreaterThan(120e6);
  expect(residentBytes).toBeLessThan(purged.residentBeforeBytes - 120e6);
});

test('so does what JavaScript objects took', () => {
  const { residentBeforeBytes, releasedBytes } = underJemalloc<Awaited<ReturnType<typeof purgeMemory>>>(`
    const { purgeMemory } = await load('memory-purge');
    const hold = () => { Array.from({ length: 3_000_000 }, (_, index) => ({ index, next: index + 0.5 })); };
    hold();
    console.log(JSON.stringify(await purgeMemory()));`);
  expect(residentBeforeBytes).toBeGreaterThan(200e6);
  expect(releasedBytes).toBeGreaterThan(120e6);
});

test('callers at the same time share one run, and the next one is a run of its own', async () => {
  const { jemalloc, purged } = countingJemalloc();
  const [first, second] = await Promise.all([purgeMemory(undefined, jemalloc), purgeMemory(undefined, jemalloc)]);
  expect(second).toBe(first);
  expect(purged).toEqual(['arena.4096.purge']);
  await purgeMemory(undefined, jemalloc);
  expect(purged).toHaveLength(2);
});

test('a caller that leaves does not take the run from the others', async () => {
  const { jemalloc, purged } = countingJemalloc();
  const leaving = new AbortController();
  const left = purgeMemory(leaving.signal, jemalloc);
  const stays = purgeMemory(new AbortController().signal, jemalloc);
  leaving.abort(new Error('left'));
  await expect(left).rejects.toThrow('left');
  expect((await stays).residentAfterBytes).toBeGreaterThan(0);
  expect(purged).toHaveLength(1);
});

test('when all have left nothing is purged, and who comes then gets a run of its own', async () => {
  const { jemalloc, purged } = countingJemalloc();
  const leaving = new AbortController();
  const left = purgeMemory(leaving.signal, jemalloc);
  leaving.abort(new Error('left'));
  const next = purgeMemory(undefined, jemalloc);
  await expect(left).rejects.toThrow('left');
  await next;
  expect(purged).toHaveLength(1);
});

test('without jemalloc it says how to get it', async () => {
  await expect(purgeMemory()).rejects.toThrow(CapabilityMissing);
  await expect(purgeMemory()).rejects.toThrow('`apt-get install libjemalloc2`');
});

test('a collection is a real one and leaves no `gc` behind', async () => {
  const gone = new WeakRef(new Array(1_000).fill({}));
  await new Promise((resolve) => setImmediate(resolve)); // A WeakRef holds its object until the end of the turn that made it.
  collectGarbage();
  expect(gone.deref()).toBeUndefined();
  expect('gc' in globalThis).toBe(false);
});
