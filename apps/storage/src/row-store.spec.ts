import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { exited, guardProcess } from '@binnacle/testing/guarded-process';
import { waitUntil } from '@binnacle/testing/wait-until';
import { openRows, type TestableRows } from '../test/testable-rows.js';
import { readLog } from './log/log-reader.js';

let folder: string;
const opened: TestableRows[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'binnacle-rows-'));
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

const put = (name: string, document = 'document') => ({ handle: Buffer.from(name), put: Buffer.from(document) });
const write = ({ store }: TestableRows, ...names: string[]) => store.write(1, names.map((name) => put(name)), { durability: 'fsync' });
const recovered = ({ lines }: TestableRows) => lines.find(({ msg }) => msg === 'rows recovered');

async function handles({ store }: TestableRows): Promise<string[]> {
  const seen: string[] = [];
  for await (const { handle } of store.scan(1)) seen.push(handle.toString());
  return seen;
}

describe('starting', () => {
  test('after a clean stop replays nothing, and versions go on', async () => {
    const first = await open(folder);
    await write(first, 'a', 'b');
    await first.store.stop();
    const second = await open(folder);
    expect(recovered(second)).toMatchObject({ version: 2, replayedOperations: 0, tornBytes: 0 });
    expect(await write(second, 'c')).toEqual([{ version: 3, document: Buffer.from('document') }]);
    expect(await handles(second)).toEqual(['a', 'b', 'c']);
  });

  test('without the engine folder it is made again from the log', async () => {
    const first = await open(folder);
    await write(first, 'a', 'b');
    await first.store.write(1, [{ handle: Buffer.from('a'), decide: () => 'delete' }], { durability: 'fsync' });
    await first.store.stop();
    rmSync(join(folder, 'storage/engine'), { recursive: true });
    const second = await open(folder);
    expect([recovered(second), await handles(second), second.store.count(1)]).toEqual([expect.objectContaining({ version: 3, replayedOperations: 3 }), ['b'], 1]);
  });

  test('is refused when the log no longer reaches back to where the rows end', async () => {
    const first = await open(folder, (config) => (config.storage.logMegabytesMax = 1));
    for (let round = 0; round < 20; round++) await first.store.write(1, [put('a', 'x'.repeat(200_000))], { durability: 'fsync' });
    await waitUntil(() => !readdirSync(first.store.logFolder()).some((name) => Number(name.slice(0, 20)) === 1));
    await first.store.stop();
    rmSync(join(folder, 'storage/engine'), { recursive: true });
    await expect(open(folder)).rejects.toThrow(/the rows end before version 1.*binnacle restore/);
  });

  test('is refused on a damaged log, by the name of the file, and works again with the file put back', async () => {
    const first = await open(folder);
    await write(first, 'a', 'b');
    await first.store.stop();
    const file = join(first.store.logFolder(), readdirSync(first.store.logFolder())[0] as string);
    const good = readFileSync(file);
    const bad = Buffer.from(good);
    bad[70] = (bad[70] as number) ^ 1;
    writeFileSync(file, bad);
    await expect(open(folder)).rejects.toThrow(`${file} is damaged at byte 28`);
    writeFileSync(file, good);
    expect(await handles(await open(folder))).toEqual(['a', 'b']);
  });

  test('is refused while another process has the folder', async () => {
    const script = fileURLToPath(new URL('../test/fixtures/crash-writer.mjs', import.meta.url));
    const child = spawn(process.execPath, ['--conditions=@binnacle/source', script, folder, '1'], { stdio: ['ignore', 'pipe', 'inherit'] });
    const release = guardProcess(child.pid as number, join(folder, 'none'));
    try {
      await once(child.stdout, 'data');
      child.stdout.resume();
      await expect(open(folder)).rejects.toThrow(/storage\/engine is open in another process/);
    } finally {
      child.kill('SIGKILL');
      await exited(child);
      release();
    }
    await open(folder);
  });

  test('is needed before anything is read or written', async () => {
    const rows = await open(folder);
    await rows.store.stop();
    await expect(write(rows, 'a')).rejects.toMatchObject({ code: 'NOT_READY' });
    await expect(rows.store.get(1, Buffer.from('a'))).rejects.toMatchObject({ code: 'NOT_READY' });
  });
});

describe('running', () => {
  test.each(['OUT_OF_DISK', 'OUT_OF_MEMORY'] as const)('writes are refused at %s and taken again after it; reads go on', async (shortage) => {
    const rows = await open(folder);
    await write(rows, 'a');
    rows.shortage = shortage;
    await expect(write(rows, 'b')).rejects.toMatchObject({ code: shortage, message: `Rejecting write: running out of resource type: ${shortage}` });
    expect(await handles(rows)).toEqual(['a']);
    rows.shortage = undefined;
    await write(rows, 'b');
    expect(await handles(rows)).toEqual(['a', 'b']);
  });

  test('the log is cut back over its limit, not before its reader, and before it when it lags too far', async () => {
    const rows = await open(folder, (config) => (config.storage.logMegabytesMax = 1));
    let position = 0;
    rows.store.keepLogFor({ position: () => position });
    const fill = async (megabytes: number): Promise<void> => {
      for (let round = 0; round < megabytes * 10; round++) await rows.store.write(1, [put('a', 'x'.repeat(100_000))], { durability: 'fsync' });
    };
    const oldest = (): number => Math.min(...readdirSync(rows.store.logFolder()).map((name) => Number(name.slice(0, 20))));
    await fill(2);
    expect(oldest()).toBe(1);
    position = rows.store.durableVersion();
    await fill(1);
    await waitUntil(() => oldest() > 1);
    expect(oldest()).toBeLessThanOrEqual(position + 1);
    await fill(6);
    await waitUntil(() => oldest() > position + 1);
    await expect(readLog(rows.store.logFolder(), position + 1, rows.store.durableVersion()).next()).rejects.toMatchObject({ name: 'LogTrimmedError' });
  });

  test('writes wait while somebody who follows them lags too far, in the order in which they came', async () => {
    const clock = new FakeClock();
    const rows = await open(folder, undefined, clock);
    let ms = 100_000;
    rows.store.paceWritesFor({ lag: () => ({ ms, msPerVersion: 1 }) });
    const done: string[] = [];
    const both = ['a', 'b'].map((name) => write(rows, ...Array.from({ length: 100 }, (_, index) => `${name}${index}`)).then(() => done.push(name)));
    await clock.advance(999);
    expect([rows.store.durableVersion(), done]).toEqual([0, []]);
    await clock.advance(1);
    await waitUntil(() => done.length === 1);
    ms = 0;
    await clock.advance(1_000);
    await Promise.all(both);
    expect([done, rows.store.count(1)]).toEqual([['a', 'b'], 200]);
    const text = await rows.metrics.metrics();
    expect(Number(/writes_slowed_seconds_total ([\d.]+)/.exec(text)?.[1])).toBe(2);
  });

  test('a checkpoint is a folder that a node starts from, with everything acknowledged before it', async () => {
    const rows = await open(folder);
    await write(rows, 'a', 'b');
    const version = await rows.store.checkpoint(join(folder, 'snapshot/storage'));
    await write(rows, 'c');
    expect(version).toBe(2);
    const restored = await open(join(folder, 'snapshot'));
    expect([await handles(restored), restored.store.count(1)]).toEqual([['a', 'b'], 2]);
    expect((await write(restored, 'd'))[0]).toMatchObject({ version: 3 });
    expect(await handles(rows)).toEqual(['a', 'b', 'c']);
  });

  test('tells on /metrics what it does', async () => {
    const rows = await open(folder);
    await write(rows, 'a', 'b', 'c');
    await rows.store.write(1, [put('d')], { durability: 'none' });
    await waitUntil(() => rows.store.durableVersion() === 4);
    const text = await rows.metrics.metrics();
    for (const line of ['operations_total 4', 'operations_not_awaited_total 1', 'log_batches_total 2', 'durable_version 4', 'applied_version 4', 'pending_bytes 0', 'write_batch_changes_sum 4', 'write_duration_seconds_count 2']) {
      expect(text).toContain(`binnacle_storage_${line}`);
    }
  });

  test('who waits for durable versions hears of them', async () => {
    const rows = await open(folder);
    const heard: number[] = [];
    const end = rows.store.onDurable((version) => heard.push(version));
    await write(rows, 'a');
    end();
    await write(rows, 'b');
    expect(heard).toEqual([1]);
  });
});
