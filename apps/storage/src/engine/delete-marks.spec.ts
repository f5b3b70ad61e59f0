import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { waitUntil } from '@binnacle/testing/wait-until';
import { openRows, type TestableRows } from '../../test/testable-rows.js';

let folder: string;
const opened: TestableRows[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'binnacle-marks-'));
});

afterEach(async () => {
  for (const { store } of opened.splice(0)) await store.stop();
  rmSync(folder, { recursive: true });
});

const open: typeof openRows = async (...given) => {
  const rows = await openRows(...given);
  opened.push(rows);
  return rows;
};

const fsync = { durability: 'fsync' } as const;
const names = (count: number, from = 0): string[] => Array.from({ length: count }, (_, index) => `row-${String(from + index).padStart(6, '0')}`);
const put = async ({ store }: TestableRows, handles: readonly string[], document = 'x'.repeat(100)): Promise<void> => {
  for (let start = 0; start < handles.length; start += 1_000) {
    await store.write(1, handles.slice(start, start + 1_000).map((handle) => ({ handle: Buffer.from(handle), put: Buffer.from(document) })), fsync);
  }
};
const remove = async ({ store }: TestableRows, handles: readonly string[]): Promise<void> => {
  for (let start = 0; start < handles.length; start += 1_000) {
    await store.write(1, handles.slice(start, start + 1_000).map((handle) => ({ handle: Buffer.from(handle), decide: () => 'delete' as const })), fsync);
  }
};
/** What a compaction leaves of the engine when it may remove what nobody needs. */
const compactedBytes = async ({ store }: TestableRows): Promise<number> => {
  await store.compact(AbortSignal.timeout(20_000));
  return store.sizeBytes();
};

test('when everything is deleted a compaction leaves next to nothing, and versions go on above the marks that went', async () => {
  const rows = await open(folder);
  await put(rows, names(20_000));
  const full = await compactedBytes(rows);
  await remove(rows, names(20_000));
  expect(full).toBeGreaterThan(2_000_000);
  expect(await compactedBytes(rows)).toBeLessThan(3_000);
  await put(rows, ['row-000007']);
  expect([await rows.store.get(1, Buffer.from('row-000007')), rows.store.count(1)]).toMatchObject([{ version: 40_001 }, 1]);
});

test('marks stay from the version on that somebody needs, over a restart too', async () => {
  const rows = await open(folder);
  let uploaded = 0;
  rows.store.keepMarks(() => uploaded + 1);
  rows.store.keepMarks(() => rows.store.appliedVersion() + 10);
  await put(rows, names(20_000));
  await remove(rows, names(20_000));
  expect([rows.store.marksNeededFrom(), await compactedBytes(rows)]).toEqual([1, expect.any(Number)]);
  const kept = await rows.store.sizeBytes();
  expect(kept).toBeGreaterThan(200_000);
  uploaded = 30_000;
  const half = await compactedBytes(rows);
  expect(half / kept).toBeGreaterThan(0.4);
  expect(half / kept).toBeLessThan(0.6);
  await rows.store.stop();
  const again = await open(folder);
  expect(again.store.marksNeededFrom()).toBe(40_001);
  expect(await compactedBytes(again)).toBeLessThan(3_000);
});

test('rows that come back while marks are removed stay, and so do marks of newer deletes', async () => {
  const rows = await open(folder);
  const all = names(4_000);
  await put(rows, all);
  await remove(rows, all);
  const evenBack = (async () => {
    for (let index = 0; index < all.length; index += 2) void rows.store.write(1, [{ handle: Buffer.from(all[index] as string), put: Buffer.from('back') }], fsync);
    await put(rows, ['last']);
  })();
  await Promise.all([evenBack, rows.store.compact(AbortSignal.timeout(20_000))]);
  await rows.store.compact(AbortSignal.timeout(20_000));
  const seen: string[] = [];
  for await (const { handle } of rows.store.scan(1)) seen.push(handle.toString());
  expect([seen, rows.store.count(1)]).toEqual([['last', ...all.filter((_, index) => index % 2 === 0)], 2_001]);
});

test('after the engine folder is lost a replay brings marks back, and no rows', async () => {
  const rows = await open(folder);
  await put(rows, names(10));
  await remove(rows, names(9));
  await rows.store.compact(AbortSignal.timeout(20_000));
  await rows.store.stop();
  rmSync(join(folder, 'storage/engine'), { recursive: true });
  const again = await open(folder);
  expect([again.store.count(1), again.store.appliedVersion()]).toEqual([1, 19]);
  await again.store.compact(AbortSignal.timeout(20_000));
  expect(await again.store.get(1, Buffer.from('row-000009'))).toMatchObject({ version: 10 });
});

test('in the background marks go once there are many, some at a time', async () => {
  const clock = new FakeClock();
  const rows = await open(folder, undefined, clock);
  await put(rows, names(25_000));
  await clock.advance(10_000);
  await waitUntil(() => clock.timerCount() === 1);
  await remove(rows, names(25_000));
  const removed = async (): Promise<number> => Number(/delete_marks_removed_total (\d+)/.exec(await rows.metrics.metrics())?.[1]);
  expect(await removed()).toBe(0);
  for (const [waitMs, expected] of [[10_000, 10_000], [1_000, 20_000]] as const) {
    await clock.advance(waitMs);
    await waitUntil(async () => (await removed()) === expected);
    await waitUntil(() => clock.timerCount() === 1);
  }
  // Too few to matter.
  await clock.advance(30_000);
  expect(await removed()).toBe(20_000);
});
