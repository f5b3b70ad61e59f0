import { afterEach, describe, expect, test } from '@jest/globals';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exited, guardProcess } from '@binnacle/testing/guarded-process';
import { canMount, SmallDisk } from '@binnacle/testing/small-disk';
import { waitUntil } from '@binnacle/testing/wait-until';
import type { FileCacheOptions } from '../src/cache/cache-types.js';
import { expectContent, mebibyte, range, segment, TestableCache } from './testable-cache.js';

const large = segment('large', 32 * mebibyte);
const folder = mkdtempSync(join(tmpdir(), 'binnacle-cache-faults-'));

(canMount ? describe : describe.skip)('on a disk that takes nothing', () => {
  let disk: SmallDisk;
  let tested: TestableCache;

  const open = (kibibytes: number, options: Partial<FileCacheOptions> = {}): void => {
    disk = new SmallDisk(join(folder, 'disk'), kibibytes);
    tested = new TestableCache(join(folder, 'disk', 'cache'), options);
  };

  afterEach(async () => {
    await tested.cache.stop();
    disk.unmount();
    rmSync(folder, { recursive: true, force: true });
  });

  test('full of its own entries, it gives up what it can do without', async () => {
    open(8 * 1_024);
    for (let index = 0; index < 24; index++) await tested.read(large, [range(index * mebibyte, mebibyte)]);
    const { usedBytes, spareReads } = tested.cache.statistics();
    expect([usedBytes >= 4 * mebibyte, usedBytes <= 8 * mebibyte, spareReads]).toEqual([true, true, 0]);
  });

  test('full of something else, reads go past it, and it is used again as soon as there is room', async () => {
    open(4 * 1_024);
    await tested.read(large, [range(0, mebibyte, 'Meta')]);
    const pin = await tested.cache.acquire(large, [range(0, mebibyte, 'Meta')]);
    const other = join(folder, 'disk', 'other');
    expect(() => writeFileSync(other, Buffer.alloc(8 * mebibyte, 1))).toThrow('ENOSPC');
    // One that needs what is there as well as what is not.
    const both = await tested.cache.acquire(large, [range(0, mebibyte), range(8 * mebibyte, 2 * mebibyte)]);
    expect(both.path).not.toBe(pin.path);
    await expectContent(both, large, [range(0, mebibyte), range(8 * mebibyte, 2 * mebibyte)]);
    both.release();
    await expectContent(pin, large, [range(0, mebibyte)]);
    pin.release();
    expect(tested.cache.statistics()).toMatchObject({ spareReads: 1, spareBytes: 0 });
    expect(tested.warnings.length).toBeGreaterThan(0);
    rmSync(other);
    await tested.clock.advance(5_000);
    await tested.read(large, [range(8 * mebibyte, 2 * mebibyte)]);
    await tested.read(large, [range(8 * mebibyte, 2 * mebibyte)]);
    expect(tested.cache.statistics()).toMatchObject({ spareReads: 1, usedBytes: 3 * mebibyte, hits: 2 });
  });

  test('read-only, what is there is read from it and the rest past it', async () => {
    open(16 * 1_024);
    await tested.read(large, [range(0, mebibyte)]);
    execFileSync('mount', ['-o', 'remount,ro', disk.folder]);
    await tested.read(large, [range(0, mebibyte)]);
    await tested.read(large, [range(0, mebibyte), range(4 * mebibyte, mebibyte)]);
    expect(tested.fetches.length).toBe(2);
    await tested.cache.evictByType('Unknown');
    await tested.read(large, [range(0, mebibyte)]);
    execFileSync('mount', ['-o', 'remount,rw', disk.folder]);
    await tested.clock.advance(15_000);
    await tested.read(large, [range(0, mebibyte)]);
    await tested.cache.settled();
    expect(tested.cache.statistics()).toMatchObject({ spareReads: 2, usedBytes: mebibyte, allocatedBytes: mebibyte });
  });

  test('what is more than memory may take is refused, and says so', async () => {
    open(64, { spareBytesMax: mebibyte });
    await expect(tested.cache.acquire(large, [range(0, 2 * mebibyte)])).rejects.toMatchObject({ code: 'OUT_OF_DISK' });
    await tested.read(large, [range(0, mebibyte)]);
  });
});

test('killed while it writes, it has every entry that its index file had', async () => {
  const cacheFolder = join(folder, 'killed');
  const script = fileURLToPath(new URL('./fixtures/filling-cache.mjs', import.meta.url));
  try {
    for (let life = 0; life < 3; life++) {
      const child = spawn(process.execPath, ['--conditions=@binnacle/source', script, cacheFolder, String(life)], { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, NODE_OPTIONS: '' } });
      const unguard = guardProcess(child.pid as number, '');
      let lines = '';
      child.stdout.on('data', (chunk: Buffer) => (lines += chunk.toString()));
      await waitUntil(() => lines.split('flushed').length > 2 || child.exitCode !== null, { timeoutMs: 60_000 });
      child.kill('SIGKILL');
      await exited(child);
      unguard();
      const flushed = Number(/flushed (\d+)\n(?!.*flushed)/s.exec(lines)?.[1]);
      const tested = new TestableCache(cacheFolder, { capacityBytes: 512 * mebibyte });
      for (let index = 0; index < flushed; index++) {
        const pin = await tested.cache.acquire(segment(`killed${life}`, 512 * mebibyte), [range(index * 50_000, 40_000)]);
        await expectContent(pin, segment(`killed${life}`, 512 * mebibyte), [range(index * 50_000, 40_000)]);
        pin.release();
      }
      expect([flushed > 0, tested.fetches.length, tested.cache.statistics().corrupted]).toEqual([true, 0, 0]);
      await tested.cache.stop();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
