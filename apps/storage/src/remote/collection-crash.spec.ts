import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { FolderStore } from '@binnacle/object-store/folder-store';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { hourMs, TestableBucket } from '../../test/testable-bucket.js';
import { openRows, type TestableRows } from '../../test/testable-rows.js';
import { field, manifestsOf, TestableUploads } from '../../test/testable-uploads.js';

const table = { id: 1, fields: [field('n', 'int32')], schemaVersion: 1 };
const mergeLimits = { freshSegments: 2, growth: 4, mergeBytesMax: 2 ** 30 };
const rowCount = 12;

let folder: string;
let rows: TestableRows;
let connection: DuckDBConnection;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'binnacle-collection-crash-'));
  rows = await openRows(join(folder, 'rows'));
  connection = await (await DuckDBInstance.create(':memory:')).connect();
  const given = await open('template');
  const uploads = uploadsOf('template', given);
  await uploads.start();
  // Every row is written in each round; two merges leave what they merged behind.
  for (let round = 0; round < 4; round++) {
    await write(round);
    await uploads.uploader.uploadNow();
    await uploads.merger.mergeAll();
  }
  await uploads.stop();
  await given.inner.close();
});

afterAll(async () => {
  connection.closeSync();
  await rows.store.stop();
  rmSync(folder, { recursive: true });
});

const open = async (name: string): Promise<TestableBucket> => new TestableBucket(await FolderStore.open(join(folder, name), { timeoutMs: 10_000 }));
const uploadsOf = (name: string, bucket: TestableBucket): TestableUploads =>
  new TestableUploads({ dataDir: join(folder, `${name}-data`), clock: new FakeClock(), rows: rows.store, store: bucket.store, tables: [table], regionCount: 1, mergeLimits });

async function write(round: number): Promise<void> {
  const changes = Array.from({ length: rowCount }, (_, index) => ({ handle: Buffer.from(`row ${index}`), put: Buffer.from(JSON.stringify({ id: `row ${index}`, n: round })) }));
  await rows.store.write(1, changes, { durability: 'fsync' });
}

/** The rounds of all rows that the manifest's segments show; one value when none is lost and none is of another time. */
async function rounds(name: string, bucket: TestableBucket): Promise<unknown> {
  const [manifest] = await manifestsOf(bucket.inner, 1);
  const files = (manifest?.segments ?? []).map(({ key }) => `'${join(folder, name, key)}'`).join(', ');
  const newest = `SELECT _handle, arg_max(n, _version) AS n FROM read_parquet([${files}]) GROUP BY _handle`;
  return (await connection.runAndReadAll(`SELECT count(*)::INTEGER, min(n), max(n) FROM (${newest})`)).getRowsJson()[0];
}

test('with real rows: a collector killed before or after every operation loses none of them, while the uploader goes on', async () => {
  const copy = async (name: string): Promise<TestableBucket> => {
    cpSync(join(folder, 'template'), join(folder, name), { recursive: true });
    return open(name);
  };
  const collectAll = async (bucket: TestableBucket): Promise<void> => {
    for (let run = 0; run < 3; run++) {
      await bucket.pass(hourMs + 1_000);
      await bucket.collect();
    }
  };
  const counted = await copy('counted');
  const left = readdirSync(join(folder, 'counted/regions/1/256/segments')).length;
  await collectAll(counted);
  const steps = counted.store.operations.length;
  expect(await rounds('counted', counted)).toEqual([rowCount, 3, 3]);
  expect(readdirSync(join(folder, 'counted/regions/1/256/segments')).length).toBeLessThan(left);
  expect(steps).toBeGreaterThan(10);
  await write(4);
  for (let step = 1; step <= steps; step++) {
    for (const when of ['before', 'after'] as const) {
      const name = `${when}-${step}`;
      const bucket = await copy(name);
      bucket.plan({ fault: ({ ofAll }) => (ofAll > step ? 'before' : ofAll === step ? when : undefined) });
      await collectAll(bucket).catch(() => undefined);
      bucket.plan({});
      expect([name, await rounds(name, bucket)]).toEqual([name, [rowCount, 3, 3]]);
      const uploads = uploadsOf(name, bucket);
      await uploads.start();
      await uploads.uploader.uploadNow();
      await uploads.stop();
      await collectAll(bucket);
      expect([name, await rounds(name, bucket)]).toEqual([name, [rowCount, 4, 4]]);
      const [manifest] = await manifestsOf(bucket.inner, 1);
      expect([name, (await bucket.keys()).filter((key) => key !== 'regions/1/256/manifest.json')]).toEqual([name, manifest?.segments.map(({ key }) => key).toSorted()]);
      await bucket.inner.close();
      for (const each of [name, `${name}-data`]) rmSync(join(folder, each), { recursive: true, force: true });
    }
  }
  await counted.inner.close();
}, 300_000);
