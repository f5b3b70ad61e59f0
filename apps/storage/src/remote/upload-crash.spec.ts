import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { FaultyStore } from '@binnacle/object-store/faulty-store';
import { type ObjectStore, ObjectStoreUnavailable } from '@binnacle/object-store/object-store';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { openRows, type TestableRows } from '../../test/testable-rows.js';
import { field, manifestsOf, openFolder, TestableUploads } from '../../test/testable-uploads.js';
import { nextMerge } from './merge-policy.js';

/** Row versions by handle, oldest first; undefined: deleted. */
type Model = Map<string, { version: number; document: string | undefined }[]>;

const table = { id: 1, fields: [field('n', 'int32')], schemaVersion: 1 };
const mergeLimits = { freshSegments: 2, growth: 4, mergeBytesMax: 2 ** 30 };
/** Ends of the uploads, in versions of the log. */
const uploadEnds = [14, 28, 40];

let folder: string;
let rows: TestableRows;
let connection: DuckDBConnection;
const model: Model = new Map();

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'binnacle-upload-crash-'));
  rows = await openRows(join(folder, 'rows'));
  connection = await (await DuckDBInstance.create(':memory:')).connect();
  // Half of them are written again later, and some deleted.
  for (let version = 1; version <= 40; version++) {
    const handle = `row ${version % 15}`;
    const document = version % 4 === 0 ? undefined : JSON.stringify({ id: handle, n: version });
    const change = document === undefined ? { handle: Buffer.from(handle), decide: () => 'delete' as const } : { handle: Buffer.from(handle), put: Buffer.from(document) };
    const [result] = await rows.store.write(1, [change], { durability: 'fsync' });
    // What is not there is not deleted: then something else takes the version.
    if (result === 'kept') await rows.store.write(1, [{ handle: Buffer.from(handle), put: Buffer.from('{"n":0}') }], { durability: 'fsync' });
    const known = model.get(handle) ?? [];
    model.set(handle, [...known, { version, document: result === 'kept' ? '{"n":0}' : document }]);
  }
});

afterAll(async () => {
  connection.closeSync();
  await rows.store.stop();
  rmSync(folder, { recursive: true });
});

/** Uploads the log piece by piece, and merges. */
async function scenario(given: TestableUploads, setEnd: (version: number) => void): Promise<void> {
  await given.start();
  for (const end of uploadEnds) {
    setEnd(end);
    await given.uploader.uploadNow();
    if (end === 28) await given.merger.mergeAll();
  }
}

function uploadsOf(name: string, store: ObjectStore): { uploads: TestableUploads; setEnd: (version: number) => void } {
  let durable = 0;
  const given = rows.store;
  const upTo = {
    logFolder: () => given.logFolder(),
    firstLogVersion: () => given.firstLogVersion(),
    scanVersions: (id: number) => given.scanVersions(id),
    durableVersion: () => durable,
    appliedVersion: () => durable,
    writtenBytes: () => given.writtenBytes(),
    onDurable: () => () => undefined,
    keepLogFor: () => undefined,
    keepMarks: () => undefined,
  };
  const uploads = new TestableUploads({ dataDir: join(folder, name), clock: new FakeClock(), rows: upTo, store, tables: [table], regionCount: 1, mergeLimits });
  return { uploads, setEnd: (version) => (durable = version) };
}

/** The manifest describes segments that are there and have together exactly the newest rows up to its version, of each handle one in each level. */
async function checkBucket(bucket: string, store: ObjectStore): Promise<number> {
  const [manifest] = await manifestsOf(store, 1);
  if (manifest === undefined) return 0;
  for (const segment of manifest.segments) expect([segment.key, statSync(join(bucket, segment.key)).size]).toEqual([segment.key, segment.bytes]);
  const files = manifest.segments.map(({ key }) => `'${bucket}/${key}'`).join(', ');
  const found = files === '' ? [] : (await connection.runAndReadAll(`SELECT _handle, max(_version)::INTEGER, arg_max(_deleted, _version), arg_max(coalesce(_document, ''), _version) FROM read_parquet([${files}]) GROUP BY _handle ORDER BY _handle`)).getRowsJson();
  const live = found.filter(([, , isDeleted]) => isDeleted === false).map(([handle, version, , document]) => ({ handle, version, document }));
  const expected = [...model].flatMap(([handle, versions]) => {
    const newest = versions.filter(({ version }) => version <= manifest.uploadedVersion).at(-1);
    return newest?.document === undefined ? [] : [{ handle, ...newest }];
  });
  expect(live).toEqual(expected.sort((a, b) => (a.handle < b.handle ? -1 : 1)));
  return manifest.uploadedVersion;
}

/** The process dies at that operation, counted from 1: before it took effect, or after and without hearing of it. */
function dyingAt(step: number, when: 'before' | 'after', inner: ObjectStore): FaultyStore {
  const die = ({ ofAll }: { ofAll: number }, dies: boolean): void => {
    if (ofAll > step || (ofAll === step && dies)) throw new ObjectStoreUnavailable('this process is dead');
  };
  return new FaultyStore(inner, { before: (operation) => die(operation, when === 'before'), after: (operation) => die(operation, true) });
}

async function steps(): Promise<number> {
  const bucket = join(folder, 'counted');
  const store = await openFolder(bucket);
  const counting = new FaultyStore(store);
  const { uploads, setEnd } = uploadsOf('counted', counting);
  await scenario(uploads, setEnd);
  expect(await checkBucket(join(bucket, 'bucket'), store)).toBe(40);
  const count = counting.operations.length;
  await uploads.stop();
  await store.close();
  return count;
}

test('killed before or after every single operation of uploads and merges, a node loses nothing and leaves nothing broken', async () => {
  const count = await steps();
  // A claim, three uploads, and a merge that downloads what it merges.
  expect(count).toBeGreaterThan(10);
  for (let step = 1; step <= count; step++) {
    for (const when of ['before', 'after'] as const) {
      const name = `${when}-${step}`;
      const store = await openFolder(join(folder, name));
      const bucket = join(folder, name, 'bucket');
      const dying = dyingAt(step, when, store);
      const killed = uploadsOf(name, dying);
      await scenario(killed.uploads, killed.setEnd).catch(() => undefined);
      expect([name, dying.operations.length >= step]).toEqual([name, true]);
      await killed.uploads.stop();
      await checkBucket(bucket, store);
      const next = uploadsOf(name, store);
      next.setEnd(40);
      await next.uploads.start();
      await next.uploads.uploader.uploadNow();
      await next.uploads.merger.mergeAll();
      expect([name, await checkBucket(bucket, store)]).toEqual([name, 40]);
      const [manifest] = await manifestsOf(store, 1);
      expect(nextMerge(manifest?.segments ?? [], mergeLimits)).toBeUndefined();
      // Of local files nothing is left; of objects at most those of one upload or merge.
      await next.uploads.stop();
      expect(['uploads', 'merges'].filter((each) => existsSync(join(folder, name, 'storage', each)))).toEqual([]);
      const leftovers = readdirSync(join(bucket, 'regions/1/256/segments')).length - (manifest?.segments.length ?? 0);
      expect(leftovers).toBeLessThanOrEqual(8);
      await store.close();
      rmSync(join(folder, name), { recursive: true });
    }
  }
}, 300_000);
