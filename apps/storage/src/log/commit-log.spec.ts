import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { appendFileSync, copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BinnacleError } from '@binnacle/contracts/errors';
import { CommitLog, type CommitLogOptions } from './commit-log.js';
import type { LogOperation } from './log-record.js';
import { LogSegment } from './log-segment.js';

let folder: string;
const opened: CommitLog[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'binnacle-log-'));
});

afterEach(async () => {
  jest.restoreAllMocks();
  for (const log of opened.splice(0)) await log.close();
  rmSync(folder, { recursive: true });
});

const put = (handle: string, document: string): LogOperation => ({ tableId: 1, handle: Buffer.from(handle), document: Buffer.from(document) });

/** Each operation of the log as `version:handle=document`, or `version:handle-` for a delete mark. */
async function reopen(options: Partial<CommitLogOptions> = {}, from = folder): Promise<{ log: CommitLog; seen: string[] }> {
  const seen: string[] = [];
  const log = await CommitLog.open(from, {
    segmentBytesMax: 2 ** 20,
    onBatch: ({ firstVersion, operations }) => {
      operations.forEach(({ handle, document }, index) => seen.push(`${firstVersion + index}:${handle}${document === undefined ? '-' : `=${document}`}`));
    },
    ...options,
  });
  opened.push(log);
  return { log, seen };
}

const segments = (): string[] => readdirSync(folder).sort();
const newestSegment = (): string => join(folder, segments().at(-1) as string);

/** The files as a process that is killed now would leave them. */
function crashCopy(): string {
  const copy = join(folder, 'crashed');
  rmSync(copy, { recursive: true, force: true });
  mkdirSync(copy);
  for (const name of segments()) if (name.endsWith('.log')) copyFileSync(join(folder, name), join(copy, name));
  return copy;
}

describe('writing', () => {
  test('what was appended is there after a clean close, delete marks and empty documents included, and versions go on', async () => {
    const { log } = await reopen();
    const first = log.append([put('a', '1'), { tableId: 2, handle: Buffer.from('b'), document: undefined }], 'fsync');
    const second = log.append([put('c', '')], 'fsync');
    await Promise.all([first.durable, second.durable]);
    expect([first.firstVersion, second.firstVersion, log.durableVersion()]).toEqual([1, 3, 3]);
    await log.close();

    const again = await reopen();
    expect(again.seen).toEqual(['1:a=1', '2:b-', '3:c=']);
    expect(again.log.append([put('d', '2')], 'fsync').firstVersion).toBe(4);
  });

  test('batches that come in together share one write and one sync', async () => {
    const { log } = await reopen();
    await Promise.all(Array.from({ length: 256 }, (_, index) => log.append([put(`h${index}`, 'x')], 'fsync').durable));
    expect(log.counters).toMatchObject({ batches: 256, operations: 256, writes: 1, syncs: 1 });
  });

  test('a batch with durability none does not wait for the disk, and counts; one with fsync does', async () => {
    const { log } = await reopen();
    let release = (): void => {};
    const released = new Promise<void>((resolve) => (release = resolve));
    jest.spyOn(LogSegment.prototype, 'sync').mockReturnValue(released);
    const order: string[] = [];
    const awaited = log.append([put('a', '1')], 'fsync').durable.then(() => order.push('on disk'));
    await log.append([put('b', '2')], 'none').durable;
    order.push('not awaited');
    expect([log.durableVersion(), log.counters.operationsNotAwaited]).toEqual([0, 1]);
    release();
    await awaited;
    expect(order).toEqual(['not awaited', 'on disk']);
    expect(log.durableVersion()).toBe(2);
  });

  test('listeners hear of each durable version until they end it', async () => {
    const { log } = await reopen();
    const heard: number[] = [];
    const end = log.onDurable((version) => heard.push(version));
    await log.append([put('a', '1'), put('b', '1')], 'fsync').durable;
    end();
    await log.append([put('c', '1')], 'fsync').durable;
    expect(heard).toEqual([2]);
  });

  test('a full segment is followed by another; trimming removes those that hold nothing newer', async () => {
    const { log } = await reopen({ segmentBytesMax: 100 });
    for (let index = 0; index < 4; index++) await log.append([put('handle', 'x'.repeat(100))], 'fsync').durable;
    expect(segments()).toHaveLength(4);
    const before = log.bytes();
    await log.trim(2);
    expect(segments().map((name) => Number(name.slice(0, 20)))).toEqual([3, 4]);
    expect(log.bytes()).toBeLessThan(before);
    await log.trim(1_000);
    expect(segments()).toHaveLength(1);
    expect(statSync(newestSegment()).size).toBe(log.bytes());
    await log.close();
    expect((await reopen()).log.nextVersion()).toBe(5);
  });

  test('a batch beyond the limit is refused and leaves no gap', async () => {
    const { log } = await reopen();
    const huge = Buffer.alloc(2 ** 20);
    expect(() => log.append(Array.from({ length: 257 }, () => ({ tableId: 1, handle: Buffer.from('a'), document: huge })), 'fsync')).toThrow(/beyond the limit/);
    expect(log.append([put('a', '1')], 'fsync').firstVersion).toBe(1);
  });

  test('versions begin behind what the engine has, and a log that ends before it makes way', async () => {
    const { log } = await reopen();
    await log.append([put('a', '1')], 'fsync').durable;
    await log.close();
    const ahead = await reopen({ afterVersion: 41 });
    expect(segments()).toEqual(['00000000000000000042.log']);
    expect(ahead.log.durableVersion()).toBe(41);
    expect(ahead.log.append([put('b', '1')], 'fsync').firstVersion).toBe(42);
  });
});

describe('after a crash', () => {
  test('the log is cut at the last good batch, wherever the last one was torn', async () => {
    const { log } = await reopen();
    await log.append([put('a', '1')], 'fsync').durable;
    const good = log.bytes();
    await log.append([put('b', '2'), put('c', '3')], 'fsync').durable;
    const whole = readFileSync(newestSegment());
    for (let end = good; end < whole.length; end++) {
      const copy = crashCopy();
      truncateSync(join(copy, segments()[0] as string), end);
      const crashed = await reopen({}, copy);
      expect(crashed.seen).toEqual(['1:a=1']);
      expect(crashed.log.tornBytes).toBe(end - good);
      const { firstVersion, durable } = crashed.log.append([put('d', '4')], 'fsync');
      await durable;
      await crashed.log.close();
      expect([firstVersion, (await reopen({}, copy)).seen]).toEqual([2, ['1:a=1', '2:d=4']]);
    }
  });

  test('a segment that was only begun is no damage', async () => {
    const { log } = await reopen();
    await log.append([put('a', '1')], 'fsync').durable;
    const copy = crashCopy();
    for (const head of ['', 'BINN', '\0'.repeat(28)]) {
      writeFileSync(join(copy, '00000000000000000002.log'), head);
      const crashed = await reopen({}, copy);
      expect(crashed.seen).toEqual(['1:a=1']);
      await crashed.log.close();
    }
  });

  test('batches of the last write may be lost in any order, those synced before may not', async () => {
    const { log } = await reopen();
    await log.append([put('a', '1')], 'fsync').durable;
    const endOfA = log.bytes();
    await Promise.all([log.append([put('b', '2')], 'fsync').durable, log.append([put('c', '3')], 'fsync').durable]);
    const name = segments()[0] as string;
    const damage = (offset: number): string => {
      const copy = crashCopy();
      const bytes = readFileSync(join(copy, name));
      bytes[offset] = (bytes[offset] as number) ^ 1;
      writeFileSync(join(copy, name), bytes);
      return copy;
    };
    // b is damaged, and c, written with it, does not prove that b was ever on disk.
    expect((await reopen({}, damage(endOfA + 40))).seen).toEqual(['1:a=1']);
    // a was on disk before b and c were written.
    const damaged = damage(endOfA - 1);
    await expect(reopen({}, damaged)).rejects.toThrow(`${join(damaged, name)} is damaged at byte 28: a record is bad. Keep the file, and restore the node from a snapshot: binnacle restore`);
  });
});

describe('damage', () => {
  test('any flipped bit of a log that was closed is found, or harmless', async () => {
    const { log } = await reopen({ segmentBytesMax: 400 });
    for (let index = 0; index < 12; index++) await log.append([put(`handle-${index}`, 'some document'), put('x', 'y'.repeat(index))], 'fsync').durable;
    await log.close();
    const { seen } = await reopen();
    expect(segments().length).toBeGreaterThan(2);
    await opened.pop()?.close();

    let found = 0;
    for (let round = 0; round < 200; round++) {
      const copy = crashCopy();
      const name = readdirSync(copy)[Math.floor(Math.random() * readdirSync(copy).length)] as string;
      const bytes = readFileSync(join(copy, name));
      const bit = Math.floor(Math.random() * bytes.length * 8);
      bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
      writeFileSync(join(copy, name), bytes);
      try {
        const crashed = await reopen({}, copy);
        // Only the last mark, which says that all was well, may be missing.
        expect([name, bit, crashed.seen]).toEqual([name, bit, seen]);
        await opened.pop()?.close();
      } catch (error) {
        expect([name, bit, String(error)]).toEqual([name, bit, expect.stringMatching(`${name} is damaged at byte \\d+: .*binnacle restore`)]);
        found += 1;
      }
    }
    expect(found).toBeGreaterThan(150);
  });

  test('a missing segment, and bytes behind the end of one that has a successor', async () => {
    const { log } = await reopen({ segmentBytesMax: 50 });
    for (let index = 0; index < 3; index++) await log.append([put('a', 'document')], 'fsync').durable;
    await log.close();
    const [first, second] = segments() as [string, string];
    const missing = crashCopy();
    rmSync(join(missing, second));
    await expect(reopen({}, missing)).rejects.toThrow('begins with version 3, 2 was expected');
    const longer = crashCopy();
    appendFileSync(join(longer, first), 'x');
    await expect(reopen({}, longer)).rejects.toThrow(`${first} is damaged`);
  });

  test('a segment of a later format is refused by that name', async () => {
    const { log } = await reopen();
    await log.append([put('a', '1')], 'fsync').durable;
    await log.close();
    const { crc32 } = await import('node:zlib');
    const bytes = readFileSync(newestSegment());
    bytes.writeUInt32LE(2, 8);
    bytes.writeUInt32LE(crc32(bytes.subarray(0, 24)), 24);
    writeFileSync(newestSegment(), bytes);
    await expect(reopen()).rejects.toThrow('its format is 2, and this version of Binnacle knows 1');
  });
});

describe('a failing disk', () => {
  const failure = (code: string): Error => Object.assign(new Error(code), { code });

  test('a full one refuses the write and all that is queued behind it, leaves nothing of them, and takes writes again', async () => {
    const takenBack: number[] = [];
    const { log } = await reopen({ onTakenBack: (version) => takenBack.push(version) });
    await log.append([put('a', '1')], 'fsync').durable;
    const end = log.bytes();
    const append = jest.spyOn(LogSegment.prototype, 'append').mockImplementation(async function (this: LogSegment) {
      // Half of it gets there, as with a real one.
      appendFileSync(this.path, 'half of a frame');
      log.append([put('c', '3')], 'fsync').durable.catch((error: unknown) => late.push(error));
      throw failure('ENOSPC');
    });
    const late: unknown[] = [];
    await expect(log.append([put('b', '2')], 'fsync').durable).rejects.toMatchObject({ code: 'OUT_OF_DISK' });
    append.mockRestore();
    const { firstVersion, durable } = log.append([put('d', '4')], 'fsync');
    await durable;
    expect({ firstVersion, takenBack, late }).toEqual({ firstVersion: 2, takenBack: [1], late: [expect.objectContaining({ code: 'OUT_OF_DISK' })] });
    expect(statSync(newestSegment()).size).toBe(log.bytes());
    expect(log.bytes()).toBeGreaterThan(end);
    await log.close();
    expect((await reopen()).seen).toEqual(['1:a=1', '2:d=4']);
  });

  test('one that fails a sync is not asked again: every write is refused from then on', async () => {
    const said: BinnacleError[] = [];
    const { log } = await reopen({ onFailure: (error) => said.push(error) });
    await log.append([put('a', '1')], 'fsync').durable;
    const sync = jest.spyOn(LogSegment.prototype, 'sync').mockRejectedValue(failure('EIO'));
    await expect(log.append([put('b', '2')], 'fsync').durable).rejects.toMatchObject({ code: 'STORAGE_FAILED', message: expect.stringMatching(/could not be written \(EIO\)/) as unknown });
    expect(() => log.append([put('c', '3')], 'fsync')).toThrow(/could not be written \(EIO\)/);
    expect([log.durableVersion(), said.length]).toEqual([1, 1]);
    expect(sync).toHaveBeenCalledTimes(1);
  });
});
