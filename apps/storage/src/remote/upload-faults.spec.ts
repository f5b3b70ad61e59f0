import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { FaultyStore } from '@binnacle/object-store/faulty-store';
import { type ObjectStore, ObjectStoreUnavailable } from '@binnacle/object-store/object-store';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { waitUntil } from '@binnacle/testing/wait-until';
import { openRows, type TestableRows } from '../../test/testable-rows.js';
import { field, manifestsOf, openFolder, TestableUploads } from '../../test/testable-uploads.js';

const table = { id: 1, fields: [field('n', 'int32')], schemaVersion: 1 };
const mergeLimits = { freshSegments: 2, growth: 4, mergeBytesMax: 2 ** 30 };

let folder: string;
let clock: FakeClock;
let rows: TestableRows;
let store: ObjectStore;
let faulty: FaultyStore;
let uploads: TestableUploads;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'binnacle-upload-faults-'));
  clock = new FakeClock();
  rows = await openRows(folder, (config) => (config.storage.logMegabytesMax = 1));
  store = await openFolder(folder);
  faulty = new FaultyStore(store);
  uploads = new TestableUploads({ dataDir: folder, clock, rows: rows.store, store: faulty, tables: [table], mergeLimits });
  await uploads.start();
});

afterEach(async () => {
  faulty.plan = {};
  await stop();
  await rows.store.stop();
  await store.close();
  rmSync(folder, { recursive: true });
});

let written = 0;
const write = async (count: number, bytes = 10): Promise<void> => {
  const changes = Array.from({ length: count }, () => {
    const document = { id: `row ${written % 997}`, n: ++written, text: 'x'.repeat(bytes) };
    return { handle: Buffer.from(document.id), put: Buffer.from(JSON.stringify(document)) };
  });
  await rows.store.write(1, changes, { durability: 'fsync' });
};
/** Moves the clock on, by real time too, until it is so. Work that takes real time lets the clock run far ahead, unless it is told when it may move. */
const until = (isSo: () => boolean, stepMs: number, mayMove = (): boolean => true): Promise<unknown> =>
  waitUntil(async () => {
    if (!isSo() && mayMove()) await clock.advance(stepMs);
    return isSo();
  }, { timeoutMs: 60_000 });
/** What still runs may wait for the clock. */
const stop = async (mayMove?: () => boolean): Promise<void> => {
  let isStopped = false;
  const stopped = uploads.stop().finally(() => (isStopped = true));
  await until(() => isStopped, 1_000, mayMove);
  await stopped;
};
const live = async (): Promise<unknown> => {
  const segments = (await manifestsOf(store, 1)).flatMap((manifest) => manifest.segments.map(({ key }) => `'${folder}/bucket/${key}'`));
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  const [row] = (await connection.runAndReadAll(`SELECT count(*)::INTEGER, sum(n)::INTEGER FROM (SELECT arg_max(n, _version) AS n FROM read_parquet([${segments.join(', ')}]) GROUP BY _handle)`)).getRowsJson();
  connection.closeSync();
  instance.closeSync();
  return row;
};
const expected = async (): Promise<unknown> => {
  let [count, sum] = [0, 0];
  for await (const { document } of rows.store.scan(1)) [count, sum] = [count + 1, sum + (JSON.parse(document.toString()) as { n: number }).n];
  return [count, sum];
};

test('while the store is away for five minutes writes go on, the log stays within its limit, and then everything is made up for', async () => {
  await write(100);
  await uploads.uploader.uploadNow();
  const attempts: number[] = [];
  faulty.plan = {
    fault: () => {
      attempts.push(clock.monotonicMs());
      return 'before';
    },
  };
  for (let second = 0; second < 300; second++) {
    if (second % 10 === 0) await write(20, 10_000);
    await clock.advance(1_000);
    await waitUntil(() => !uploads.uploader.status().isRunning);
  }
  const { failuresInRow, pendingRows, oldestPendingMs, lastFailure } = uploads.uploader.status();
  expect([failuresInRow > 8, failuresInRow < 20, pendingRows, lastFailure]).toEqual([true, true, 600, expect.any(String)]);
  expect(clock.nowMs() - (oldestPendingMs ?? 0)).toBeGreaterThan(290_000);
  // Later each time, by half a minute at most.
  const gaps = attempts.slice(1).map((at, index) => at - (attempts[index] as number)).filter((gap) => gap > 0);
  expect(Math.max(...gaps)).toBe(30_000);
  // Some of what was written is in the log no more: four times its limit of a megabyte is kept for the uploader.
  expect(rows.store.firstLogVersion()).toBeGreaterThan(101);
  expect(await uploads.metrics.metrics()).toMatch(/binnacle_remote_upload_failures_in_row \d/);
  faulty.plan = {};
  await until(() => uploads.uploader.status().pendingRows === 0, 1_000);
  expect(await live()).toEqual(await expected());
  expect(uploads.lines.some(({ msg }) => msg.includes('the rows are scanned'))).toBe(true);
});

test('a store where a fifth of all operations fails, before or after they took effect, gets everything exactly once', async () => {
  faulty.plan = { errorRate: 0.2, seed: 7 };
  for (let round = 0; round < 6; round++) {
    await write(200);
    uploads.uploader.request();
    await until(() => uploads.uploader.status().pendingRows === 0 && !uploads.uploader.status().isRequested, 1_000);
    await uploads.merger.mergeAll().catch(() => undefined);
  }
  expect(await live()).toEqual(await expected());
  const versions = (await manifestsOf(store, 1)).map(({ uploadedVersion }) => uploadedVersion);
  expect(Math.max(...versions)).toBe(1_200);
  const segments = (await manifestsOf(store, 1)).flatMap((manifest) => manifest.segments.map(({ key }) => key));
  expect(new Set(segments).size).toBe(segments.length);
});

test('a manifest that gets to the store after its upload had been given up is published once, and merges go on', async () => {
  let late: (() => Promise<unknown>) | undefined;
  class SlowStore extends FaultyStore {
    override async put(...[key, body, options]: Parameters<FaultyStore['put']>): ReturnType<FaultyStore['put']> {
      const isFirst = late === undefined && key.endsWith('manifest.json') && body.toString().includes('.parquet');
      if (!isFirst) {
        await late?.();
        late = late && (async () => undefined);
        return super.put(key, body, options);
      }
      late = () => super.put(key, body, options);
      throw new ObjectStoreUnavailable('the answer takes too long');
    }
  }
  await uploads.stop();
  uploads = new TestableUploads({ dataDir: folder, clock, rows: rows.store, store: new SlowStore(store), tables: [table], mergeLimits, regionCount: 1 });
  await uploads.start();
  await write(100);
  await expect(uploads.uploader.uploadNow()).rejects.toThrow('takes too long');
  await until(() => uploads.uploader.status().pendingRows === 0, 1_000);
  const segments = async (): Promise<unknown[]> => (await manifestsOf(store, 1)).flatMap((manifest) => manifest.segments.map(({ rows: count, level }) => [level, count]));
  expect(await segments()).toEqual([[0, 100]]);
  await write(1);
  await uploads.uploader.uploadNow();
  await uploads.merger.mergeAll();
  expect(await segments()).toEqual([[1, 101]]);
});

test('a store that takes two seconds for everything only delays uploads', async () => {
  await uploads.uploader.uploadNow();
  let waiting = 0;
  faulty.plan = {
    before: async () => {
      waiting++;
      await new Promise<void>((resolve) => void clock.after(2_000, resolve));
      waiting--;
    },
  };
  await write(500);
  const startMs = clock.nowMs();
  uploads.uploader.request();
  // Meanwhile there are new rows, for the next upload.
  await clock.advance(100);
  await write(10);
  await until(() => !uploads.uploader.status().isRequested, 500, () => waiting > 0);
  expect(clock.nowMs() - startMs).toBeLessThan(30_000);
  expect(uploads.uploader.status()).toMatchObject({ failuresInRow: 0, pendingRows: 10 });
  await until(() => uploads.uploader.status().pendingRows === 0, 500);
  expect(await live()).toEqual(await expected());
});

test('at the stop the rest is uploaded, and a store that is away does not hold the stop up for longer than 10 s', async () => {
  await write(10);
  await uploads.stop();
  expect(await live()).toEqual([10, expect.any(Number)]);
  uploads = new TestableUploads({ dataDir: folder, clock, rows: rows.store, store: faulty, tables: [table] });
  await uploads.start();
  await write(10);
  faulty.plan = { before: () => new Promise<void>((resolve) => void clock.after(60_000, resolve)) };
  const startMs = clock.nowMs();
  await stop(() => clock.nowMs() - startMs < 11_000);
  expect(readdirSync(join(folder, 'storage'))).not.toContain('uploads');
});
