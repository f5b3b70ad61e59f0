import { expect, test } from '@jest/globals';
import { expectContent, range, segment, TestableCache } from '../../test/testable-cache.js';
import type { Pin, TypedRange } from './cache-types.js';
import { fileTypes, type FileType } from './file-type.js';

const kibibyte = 1_024;
const capacityBytes = 2_048 * kibibyte;
const keptBytesMax = capacityBytes * 0.75;
const transientBytesMax = Math.floor(capacityBytes * 0.15);
const segments = Array.from({ length: 6 }, (_, index) => segment(`model${index}`, 1_500 * kibibyte));
const types: readonly FileType[] = ['Meta', 'HandleColData', 'ColData', 'VersionColData', 'ColData'];
/** Every segment has the same 15 ranges, some next to each other, none on block boundaries. */
const ranges = Array.from({ length: 15 }, (_, index): TypedRange => range(index * 100_000 + (index % 2) * 777, ((index % 3) + 1) * 33_000, types[index % types.length] as FileType));

/** Small, and the same everywhere. */
function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

interface ModelEntry {
  readonly segment: number;
  readonly range: TypedRange;
  readonly type: number;
  readonly transient: boolean;
  accessedMs: number;
  pins: number;
}

/** The rules of the wire page, without a disk: `free` is what may be evicted, in the order of use. */
class Model {
  readonly entries = new Set<ModelEntry>();
  free: ModelEntry[] = [];
  neededBytes = 0;
  minAgeMs = 0;

  constructor(private readonly nowMs: () => number) {}

  usedBytes(transient = false): number {
    return [...this.entries].reduce((sum, entry) => sum + (entry.transient === transient ? entry.range.length : 0), 0);
  }

  bytesByType(): Record<string, number> {
    const bytes: Record<string, number> = {};
    for (const { type, range, transient } of this.entries) if (!transient) bytes[fileTypes[type] as string] = (bytes[fileTypes[type] as string] ?? 0) + range.length;
    return bytes;
  }

  acquire(segment: number, wanted: readonly TypedRange[]): ModelEntry[] {
    const present = wanted.flatMap((range) => [...this.entries].filter((entry) => entry.segment === segment && entry.range === range));
    for (const entry of present) this.#pin(entry);
    const missing = wanted.filter((range) => !present.some((entry) => entry.range === range));
    this.neededBytes += missing.reduce((sum, { length }) => sum + length, 0);
    const loaded = missing.map((range) => {
      const type = fileTypes.indexOf(range.type);
      const kept = this.#makeRoom(type, range.length);
      if (!kept && this.usedBytes(true) + range.length > transientBytesMax) return undefined;
      const entry: ModelEntry = { segment, range, type, transient: !kept, accessedMs: this.nowMs(), pins: 1 };
      this.entries.add(entry);
      return entry;
    });
    const all = [...present, ...loaded.filter((entry) => entry !== undefined)];
    if (!loaded.includes(undefined)) return all;
    this.release(all);
    return [];
  }

  release(entries: readonly ModelEntry[]): void {
    for (const entry of entries) {
      if (--entry.pins > 0) continue;
      if (entry.transient) this.entries.delete(entry);
      else {
        entry.accessedMs = this.nowMs();
        this.free.push(entry);
      }
    }
  }

  evictByType(first: number): number {
    return this.#evict(this.free.filter(({ type }) => type >= first));
  }

  evictBySize(bytes: number, minAgeMs: number, force: boolean): number {
    const fits = (): boolean => this.usedBytes() + bytes <= keptBytesMax;
    let released = 0;
    for (let type = 12; type >= 0; type--) released += this.#evictWhile(() => !fits(), (entry) => entry.type === type && entry.accessedMs <= this.nowMs() - minAgeMs);
    while (force && !fits() && this.free.length > 0) {
      const oldestMs = Math.min(...this.free.map(({ accessedMs }) => accessedMs));
      const oldest = this.free.filter(({ accessedMs }) => accessedMs === oldestMs);
      const type = Math.max(...oldest.map((entry) => entry.type));
      released += this.#evict([oldest.find((entry) => entry.type === type) as ModelEntry]);
    }
    return released;
  }

  #makeRoom(type: number, bytes: number): boolean {
    const fits = (): boolean => this.usedBytes() + bytes <= keptBytesMax;
    for (const victims of [type, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]) {
      this.#evictWhile(() => !fits(), (entry) => entry.type === victims && (victims > type || entry.accessedMs <= this.nowMs() - this.minAgeMs));
    }
    return fits();
  }

  #evictWhile(more: () => boolean, mayGo: (entry: ModelEntry) => boolean): number {
    let released = 0;
    for (let victim = this.free.find(mayGo); more() && victim !== undefined; victim = this.free.find(mayGo)) released += this.#evict([victim]);
    return released;
  }

  #evict(victims: readonly ModelEntry[]): number {
    this.free = this.free.filter((entry) => !victims.includes(entry));
    for (const victim of victims) this.entries.delete(victim);
    return victims.reduce((sum, { range }) => sum + range.length, 0);
  }

  #pin(entry: ModelEntry): void {
    entry.pins++;
    this.free = this.free.filter((free) => free !== entry);
  }
}

async function bytesByType(tested: TestableCache): Promise<Record<string, number>> {
  return Object.fromEntries((await tested.cache.info(tested.clock.nowMs())).map(({ type, total }) => [type, total.bytes]));
}

test.each([1, 2, 3])('thousands of random operations do what the rules say, and every byte read is the right one (seed %i)', async (seed) => {
  const tested = new TestableCache(undefined, { capacityBytes });
  const random = randomOf(seed);
  const model = new Model(() => tested.clock.nowMs());
  const pins: { pin: Pin; entries: ModelEntry[]; segment: number; wanted: TypedRange[] }[] = [];
  const releaseAll = (): void => {
    for (const { pin, entries } of pins.splice(0)) {
      pin.release();
      model.release(entries);
    }
  };
  let neededBefore = 0;
  try {
    for (let step = 0; step < 800; step++) {
      const what = random(100);
      if (what < 60) {
        if (pins.length > 4) releaseAll();
        const index = random(segments.length);
        const first = random(ranges.length);
        const wanted = ranges.slice(first, first + 1 + random(4));
        const pin = await tested.cache.acquire(segments[index] as (typeof segments)[number], wanted);
        pins.push({ pin, entries: model.acquire(index, wanted), segment: index, wanted });
      } else if (what < 75) {
        const [held] = pins.splice(random(pins.length), 1);
        if (held !== undefined) {
          await expectContent(held.pin, segments[held.segment] as (typeof segments)[number], held.wanted);
          held.pin.release();
          model.release(held.entries);
        }
      } else if (what < 80) {
        const type = 9 + random(4);
        expect(await tested.cache.evictByType(fileTypes[type] as FileType)).toBe(model.evictByType(type));
      } else if (what < 87) {
        const request = { reserveBytes: random(1_600_000), minAgeMs: random(3) * 1_000 + 1, force: random(2) === 1 };
        expect(await tested.cache.evictBySize(request)).toBe(model.evictBySize(request.reserveBytes, request.minAgeMs, request.force));
      } else if (what < 96) await tested.clock.advance(random(1_500) + 1);
      else if (what < 98) {
        model.minAgeMs = random(3) * 1_000 + 1;
        tested.limits = { ...tested.limits, minAgeMs: model.minAgeMs };
      } else {
        releaseAll();
        neededBefore += tested.cache.statistics().neededBytes;
        await tested.cache.stop();
        tested.reopen();
        tested.cache.start();
        await tested.cache.settled();
      }
      expect({ step, what, ...(await bytesByType(tested)) }).toEqual({ step, what, ...model.bytesByType() });
      expect(neededBefore + tested.cache.statistics().neededBytes).toBe(model.neededBytes);
      expect(tested.cache.statistics().transientBytes).toBe(model.usedBytes(true));
    }
    releaseAll();
    await tested.cache.evictByType('Unknown');
    await tested.cache.settled();
    expect(tested.cache.statistics()).toMatchObject({ usedBytes: 0, transientBytes: 0, spareBytes: 0, allocatedBytes: 0, mirrors: 0, running: 0, waiting: 0 });
  } finally {
    await tested.remove();
  }
});

test('killed at any moment, it never takes what was not written for what was, and what nobody knows goes from the disk', async () => {
  const tested = new TestableCache(undefined, { capacityBytes });
  const random = randomOf(7);
  try {
    for (let life = 0; life < 20; life++) {
      for (let step = 0; step < 12; step++) {
        const index = random(segments.length);
        const first = random(ranges.length);
        const wanted = ranges.slice(first, first + 1 + random(5));
        await tested.read(segments[index] as (typeof segments)[number], wanted);
        // What is flushed is what a second took; the rest is lost with the process.
        if (random(4) === 0) await tested.clock.advance(1_000);
        if (random(6) === 0) await tested.cache.evictByType(fileTypes[10 + random(3)] as FileType);
      }
      tested.reopen();
    }
    tested.cache.start();
    await tested.cache.settled();
    const { usedBytes, allocatedBytes } = tested.cache.statistics();
    expect(usedBytes).toBeLessThanOrEqual(keptBytesMax);
    // Each of the entries may share two blocks with what is not there; a mirror may have 64 KiB that are not worth looking for.
    expect(allocatedBytes).toBeLessThan(usedBytes + segments.length * (64 * kibibyte + 2 * ranges.length * 4_096));
    for (const each of segments) await tested.read(each, ranges.slice(0, 8));
  } finally {
    await tested.remove();
  }
});

test('readers, cancellations, failures and evictions all at once leave nothing behind', async () => {
  const tested = new TestableCache(undefined, { capacityBytes });
  tested.held = true;
  tested.limits = { ...tested.limits, downloads: 3, downloadsMax: 6 };
  const random = randomOf(11);
  let settled = 0;
  const answered = new Set<number>();
  const reader = async (): Promise<void> => {
    for (let step = 0; step < 40; step++) {
      const abort = new AbortController();
      const each = segments[random(segments.length)] as (typeof segments)[number];
      const first = random(ranges.length);
      const wanted = ranges.slice(first, first + 1 + random(4)).map((one) => range(one.offset + random(3) * 9_000, one.length, one.type));
      if (random(3) === 0) setImmediate(() => abort.abort(new Error('left')));
      try {
        const pin = await tested.cache.acquire(each, wanted, abort.signal);
        await expectContent(pin, each, wanted);
        pin.release();
      } catch (error) {
        expect((error as Error).message).toMatch(/^(left|failed)$/);
      }
    }
    settled++;
  };
  const remoteStore = async (): Promise<void> => {
    while (settled < 8) {
      await new Promise((resolve) => setImmediate(resolve));
      for (const [index, fetch] of tested.fetches.entries()) {
        if (answered.has(index) || random(3) === 0) continue;
        answered.add(index);
        if (random(10) === 0) fetch.fail(new Error('failed'));
        else fetch.answer();
      }
      if (random(20) === 0) await tested.cache.evictBySize({ reserveBytes: random(1_600_000), minAgeMs: 0, force: true });
    }
  };
  try {
    await Promise.all([remoteStore(), ...Array.from({ length: 8 }, reader)]);
    expect(tested.cache.statistics().transientBytes).toBe(0);
    await tested.cache.evictByType('Unknown');
    await tested.cache.settled();
    expect(tested.cache.statistics()).toMatchObject({ usedBytes: 0, spareBytes: 0, allocatedBytes: 0, mirrors: 0, running: 0, waiting: 0 });
  } finally {
    await tested.remove();
  }
});
