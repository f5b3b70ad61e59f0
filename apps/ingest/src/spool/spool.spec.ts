import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Spool, type SpoolPart } from './spool.js';

let folder = '';
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'binnacle-spool-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const part = (text: string, table = 'metrics'): SpoolPart => ({ table, lines: Buffer.from(text) });

async function drained(spool: Spool): Promise<string[]> {
  const sent: string[] = [];
  while (await spool.sendOldest(async ({ table, lines }) => void sent.push(`${table} ${lines.toString()}`)));
  return sent;
}

test('batches are sent in order, part by part, and are gone then', async () => {
  const spool = new Spool(folder, 1_000);
  await spool.add([part('a'), part('b', 'events')], 1);
  await spool.add([part('c')], 2);
  expect([spool.batchCount(), spool.bytes()]).toEqual([2, 3]);
  expect(await drained(spool)).toEqual(['metrics a', 'events b', 'metrics c']);
  expect([spool.batchCount(), spool.bytes(), readdirSync(folder)]).toEqual([0, 0, []]);
});

test('what could not be sent is sent later, also by the next process, and what was sent is not', async () => {
  const spool = new Spool(folder, 1_000);
  await spool.add([part('a'), part('b')], 7);
  await expect(
    spool.sendOldest(async ({ lines }) => {
      if (lines.toString() === 'b') throw new Error('away');
    }),
  ).rejects.toThrow('away');
  const next = new Spool(folder, 1_000);
  expect([next.coveredSegment(), next.bytes()]).toEqual([7, 1]);
  await next.add([part('c')], 9);
  expect(await drained(next)).toEqual(['metrics b', 'metrics c']);
});

test('half a batch is as if it had never been', async () => {
  mkdirSync(join(folder, '000000000001-000000000005.half'));
  writeFileSync(join(folder, '000000000001-000000000005.half', '00000-metrics'), 'x');
  const spool = new Spool(folder, 1_000);
  expect([spool.coveredSegment(), spool.batchCount(), readdirSync(folder)]).toEqual([0, 0, []]);
});

test('without room the oldest batches go, but neither the newest one nor the one that is being sent', async () => {
  const spool = new Spool(folder, 10);
  await spool.add([part('a'.repeat(6))], 1);
  let arrived = (): void => {};
  const sending = spool.sendOldest(() => new Promise((resolve) => (arrived = resolve)));
  await spool.add([part('b'.repeat(6))], 2);
  await spool.add([part('c'.repeat(60))], 3);
  expect([spool.batchCount(), spool.lostBytes]).toEqual([2, 6]);
  arrived();
  await sending;
  expect(await drained(spool)).toEqual([`metrics ${'c'.repeat(60)}`]);
});

test('a batch that cannot be written leaves nothing behind', async () => {
  const spool = new Spool(folder, 1_000);
  rmSync(folder, { recursive: true });
  await expect(spool.add([part('a')], 1)).rejects.toMatchObject({ code: 'ENOENT' });
  mkdirSync(folder);
  await expect(spool.add([part('a', 'no/table')], 1)).rejects.toMatchObject({ code: 'ENOENT' });
  expect([readdirSync(folder), spool.batchCount()]).toEqual([[], 0]);
  await spool.add([part('a')], 1);
  expect(await drained(spool)).toEqual(['metrics a']);
});
