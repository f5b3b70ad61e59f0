import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CommitLog } from './commit-log.js';
import { LogTail, readLog } from './log-reader.js';

let folder: string;
let log: CommitLog;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'binnacle-log-'));
  log = await CommitLog.open(folder, { segmentBytesMax: 300 });
});

afterEach(async () => {
  await log.close();
  rmSync(folder, { recursive: true });
});

/** One batch with a document for each name. */
const append = (...names: string[]): Promise<void> =>
  log.append(
    names.map((name) => ({ tableId: 1, handle: Buffer.from(name), document: Buffer.from('x'.repeat(100)) })),
    'fsync',
  ).durable;

async function versions(batches: AsyncIterable<{ firstVersion: number; operations: readonly { handle: Buffer }[] }>): Promise<string[]> {
  const seen: string[] = [];
  for await (const { firstVersion, operations } of batches) operations.forEach(({ handle }, index) => seen.push(`${firstVersion + index}${handle}`));
  return seen;
}

test('reads a range across segments, and a batch that begins before it without its head', async () => {
  await append('a', 'b', 'c');
  await append('d');
  await append('e', 'f');
  expect(readdirSync(folder).length).toBeGreaterThan(1);
  expect(await versions(readLog(folder, 2, 4))).toEqual(['2b', '3c', '4d']);
  expect(await versions(readLog(folder, 1, 6))).toEqual(['1a', '2b', '3c', '4d', '5e', '6f']);
  expect(await versions(readLog(folder, 7, 6))).toEqual([]);
});

test('follows a log that is written to, and reads nothing twice', async () => {
  const tail = new LogTail(folder, 1);
  const seen: string[] = [];
  for (let round = 0; round < 20; round++) {
    await append(`${'abcdefghijklmnopqrst'[round]}`);
    seen.push(...(await versions(tail.read(log.durableVersion()))));
  }
  expect(seen).toHaveLength(20);
  expect([seen[0], seen.at(-1), tail.position()]).toEqual(['1a', '20t', 20]);
  expect(await versions(tail.read(log.durableVersion()))).toEqual([]);
  await tail.close();
});

test('says so when what it needs is no longer there', async () => {
  for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) await append(name);
  const tail = new LogTail(folder, 1);
  await log.trim(5);
  await expect(versions(tail.read(6))).rejects.toMatchObject({ name: 'LogTrimmedError' });
  expect(await versions(readLog(folder, 6, 6))).toEqual(['6f']);
});

test('names the file and the place of damage', async () => {
  await append('a');
  const file = join(folder, readdirSync(folder)[0] as string);
  const bytes = readFileSync(file);
  bytes[60] = (bytes[60] as number) ^ 4;
  writeFileSync(file, bytes);
  await expect(versions(readLog(folder, 1, 1))).rejects.toThrow(`${file} is damaged at byte 28`);
});
