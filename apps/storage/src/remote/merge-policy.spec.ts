import { expect, test } from '@jest/globals';
import { emptyManifest } from './manifest-store.js';
import type { Segment } from './manifest.js';
import { type MergeLimits, nextMerge, withMerged } from './merge-policy.js';

const limits: MergeLimits = { freshSegments: 4, growth: 4, mergeBytesMax: 1_000_000 };
const segment = (key: string, level: number, bytes: number): Segment =>
  ({ key, level, bytes, metaOffset: bytes, rows: 1, deleteMarks: 0, minHandle: '', maxHandle: '', minVersion: 1, maxVersion: 1, schemaVersion: 1, columns: [], createdAtMs: 0 });
const fresh = (count: number, bytes = 10): Segment[] => Array.from({ length: count }, (_, index) => segment(`fresh ${index}`, 0, bytes));
const plan = (segments: readonly Segment[], given = limits): unknown => {
  const merge = nextMerge(segments, given);
  return merge && [merge.inputs.map(({ key }) => key).join(), merge.level, merge.dropsMarks];
};

test('nothing is merged before four segments have come, then all of them with level 1', () => {
  expect(plan(fresh(3))).toBeUndefined();
  expect(plan(fresh(4))).toEqual(['fresh 0,fresh 1,fresh 2,fresh 3', 1, true]);
  expect(plan([segment('deep', 2, 5_000), segment('one', 1, 40), ...fresh(4)])).toEqual(['one,fresh 0,fresh 1,fresh 2,fresh 3', 1, false]);
});

test('a level that would have more than four times the one before goes into the next with the same merge', () => {
  const four = 'fresh 0,fresh 1,fresh 2,fresh 3';
  expect(plan([segment('two', 2, 100), segment('one', 1, 121), ...fresh(4)])).toEqual([`two,one,${four}`, 2, true]);
  expect(plan([segment('three', 3, 9_999), segment('two', 2, 480), segment('one', 1, 121), ...fresh(4)])).toEqual([`three,two,one,${four}`, 4, true]);
  expect(plan([segment('three', 3, 999), segment('two a', 2, 100), segment('two b', 2, 100), segment('one', 1, 121), ...fresh(4)])).toEqual([`two a,two b,one,${four}`, 2, false]);
});

test('what is more than one merge may have on the disk is left where it is', () => {
  const small = { ...limits, mergeBytesMax: 200 };
  expect(plan([segment('two', 2, 100), segment('one', 1, 150), ...fresh(4)], small)).toEqual(['one,fresh 0,fresh 1,fresh 2,fresh 3', 1, false]);
  expect(plan([segment('one', 1, 500), ...fresh(4)], small)).toBeUndefined();
});

test('outputs take the place of their inputs, before what came meanwhile; and not when an input is gone', () => {
  const inputs = fresh(2);
  const output = [segment('out', 1, 20)];
  const manifest = { ...emptyManifest(1, 256), segments: [segment('old', 2, 1), ...inputs, segment('new', 0, 1)] };
  expect(withMerged(manifest, inputs, output)?.segments.map(({ key }) => key)).toEqual(['old', 'out', 'new']);
  expect(withMerged({ ...manifest, segments: manifest.segments.slice(2) }, inputs, output)).toBeUndefined();
});

test('of a thousand uploads that overwrite half of it, a row is written some six times, and a reader meets ten segments at most', () => {
  let segments: (Segment & { handles: ReadonlySet<number> })[] = [];
  let [handleCount, uploaded, written, most] = [0, 0, 0, 0];
  for (let upload = 0; upload < 1_000; upload++) {
    const handles = new Set<number>();
    // Half of them again, spread evenly.
    for (let row = 0; row < 100; row++) handles.add(row % 2 === 0 ? handleCount++ : Math.floor(((row * 7919 + upload * 104_729) % 1_000) / 1_000 * handleCount));
    segments.push({ ...segment(`upload ${upload}`, 0, handles.size), handles });
    uploaded += handles.size;
    const merge = nextMerge(segments, limits);
    if (merge !== undefined) {
      const inputs = segments.filter((each) => merge.inputs.includes(each));
      const merged = new Set(inputs.flatMap((each) => [...each.handles]));
      const output = { ...segment(`merge ${upload}`, merge.level, merged.size), handles: merged };
      written += merged.size;
      segments = segments.toSpliced(segments.indexOf(inputs[0] as (typeof segments)[number]), inputs.length, output);
    }
    most = Math.max(most, segments.length);
  }
  expect((uploaded + written) / uploaded).toBeLessThan(7);
  expect(most).toBeLessThanOrEqual(10);
});
