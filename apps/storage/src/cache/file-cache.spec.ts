import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { rmSync, statSync, writeFileSync, openSync, writeSync, closeSync } from 'node:fs';
import { waitUntil } from '@binnacle/testing/wait-until';
import { expectContent, mebibyte, range, segment, TestableCache } from '../../test/testable-cache.js';
import type { FileCacheOptions } from './cache-types.js';

const large = segment('large', 8 * mebibyte);
const small = segment('small', 1_000);
let tested: TestableCache;

async function open(options: Partial<FileCacheOptions> = {}): Promise<void> {
  await tested?.remove();
  tested = new TestableCache(undefined, options);
}

beforeEach(async () => open());
afterEach(async () => tested.remove());

const fetched = (): [offset: number, length: number][] => tested.fetches.map(({ offset, length }) => [offset, length]);
const allocated = (path: string): number => statSync(path).blocks * 512;

describe('acquire', () => {
  test('what was fetched once is local from then on', async () => {
    const ranges = [range(4_000, 10_000), range(5_000_000, 700, 'Meta')];
    await tested.read(large, ranges);
    await tested.read(large, ranges);
    expect(fetched()).toEqual([
      [4_000, 10_000],
      [5_000_000, 700],
    ]);
    expect(tested.cache.statistics()).toMatchObject({ hits: 1, misses: 1, hitBytes: 10_700, missBytes: 10_700, usedBytes: 10_700 });
  });

  test('a small segment is one entry, as a whole', async () => {
    await tested.read(small, [range(10, 20, 'Meta')]);
    await tested.read(small, [range(500, 500)]);
    expect(fetched()).toEqual([[0, 1_000]]);
    expect(await tested.cache.info(tested.clock.nowMs())).toMatchObject([{ type: 'Merged', total: { bytes: 1_000, count: 1 } }]);
  });

  test('however many ask at once, each byte is fetched once, also where they ask for different parts', async () => {
    tested.held = true;
    const reads = [
      tested.read(large, [range(0, 100_000)]),
      tested.read(large, [range(50_000, 100_000)]),
      tested.read(large, [range(20_000, 60_000)]),
    ];
    await waitUntil(() => tested.fetches.length === 2);
    for (const fetch of tested.fetches) fetch.answer();
    await Promise.all(reads);
    expect(fetched()).toEqual([
      [0, 100_000],
      [100_000, 50_000],
    ]);
  });

  test('the first asker may leave: the others get what it asked for; when all have left, the fetch is ended', async () => {
    tested.held = true;
    const [first, second, third] = [new AbortController(), new AbortController(), new AbortController()];
    const asked = [first, second].map(async ({ signal }) => tested.cache.acquire(large, [range(0, 5_000)], signal));
    await waitUntil(() => tested.fetches.length === 1);
    first.abort(new Error('left'));
    await expect(asked[0]).rejects.toThrow('left');
    expect(tested.fetches[0]?.signal.aborted).toBe(false);
    tested.fetches[0]?.answer();
    (await asked[1])?.release();
    const alone = tested.cache.acquire(large, [range(10_000, 5_000)], third.signal);
    await waitUntil(() => tested.fetches.length === 2);
    third.abort(new Error('left too'));
    await expect(alone).rejects.toThrow('left too');
    expect(tested.fetches[1]?.signal.aborted).toBe(true);
    // Who asks now does not get to see that.
    tested.held = false;
    await tested.read(large, [range(10_000, 5_000)]);
    expect(await tested.usedBytes()).toBe(10_000);
  });

  test('a fetch that fails is the failure of all who wait for it, and the next one tries again', async () => {
    tested.held = true;
    const reads = [tested.read(large, [range(0, 100)]), tested.read(large, [range(0, 100)])];
    await waitUntil(() => tested.fetches.length === 1);
    tested.fetches[0]?.fail(new Error('the bucket is away'));
    for (const read of reads) await expect(read).rejects.toThrow('the bucket is away');
    tested.held = false;
    await tested.read(large, [range(0, 100)]);
    expect(tested.cache.statistics()).toMatchObject({ usedBytes: 100, failures: 1 });
  });

  test('neighbours are fetched together, and what lies between is at most a tenth of what was asked for', async () => {
    await tested.read(large, [range(0, 100_000), range(105_000, 100_000), range(300_000, 1_000), range(302_000, 1_000)]);
    expect(fetched()).toEqual([
      [0, 205_000],
      [300_000, 1_000],
      [302_000, 1_000],
    ]);
    // What lay between was not asked for, and is not there.
    expect(await tested.usedBytes()).toBe(202_000);
    const { fetchedBytes, neededBytes } = tested.cache.statistics();
    expect(fetchedBytes / neededBytes).toBeLessThan(1.1);
  });

  test('as many fetches run as the settings say; who needs more waits, also for what others began', async () => {
    tested.held = true;
    tested.limits = { ...tested.limits, downloads: 2, downloadsMax: 3 };
    const spread = [0, 1, 2, 3, 4, 5].map((index) => range(index * mebibyte, 1_000));
    const reads = [tested.read(large, spread), tested.read(large, [...spread].reverse())];
    const answered = new Set<number>();
    await waitUntil(() => {
      expect(tested.cache.statistics().running).toBeLessThanOrEqual(2);
      expect(tested.fetches.length - answered.size).toBeLessThanOrEqual(2);
      const next = tested.fetches.findIndex((_, index) => !answered.has(index));
      if (next >= 0) {
        answered.add(next);
        tested.fetches[next]?.answer();
      }
      return answered.size === 6;
    });
    await Promise.all(reads);
    expect(tested.fetches.length).toBe(6);
    expect(tested.cache.statistics()).toMatchObject({ running: 0, waiting: 0 });
  });

  test('a reader that needs many times what the queue holds gets it all, and it is kept', async () => {
    tested.limits = { ...tested.limits, downloads: 2, downloadsMax: 2 };
    const many = Array.from({ length: 60 }, (_, index) => range(index * 100_000, 5_000));
    await tested.read(large, many);
    expect(tested.cache.statistics()).toMatchObject({ fetches: 60, usedBytes: 300_000, spareReads: 0, hits: 0, misses: 1 });
  });

  test('a range outside its segment, or a key that is a way out of the folder, is refused', async () => {
    await expect(tested.cache.acquire(large, [range(large.bytes - 1, 2)])).rejects.toThrow(RangeError);
    for (const key of ['../x', 'a/../../x', '/etc/passwd', 'a//b', '', '.', 'a/./b']) await expect(tested.cache.acquire({ key, bytes: 10 }, [range(0, 1)])).rejects.toThrow(RangeError);
  });
});

describe('eviction', () => {
  const [meta, handles, columns] = [range(0, mebibyte, 'Meta'), range(mebibyte, mebibyte, 'HandleColData'), range(2 * mebibyte, mebibyte, 'ColData')];

  test('by size: the least important and least recently used go, whole blocks of them back to the disk', async () => {
    await open({ capacityBytes: 8 * mebibyte });
    const pin = await tested.cache.acquire(large, [meta, handles, columns]);
    pin.release();
    expect(allocated(pin.path)).toBe(3 * mebibyte);
    // 6 MiB are the capacity, 3 are used: that 4 are free takes 1.
    expect(await tested.cache.evictBySize({ reserveBytes: 3 * mebibyte, minAgeMs: 0, force: false })).toBe(0);
    expect(await tested.cache.evictBySize({ reserveBytes: 4 * mebibyte, minAgeMs: 0, force: false })).toBe(mebibyte);
    expect((await tested.cache.info(0)).map(({ type }) => type)).toEqual(['Meta', 'HandleColData']);
    expect(allocated(pin.path)).toBe(2 * mebibyte);
    expect(tested.cache.statistics().allocatedBytes).toBe(2 * mebibyte);
    await tested.read(large, [meta, handles, columns]);
    expect(tested.fetches.length).toBe(2);
  });

  test('what is younger than the age stays, unless it is forced; then the oldest goes first, whatever its type', async () => {
    await open({ capacityBytes: 8 * mebibyte });
    await tested.read(large, [meta]);
    await tested.clock.advance(10_000);
    await tested.read(large, [columns]);
    await tested.clock.advance(5_000);
    const reserveBytes = 5 * mebibyte;
    expect(await tested.cache.evictBySize({ reserveBytes, minAgeMs: 15_001, force: false })).toBe(0);
    expect(await tested.cache.evictBySize({ reserveBytes, minAgeMs: 15_001, force: true })).toBe(mebibyte);
    expect((await tested.cache.info(0)).map(({ type }) => type)).toEqual(['ColData']);
    // Exactly as old is old enough.
    expect(await tested.cache.evictBySize({ reserveBytes: 6 * mebibyte, minAgeMs: 5_000, force: false })).toBe(mebibyte);
  });

  test('by type: it and all that is less important', async () => {
    await tested.read(large, [meta, handles, columns]);
    expect(await tested.cache.evictByType('HandleColData')).toBe(2 * mebibyte);
    expect((await tested.cache.info(0)).map(({ type }) => type)).toEqual(['Meta']);
    expect(await tested.cache.evictByType('Unknown')).toBe(mebibyte);
    await tested.cache.settled();
    expect(tested.cache.statistics()).toMatchObject({ usedBytes: 0, allocatedBytes: 0, mirrors: 0 });
  });

  test('what a reader has pinned stays, and can be read to the end', async () => {
    const pin = await tested.cache.acquire(large, [meta, columns]);
    await tested.read(large, [handles]);
    expect(await tested.cache.evictByType('Unknown')).toBe(mebibyte);
    expect(await tested.cache.evictBySize({ reserveBytes: 2 ** 40, minAgeMs: 0, force: true })).toBe(0);
    await expectContent(pin, large, [meta, columns]);
    pin.release();
    expect(await tested.cache.evictByType('Unknown')).toBe(2 * mebibyte);
  });

  test('room for a new entry: of its own type first, then the least important; age does not protect what matters less', async () => {
    await open({ capacityBytes: 4 * mebibyte });
    tested.limits = { ...tested.limits, minAgeMs: 60_000 };
    await tested.read(large, [meta, handles, columns]);
    // Everything is young. A handle column may push a column out, and not the other way round.
    await tested.read(large, [range(4 * mebibyte, mebibyte, 'HandleColData')]);
    expect((await tested.cache.info(0)).map(({ type, total }) => [type, total.count])).toEqual([['Meta', 1], ['HandleColData', 2]]);
    await tested.read(large, [columns]);
    expect((await tested.cache.info(0)).map(({ type, total }) => [type, total.count])).toEqual([['Meta', 1], ['HandleColData', 2]]);
    // What is old goes, and of the same type before anything else.
    await tested.clock.advance(60_000);
    await tested.read(large, [range(5 * mebibyte, mebibyte, 'Meta')]);
    expect((await tested.cache.info(0)).map(({ type, total }) => [type, total.count])).toEqual([['Meta', 1], ['HandleColData', 2]]);
    await tested.read(large, [columns]);
    expect((await tested.cache.info(0)).map(({ type, total }) => [type, total.count])).toEqual([['Meta', 1], ['HandleColData', 1], ['ColData', 1]]);
  });

  test('types above the level are read and not kept', async () => {
    tested.limits = { ...tested.limits, fileLevel: 1 };
    const pin = await tested.cache.acquire(large, [meta, columns]);
    await expectContent(pin, large, [meta, columns]);
    expect(tested.cache.statistics()).toMatchObject({ usedBytes: mebibyte, transientBytes: mebibyte });
    pin.release();
    await tested.cache.settled();
    expect(tested.cache.statistics()).toMatchObject({ usedBytes: mebibyte, transientBytes: 0, allocatedBytes: mebibyte });
  });

  test('a block that two entries share stays until both have gone', async () => {
    const pin = await tested.cache.acquire(large, [range(0, 10_000, 'Meta'), range(10_000, 10_000, 'ColData')]);
    pin.release();
    await tested.cache.evictByType('ColData');
    await tested.read(large, [range(0, 10_000, 'Meta')]);
    expect(allocated(pin.path)).toBe(12_288);
    expect(tested.fetches.length).toBe(1);
  });

  test('where holes cannot be punched, the file is made anew without them', async () => {
    await open({ punchHole: async () => false });
    const pin = await tested.cache.acquire(large, [meta, columns]);
    await tested.read(large, [handles]);
    expect(await tested.cache.evictByType('Unknown')).toBe(mebibyte);
    expect(allocated(pin.path)).toBe(2 * mebibyte);
    await expectContent(pin, large, [meta, columns]);
    pin.release();
  });

  test('evicting a hundred thousand entries leaves the event loop its turns', async () => {
    const count = 2_000;
    for (let mirror = 0; mirror < 50; mirror++) {
      const pin = await tested.cache.acquire(segment(`wide${mirror}`, mebibyte), Array.from({ length: count }, (_, at) => range(at * 16, 16)));
      pin.release();
    }
    let turns = 0;
    const counting = setInterval(() => turns++, 1);
    expect(await tested.cache.evictByType('Unknown')).toBe(50 * count * 16);
    clearInterval(counting);
    expect(turns).toBeGreaterThan(2);
  });
});

describe('damage and loss', () => {
  test('a damaged range is found at its first use after a restart, and fetched again', async () => {
    const ranges = [range(0, 50_000), range(60_000, 50_000)];
    await tested.read(large, ranges);
    const path = (await tested.cache.acquire(large, ranges)).path;
    await tested.cache.stop();
    damage(path, 70_000);
    tested.reopen();
    await tested.read(large, ranges);
    expect(fetched().slice(1)).toEqual([[60_000, 50_000]]);
    expect(tested.cache.statistics()).toMatchObject({ corrupted: 1, usedBytes: 100_000 });
  });

  test('a reader that failed has the bytes checked; what is good is not fetched again', async () => {
    const ranges = [range(0, 50_000), range(500_000, 50_000)];
    const pin = await tested.cache.acquire(large, ranges);
    damage(pin.path, 510_000);
    pin.doubt();
    pin.release();
    await tested.read(large, ranges);
    expect(fetched().slice(2)).toEqual([[500_000, 50_000]]);
  });

  test('a folder that was removed under the node is made again', async () => {
    await tested.read(large, [range(0, 5_000)]);
    await tested.read(small, [range(0, 10)]);
    rmSync(tested.folder, { recursive: true });
    await tested.clock.advance(1_000);
    await tested.read(large, [range(0, 5_000)]);
    expect(tested.fetches.length).toBe(3);
    await tested.cache.settled();
    // The other mirror is known to be lost too, though nobody has asked for it.
    expect(await tested.usedBytes()).toBe(5_000);
    await tested.clock.advance(1_000);
    await tested.cache.stop();
    tested.reopen();
    await tested.read(large, [range(0, 5_000)]);
    expect(tested.fetches.length).toBe(3);
  });

  test('a reader may doubt a file that has just gone', async () => {
    const pin = await tested.cache.acquire(large, [range(0, 5_000)]);
    rmSync(pin.path);
    pin.doubt();
    pin.release();
    await tested.read(large, [range(0, 5_000)]);
  });

  test('files that no index knows go, with the next start', async () => {
    await tested.read(large, [range(0, 5_000)]);
    const { path } = await tested.cache.acquire(large, [range(0, 5_000)]);
    await tested.cache.stop();
    writeFileSync(`${path}.other`, 'x');
    tested.reopen();
    await tested.cache.start();
    await tested.cache.settled();
    expect(() => statSync(`${path}.other`)).toThrow('ENOENT');
    expect(statSync(path).size).toBe(large.bytes);
  });
});

describe('restart', () => {
  test('entries come back with their types and times of use', async () => {
    await tested.read(large, [range(0, 5_000, 'Meta')]);
    await tested.clock.advance(3_600_000);
    await tested.read(large, [range(10_000, 5_000)]);
    const before = await tested.cache.info(tested.clock.nowMs());
    await tested.cache.stop();
    tested.reopen();
    await tested.cache.start();
    await tested.cache.settled();
    expect(await tested.cache.info(tested.clock.nowMs())).toEqual(before);
    expect(before.map(({ type, buckets }) => [type, buckets[0]?.name])).toEqual([['Meta', 'in360min'], ['ColData', 'in30min']]);
    await tested.read(large, [range(0, 5_000), range(10_000, 5_000)]);
    expect(tested.fetches.length).toBe(2);
  });

  test('a use is remembered a minute later, also by a process that was killed then', async () => {
    await tested.read(large, [range(0, 5_000, 'Meta')]);
    await tested.clock.advance(3_600_000);
    await tested.read(large, [range(0, 5_000, 'Meta')]);
    await tested.clock.advance(61_000);
    await tested.cache.settled();
    tested.reopen();
    await tested.cache.start();
    await tested.cache.settled();
    expect(await tested.cache.info(tested.clock.nowMs())).toMatchObject([{ oldest: { accessedAtMs: tested.clock.nowMs() - 61_000 } }]);
  });

  test('a smaller cache evicts at once what no longer fits', async () => {
    await tested.read(large, [range(0, 4 * mebibyte)]);
    await tested.cache.stop();
    const smaller = new TestableCache(tested.folder, { capacityBytes: 4 * mebibyte });
    await smaller.cache.start();
    await smaller.cache.settled();
    expect(await smaller.usedBytes()).toBe(0);
    await smaller.cache.stop();
  });
});

function damage(path: string, at: number): void {
  const fd = openSync(path, 'r+');
  writeSync(fd, 'damage', at);
  closeSync(fd);
}
