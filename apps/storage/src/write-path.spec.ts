import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BinnacleError } from '@binnacle/contracts/errors';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { waitUntil } from '@binnacle/testing/wait-until';
import type { Engine } from './engine/engine.js';
import type { Row } from './engine/row.js';
import type { CommitLog } from './log/commit-log.js';
import { LogSegment } from './log/log-segment.js';
import { openRows } from './row-recovery.js';
import { WritePace } from './write-pace.js';
import { type RowChange, WritePath } from './write-path.js';

let folder: string;
let engine: Engine;
let log: CommitLog;
let writes: WritePath;
const clock = new FakeClock();
const failures: Error[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'binnacle-writes-'));
  ({ engine, log } = await openRows(folder, { segmentBytesMax: 2 ** 20, onTakenBack: (version) => writes.takeBack(version) }, () => undefined));
  writes = new WritePath(engine, log, { clock, pace: new WritePace(clock, 1_000), pendingBytesMax: 10_000, onApplied: () => undefined, onApplyFailure: (error) => failures.push(error) });
});

afterEach(async () => {
  jest.restoreAllMocks();
  failures.length = 0;
  await writes.close();
  await log.close();
  await engine.close();
  rmSync(folder, { recursive: true });
});

const handle = (name: string): Buffer => Buffer.from(name);
const put = (name: string, document: string): RowChange => ({ handle: handle(name), put: Buffer.from(document) });
const count: RowChange = { handle: handle('counter'), decide: (current) => ({ put: Buffer.from(String(Number(current?.document ?? 0) + 1)) }) };
const write = (...changes: RowChange[]) => writes.write(1, changes, 'fsync');
const read = async (name: string): Promise<string | undefined> => (await engine.get(1, handle(name)))?.document.toString();

/** Syncs of the log wait until what this returns is called. */
function holdSyncs(): () => void {
  let release = (): void => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  const sync = jest.spyOn(LogSegment.prototype, 'sync').mockReturnValue(released);
  return () => {
    sync.mockRestore();
    release();
  };
}

describe('decisions', () => {
  test('of one row follow one another, within a batch and between them', async () => {
    await Promise.all(Array.from({ length: 200 }, () => write(count, count, count)));
    expect(await read('counter')).toBe('600');
  });

  test('are made in the order of the calls', async () => {
    const order: number[] = [];
    const row = (turn: number, name: string): RowChange => ({ handle: handle(name), decide: () => { order.push(turn); return 'keep'; } });
    // The reads of the second are done long before those of the first.
    await Promise.all([write(...Array.from({ length: 500 }, (_, index) => row(1, `many-${index}`))), write(row(2, 'one'))]);
    expect(order.slice(-2)).toEqual([1, 2]);
  });

  test('have their results in order: a version, kept, or why not', async () => {
    const refused = new BinnacleError('CONFLICT', 'no');
    const results = await write(
      put('a', '1'),
      { handle: handle('b'), decide: () => refused },
      { handle: handle('a'), decide: () => 'delete' },
      { handle: handle('a'), decide: () => 'delete' },
      { handle: handle('c'), decide: () => 'keep' },
      { handle: handle('d'), decide: () => { throw new TypeError('broken'); } },
      put('e', '2'),
    );
    expect(results).toEqual([
      { version: 1, document: Buffer.from('1') },
      refused,
      { version: 2 },
      'kept',
      'kept',
      expect.objectContaining({ code: 'INTERNAL' }),
      { version: 3, document: Buffer.from('2') },
    ]);
    expect([await read('a'), await read('e'), engine.appliedVersion(), engine.count(1)]).toEqual([undefined, '2', 3, 1]);
  });

  test('are not made about rows without a handle, nor in tables that cannot be', async () => {
    await expect(write(put('', 'x'))).rejects.toThrow('a row has no handle');
    await expect(writes.write(0, [put('a', 'x')], 'fsync')).rejects.toThrow('0 is no table id');
  });

  test('see a write that is not acknowledged yet, reads do not', async () => {
    await write(put('a', 'old'));
    const release = holdSyncs();
    const pending = write(put('a', 'new'));
    let seen: Row | undefined;
    const second = write({ handle: handle('a'), decide: (current) => ((seen = current), { put: Buffer.from('newest') }) });
    await waitUntil(() => seen !== undefined);
    expect([seen?.document.toString(), await read('a'), engine.appliedVersion()]).toEqual(['new', 'old', 1]);
    release();
    await Promise.all([pending, second]);
    expect(await read('a')).toBe('newest');
  });

  test('that change nothing wait for the writes they may rest on', async () => {
    const release = holdSyncs();
    const order: string[] = [];
    const pending = write(put('a', '1')).then(() => order.push('written'));
    const kept = write({ handle: handle('a'), decide: (current) => (current === undefined ? { put: Buffer.from('2') } : 'keep') }).then(() => order.push('kept'));
    release();
    await Promise.all([pending, kept]);
    expect(order).toEqual(['written', 'kept']);
  });
});

describe('many at once', () => {
  test('256 writers of one row each share syncs, and each of them is there', async () => {
    const writer = async (name: number): Promise<void> => {
      for (let turn = 0; turn < 10; turn++) await write(put(`${name}-${turn}`, 'document'));
    };
    await Promise.all(Array.from({ length: 256 }, (_, name) => writer(name)));
    expect([engine.count(1), log.durableVersion(), writes.pendingBytes(), writes.pendingRows()]).toEqual([2_560, 2_560, 0, 0]);
    expect(log.counters.syncs).toBeLessThan(1_000);
  });

  test('wait when too much is on its way, and go on in their order', async () => {
    const release = holdSyncs();
    const done: number[] = [];
    const batch = (index: number): RowChange[] => Array.from({ length: 1_000 }, (_, row) => put(`${index}-${row}`, 'document'));
    const all = Array.from({ length: 20 }, (_, index) => write(...batch(index)).then(() => done.push(index)));
    await waitUntil(() => writes.pendingBytes() >= 10_000);
    // The others are not let in to be read for, either.
    expect(writes.pendingRows()).toBeLessThanOrEqual(6_000);
    release();
    await Promise.all(all);
    expect([engine.count(1), done]).toEqual([20_000, Array.from({ length: 20 }, (_, index) => index)]);
  });

  test('a dropped table loses what came before and keeps what comes after, also of the same rows', async () => {
    await write(put('a', 'before'), count);
    const before = write(put('a', '1'), put('b', '2'), count);
    const dropped = writes.dropTable(1);
    const after = write(put('a', '3'), count);
    await Promise.all([before, dropped, after]);
    expect([await read('a'), await read('b'), await read('counter'), engine.count(1)]).toEqual(['3', undefined, '1', 2]);
  });
});

describe('failures', () => {
  const full = Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });

  test('a write that the log cannot take never happened, neither did those decided after it', async () => {
    await write(put('counter', '10'));
    let fail = (): void => {};
    const failing = new Promise<void>((_resolve, reject) => (fail = () => reject(full)));
    const append = jest.spyOn(LogSegment.prototype, 'append').mockReturnValueOnce(failing);
    const pending = Promise.allSettled([write(count), write(count), write(put('other', 'x'))]);
    await waitUntil(() => log.nextVersion() === 5);
    fail();
    const results = await pending;
    expect(results.map((each) => (each.status === 'rejected' ? (each.reason as BinnacleError).code : 'written'))).toEqual(['OUT_OF_DISK', 'OUT_OF_DISK', 'OUT_OF_DISK']);
    append.mockRestore();
    expect(await write(count)).toEqual([{ version: 2, document: Buffer.from('11') }]);
    expect([await read('counter'), await read('other'), engine.count(1), writes.pendingRows()]).toEqual(['11', undefined, 1, 0]);
  });

  test('a write that the engine cannot take yet is answered so, stays in the log, and is applied when it can be', async () => {
    await write(put('counter', '10'));
    jest.spyOn(engine, 'apply').mockRejectedValueOnce(new Error('No space left on device'));
    await expect(write(count)).rejects.toMatchObject({ code: 'OUT_OF_DISK', message: expect.stringMatching(/is in the log/) as unknown });
    expect([failures.length, writes.applyFailure()?.message, await read('counter')]).toEqual([1, 'No space left on device', '10']);
    const next = write(count);
    await waitUntil(() => clock.timerCount() > 0);
    await clock.advance(500);
    expect(await next).toEqual([{ version: 3, document: Buffer.from('12') }]);
    expect([writes.applyFailure(), await read('counter')]).toEqual([undefined, '12']);
  });

  test('a read that fails fails its write, and no other', async () => {
    jest.spyOn(engine, 'getFound').mockRejectedValueOnce(new Error('damaged'));
    const [failed, fine] = await Promise.allSettled([write(count), write(count)]);
    expect([failed?.status, fine?.status, await read('counter'), writes.pendingRows()]).toEqual(['rejected', 'fulfilled', '1', 0]);
  });
});
