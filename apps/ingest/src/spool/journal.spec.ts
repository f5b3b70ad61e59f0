import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { canMount, SmallDisk } from '@binnacle/testing/small-disk';
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Journal } from './journal.js';
import type { JournalRecord } from './journal-record.js';

let folder = '';
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'binnacle-journal-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const limits = { pendingBytesMax: 10_000, bytesMax: 100_000, segmentBytesMax: 100_000 };
const record = (text: string): JournalRecord => ({ kind: 'raw', encoding: 'deflate', idempotencyKey: `key of ${text}`, body: Buffer.from(text) });
const files = (): string[] => readdirSync(folder).sort();

async function opened(covered = 0): Promise<{ journal: Journal; replayed: JournalRecord[] }> {
  const replayed: JournalRecord[] = [];
  const journal = await Journal.open(folder, limits, covered, async (each) => void replayed.push({ ...each, body: Buffer.from(each.body) }));
  return { journal, replayed };
}

test('what is not released is replayed as it was, in order', async () => {
  const { journal } = await opened();
  const texts = Array.from({ length: 100 }, (_, at) => `body ${at}`);
  await Promise.all(texts.map((text) => journal.append(record(text), () => {})));
  await journal.close();
  const { journal: next, replayed } = await opened();
  expect(replayed).toEqual(texts.map(record));
  await next.close();
});

test('a record counts when it is on the disk, before what comes behind it, and on its side of a boundary', async () => {
  const { journal } = await opened();
  const counted: string[] = [];
  const onDisk = (): boolean => files().some((name) => readFileSync(join(folder, name)).includes('first'));
  const first = journal.append(record('first'), () => counted.push(`first ${onDisk()}`));
  const end = journal.endSegment(() => counted.push('boundary'));
  const second = journal.append(record('second'), () => counted.push('second'));
  expect(counted).toEqual([]);
  await Promise.all([first, end, second]);
  expect(counted).toEqual(['first true', 'boundary', 'second']);
  await journal.close();
});

test('released segments go, later ones stay, and numbers are not used twice', async () => {
  const { journal } = await opened();
  await journal.append(record('one'), () => {});
  const { segment } = await journal.endSegment(() => {});
  await journal.append(record('two'), () => {});
  expect(files()).toHaveLength(2);
  await journal.release(segment);
  expect(files()).toHaveLength(1);
  await journal.close();
  const { journal: next, replayed } = await opened();
  expect(replayed).toEqual([record('two')]);
  const { segment: last } = await next.endSegment(() => {});
  expect(last).toBe(segment + 2);
  await next.release(last);
  expect([files(), next.bytes()]).toEqual([[], 0]);
  await next.close();
});

test('what the spool has already is not replayed', async () => {
  const { journal } = await opened();
  await journal.append(record('one'), () => {});
  const { segment } = await journal.endSegment(() => {});
  await journal.append(record('two'), () => {});
  await journal.close();
  const { journal: next, replayed } = await opened(segment);
  expect(replayed).toEqual([record('two')]);
  await next.close();
});

test('a segment that was cut off, or damaged, is replayed up to there', async () => {
  const { journal } = await opened();
  for (const text of ['one', 'two', 'three']) await journal.append(record(text), () => {});
  await journal.close();
  const path = join(folder, files()[0] as string);
  const whole = readFileSync(path);
  truncateSync(path, whole.length - 1);
  expect((await opened()).replayed).toEqual([record('one'), record('two')]);
  const damaged = Buffer.from(whole);
  damaged[damaged.lastIndexOf('two')]! ^= 1;
  writeFileSync(path, damaged);
  expect((await opened()).replayed).toEqual([record('one')]);
  writeFileSync(path, whole);
  appendFileSync(path, Buffer.alloc(40));
  expect((await opened()).replayed).toHaveLength(3);
});

test('more than may be on its way or on the disk is refused and not counted', async () => {
  const { journal } = await opened();
  const large = (bytes: number): Promise<void> => journal.append({ ...record(''), body: Buffer.alloc(bytes) }, () => {});
  await expect(large(10_001)).rejects.toMatchObject({ code: 'OVERLOADED' });
  await Promise.all([large(5_000), expect(large(5_000)).rejects.toMatchObject({ code: 'OVERLOADED' })]);
  for (let at = 0; at < 10; at++) await large(9_000);
  await expect(large(9_000)).rejects.toMatchObject({ code: 'OUT_OF_DISK' });
  await journal.release((await journal.endSegment(() => {})).segment);
  await large(9_000);
  await journal.close();
});

test('a record that cannot be written is refused and not counted', async () => {
  const { journal } = await opened();
  rmSync(folder, { recursive: true });
  let counted = 0;
  await expect(journal.append(record('lost'), () => (counted += 1))).rejects.toMatchObject({ code: 'ENOENT' });
  expect(counted).toBe(0);
  await journal.close();
});

test('what was refused, because nobody knows whether it is on the disk, does not count at the next start', async () => {
  const { journal } = await opened();
  await journal.append(record('one'), () => {});
  const probe = await open(join(folder, 'probe'), 'w');
  const prototype = Object.getPrototypeOf(probe) as { datasync: () => Promise<void> };
  await probe.close();
  const { datasync } = prototype;
  let calls = 0;
  prototype.datasync = async function (this: unknown) {
    calls += 1;
    if (calls === 1) throw Object.assign(new Error('i/o error'), { code: 'EIO' });
    await datasync.call(this);
  };
  try {
    await expect(journal.append(record('two'), () => {})).rejects.toMatchObject({ code: 'EIO' });
  } finally {
    prototype.datasync = datasync;
  }
  await journal.append(record('three'), () => {});
  await journal.close();
  const { journal: next, replayed } = await opened();
  expect(replayed).toEqual([record('one'), record('three')]);
  await next.close();
});

(canMount ? test : test.skip)('a full disk is told, what did not fit is not counted, and it goes on when there is room', async () => {
  const disk = new SmallDisk(join(folder, 'small'), 64);
  const noLimits = { pendingBytesMax: 1_000_000, bytesMax: 1_000_000, segmentBytesMax: Number.MAX_SAFE_INTEGER };
  const journal = await Journal.open(disk.folder, noLimits, 0, async () => {});
  const counted: number[] = [];
  const append = (number: number): Promise<void> => journal.append({ ...record(''), body: Buffer.alloc(30_000, number) }, () => counted.push(number));
  await append(1);
  await append(2);
  await expect(append(3)).rejects.toMatchObject({ code: 'OUT_OF_DISK' });
  disk.enlarge(1_024);
  await append(4);
  await journal.close();
  const replayed: number[] = [];
  const next = await Journal.open(disk.folder, noLimits, 0, async ({ body }) => void replayed.push(body[0] as number));
  expect([counted, replayed]).toEqual([[1, 2, 4], [1, 2, 4]]);
  await next.close();
  disk.unmount();
});

test('a segment that grows long is followed by others, which are replayed in order and released together', async () => {
  Object.assign(limits, { segmentBytesMax: 1_000 });
  try {
    const { journal } = await opened();
    const texts = Array.from({ length: 10 }, (_, at) => `${at}`.repeat(200));
    for (const text of texts) await journal.append(record(text), () => {});
    expect(files()).toHaveLength(5);
    for (const name of files()) expect(readFileSync(join(folder, name)).length).toBeLessThanOrEqual(1_000);
    await journal.close();
    const { journal: next, replayed } = await opened();
    expect(replayed).toEqual(texts.map(record));
    const { segment } = await next.endSegment(() => {});
    await next.release(segment);
    expect(files()).toEqual([]);
    await next.close();
  } finally {
    Object.assign(limits, { segmentBytesMax: 100_000 });
  }
});
