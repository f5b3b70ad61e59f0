import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Spool, type SpoolPart } from './spool.js';

let folder = '';
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'binnacle-spool-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const part = (text: string, lane = 'tables', name = 'metrics'): SpoolPart => ({ lane, name, content: Buffer.from(text) });
const away = async (): Promise<never> => {
  throw new Error('away');
};

async function drained(spool: Spool, lane = 'tables'): Promise<string[]> {
  const sent: string[] = [];
  while (await spool.sendOldest(lane, async ({ name, content }) => void sent.push(`${name} ${content.toString()}`)));
  return sent;
}

test('what is in a lane is sent in order, part by part, and is gone then', async () => {
  const spool = new Spool(folder, 1_000);
  await spool.add([part('a'), part('b', 'tables', 'events')], 1);
  await spool.add([part('c')], 2);
  expect([spool.batchCount(), spool.bytes()]).toEqual([2, 3]);
  expect(await drained(spool)).toEqual(['metrics a', 'events b', 'metrics c']);
  expect([spool.batchCount(), spool.bytes(), spool.lanes(), readdirSync(folder)]).toEqual([0, 0, [], []]);
});

test('a lane that cannot be emptied holds up no other, and a batch goes with its last part', async () => {
  const spool = new Spool(folder, 1_000);
  await spool.add([part('a'), part('bb', 'peer-ingest-1', 'raw.1'), part('c')], 1);
  await spool.add([part('d')], 2);
  await expect(spool.sendOldest('peer-ingest-1', away)).rejects.toThrow('away');
  expect(await drained(spool)).toEqual(['metrics a', 'metrics c', 'metrics d']);
  expect([spool.lanes(), spool.batchCount(), spool.bytes(), spool.bytes('peer-ingest-1'), spool.bytes('tables')]).toEqual([['peer-ingest-1'], 1, 2, 2, 0]);
  const next = new Spool(folder, 1_000);
  expect([next.lanes(), await drained(next, 'peer-ingest-1'), readdirSync(folder)]).toEqual([['peer-ingest-1'], ['raw.1 bb'], []]);
});

test('two lanes may be sent at the same time', async () => {
  const spool = new Spool(folder, 1_000);
  await spool.add([part('a'), part('b', 'forward')], 1);
  expect(await Promise.all([drained(spool), drained(spool, 'forward')])).toEqual([['metrics a'], ['metrics b']]);
  expect(readdirSync(folder)).toEqual([]);
});

test('what could not be sent is sent later, also by the next process, and what was sent is not', async () => {
  const spool = new Spool(folder, 1_000);
  await spool.add([part('a'), part('b')], 7);
  expect(await spool.sendOldest('tables', async () => {})).toBe(true);
  await expect(spool.sendOldest('tables', away)).rejects.toThrow('away');
  const next = new Spool(folder, 1_000);
  expect([next.coveredSegment(), next.bytes()]).toEqual([7, 1]);
  await next.add([part('c')], 9);
  expect(await drained(next)).toEqual(['metrics b', 'metrics c']);
});

test('nothing of a batch is sent before what it has is let go elsewhere', async () => {
  const spool = new Spool(folder, 1_000);
  let letGo = (): void => {};
  let isKept = (): void => {};
  const kept = new Promise<void>((resolve) => (isKept = resolve));
  const adding = spool.add([part('a')], 1, () => {
    isKept();
    return new Promise((resolve) => (letGo = resolve));
  });
  await kept;
  expect([readdirSync(folder), await drained(spool)]).toEqual([['000000000001-000000000001'], []]);
  letGo();
  await adding;
  await expect(spool.add([part('b')], 2, away)).rejects.toThrow('away');
  expect(await drained(spool)).toEqual(['metrics a', 'metrics b']);
});

test('half a batch is as if it had never been, and an empty one has nothing to send', async () => {
  mkdirSync(join(folder, '000000000002-000000000005.half'));
  writeFileSync(join(folder, '000000000002-000000000005.half', '00000,tables,metrics'), 'x');
  mkdirSync(join(folder, '000000000001-000000000004'));
  const spool = new Spool(folder, 1_000);
  expect([spool.coveredSegment(), spool.batchCount(), readdirSync(folder)]).toEqual([4, 0, []]);
});

test('without room the oldest parts go, but neither those of the newest batch nor what is being sent', async () => {
  const spool = new Spool(folder, 10);
  await spool.add([part('a'.repeat(6)), part('x'.repeat(4), 'forward')], 1);
  let arrived = (): void => {};
  const sending = spool.sendOldest('tables', () => new Promise((resolve) => (arrived = resolve)));
  await spool.add([part('b'.repeat(6))], 2);
  await spool.add([part('c'.repeat(60))], 3);
  expect([spool.batchCount(), ...spool.lostBytes]).toEqual([2, ['forward', 4], ['tables', 6]]);
  arrived();
  await sending;
  expect(await drained(spool)).toEqual([`metrics ${'c'.repeat(60)}`]);
});

test('a batch that cannot be written leaves nothing behind', async () => {
  const spool = new Spool(folder, 1_000);
  rmSync(folder, { recursive: true });
  await expect(spool.add([part('a')], 1)).rejects.toMatchObject({ code: 'ENOENT' });
  mkdirSync(folder);
  await expect(spool.add([part('a'), part('b', 'no/lane')], 1)).rejects.toThrow('cannot be called');
  expect([readdirSync(folder), spool.batchCount()]).toEqual([[], 0]);
  await spool.add([part('a')], 1);
  expect(await drained(spool)).toEqual(['metrics a']);
});

test('a sync that fails once leaves nothing behind, and is in the way of no later try', async () => {
  const spool = new Spool(folder, 1_000);
  const probe = await open(join(folder, 'probe'), 'w');
  const prototype = Object.getPrototypeOf(probe) as { sync: () => Promise<void> };
  await probe.close();
  rmSync(join(folder, 'probe'));
  const { sync } = prototype;
  let calls = 0;
  prototype.sync = async function (this: unknown) {
    calls += 1;
    // The first one is of the batch, the second one of the spool, in which it has appeared by then.
    if (calls === 2) throw Object.assign(new Error('i/o error'), { code: 'EIO' });
    await sync.call(this);
  };
  try {
    await expect(spool.add([part('row')], 1)).rejects.toMatchObject({ code: 'EIO' });
  } finally {
    prototype.sync = sync;
  }
  expect([readdirSync(folder), new Spool(folder, 1_000).coveredSegment()]).toEqual([[], 0]);
  await spool.add([part('row')], 1);
  const next = new Spool(folder, 1_000);
  expect([next.batchCount(), next.coveredSegment()]).toEqual([1, 1]);
});
