import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import type { ObjectStore } from '@binnacle/object-store/object-store';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { waitUntil } from '@binnacle/testing/wait-until';
import { openRows, type TestableRows } from '../../test/testable-rows.js';
import { field, manifestsOf, openFolder, TestableUploads, type UploadsOptions } from '../../test/testable-uploads.js';
import { columnChunks } from './column-chunks.js';
import type { Manifest } from './manifest.js';

let folder: string;
let clock: FakeClock;
let rows: TestableRows;
let store: ObjectStore;
let uploads: TestableUploads | undefined;

const books = { id: 1, fields: [field('title', 'string'), field('year', 'int64'), field('tags', 'string[]')], schemaVersion: 1 };

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'binnacle-uploads-'));
  clock = new FakeClock();
  rows = await openRows(folder);
  store = await openFolder(folder);
});

afterEach(async () => {
  await uploads?.stop();
  uploads = undefined;
  await rows.store.stop();
  await store.close();
  rmSync(folder, { recursive: true });
});

const start = async (options: Partial<UploadsOptions> = {}): Promise<TestableUploads> => {
  uploads = new TestableUploads({ dataDir: folder, clock, rows: rows.store, store, tables: [books], ...options });
  await uploads.start();
  return uploads;
};
const put = async (documents: readonly ({ id: string } & Record<string, unknown>)[], tableId = 1): Promise<void> => {
  const changes = documents.map((document) => ({ handle: Buffer.from(document.id), put: Buffer.from(JSON.stringify(document)) }));
  await rows.store.write(tableId, changes, { durability: 'fsync' });
};
const remove = async (...ids: string[]): Promise<void> => {
  await rows.store.write(1, ids.map((id) => ({ handle: Buffer.from(id), decide: () => 'delete' as const })), { durability: 'fsync' });
};
const query = async (sql: string): Promise<unknown[][]> => {
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  const answer = (await connection.runAndReadAll(sql)).getRowsJson();
  connection.closeSync();
  instance.closeSync();
  return answer as unknown[][];
};
/** Anybody can read the bucket so: of each handle the newest version, unless it is a delete mark. */
const readBucket = (columns: string, tableId = 1): Promise<unknown[][]> =>
  query(`SELECT ${columns} FROM (FROM read_parquet('${folder}/bucket/regions/${tableId}/*/segments/*.parquet', union_by_name=true)
         QUALIFY row_number() OVER (PARTITION BY _handle ORDER BY _version DESC) = 1) WHERE NOT _deleted ORDER BY _handle`);

test('DuckDB alone reads from the bucket what was written, digit by digit', async () => {
  const { uploader } = await start();
  const documents = [
    { id: '😀"\'x', title: 'a', year: 1, tags: ['x', 'y'], other: { deep: [1.5] } },
    { id: 'b', title: "O'Neil", tags: [] },
    { id: 'z', title: 'late', year: 3 },
  ];
  await put([{ id: 'b', title: 'old' }, { id: 'gone', title: 'gone' }]);
  await uploader.uploadNow();
  await put(documents);
  await rows.store.write(1, [{ handle: Buffer.from('big'), put: Buffer.from('{"id":"big","year":9223372036854775807}') }], { durability: 'fsync' });
  await remove('gone');
  await uploader.uploadNow();
  expect(await readBucket('_handle, title, year, tags')).toEqual([
    ['b', "O'Neil", null, []],
    ['big', null, '9223372036854775807', null],
    ['z', 'late', '3', null],
    ['😀"\'x', 'a', '1', ['x', 'y']],
  ]);
  const exported: string[] = [];
  for await (const { document } of rows.store.scan(1)) exported.push(document.toString());
  expect((await readBucket('_document')).map(([document]) => document)).toEqual(exported);
});

test('a manifest tells of each segment what lies in it and where', async () => {
  const { uploader } = await start({ regionCount: 1 });
  await put([{ id: 'a', title: 'x' }, { id: 'b' }]);
  await remove('a');
  await uploader.uploadNow();
  const [manifest] = await manifestsOf(store, 1);
  const [segment] = manifest?.segments ?? [];
  expect(manifest).toMatchObject({ term: 1, writeNode: 'n1', uploadedVersion: 3, completeToMs: clock.nowMs(), segments: [{}] });
  expect(segment).toMatchObject({ rows: 2, deleteMarks: 1, minHandle: 'a', maxHandle: 'b', minVersion: 2, maxVersion: 3, level: 0, schemaVersion: 1 });
  expect(segment?.columns).toEqual(books.fields.map(({ name, type }) => ({ name, type, column: name })));
  if (segment === undefined) return;
  const meta = await store.getRange(segment.key, { offset: segment.metaOffset, length: segment.bytes - segment.metaOffset });
  const chunks = columnChunks(meta, segment).sort((a, b) => a.offset - b.offset);
  expect(chunks.map(({ column, type }) => [column, type])).toEqual([
    ['_handle', 'HandleColData'], ['_version', 'VersionColData'], ['_deleted', 'DeleteMarkColData'],
    ['title', 'ColData'], ['year', 'ColData'], ['tags', 'ColData'], ['_document', 'ColData'],
  ]);
  // One behind the other: whatever is not a column lies behind `metaOffset`.
  expect(chunks.map(({ offset }) => offset)).toEqual([4, ...chunks.slice(0, -1).map(({ offset, length }) => offset + length)]);
  expect((chunks.at(-1)?.offset ?? 0) + (chunks.at(-1)?.length ?? 0)).toBe(segment.metaOffset);
});

test('rows lie in a segment in the order of their ids by bytes, whatever they were written in', async () => {
  const { uploader } = await start({ regionCount: 1 });
  const ids = ['\u{1F600}', '\uFF5E', 'é', 'z', 'a', ...Array.from({ length: 6_000 }, (_, index) => `row ${(index * 7_919) % 6_007}`)];
  await put(ids.map((id) => ({ id })));
  await uploader.uploadNow();
  const [manifest] = await manifestsOf(store, 1);
  const stored = (await query(`SELECT _handle FROM read_parquet('${folder}/bucket/${manifest?.segments[0]?.key}')`)).map(([id]) => String(id));
  expect(stored).toEqual(ids.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
  expect(manifest?.segments).toMatchObject([{ minHandle: 'a', maxHandle: '\u{1F600}' }]);
});

test('an upload comes every 30 s, and before that when enough has come together', async () => {
  const { uploader } = await start({ change: (config) => (config.storage.uploadMegabytes = 1) });
  await put([{ id: 'a' }]);
  expect(uploader.status()).toMatchObject({ pendingRows: 1, oldestPendingMs: clock.nowMs(), lastSuccessMs: undefined });
  await clock.advance(29_999);
  expect(uploader.position()).toBe(0);
  await clock.advance(1);
  await waitUntil(() => uploader.position() === 1);
  await waitUntil(() => !uploader.status().isRunning);
  expect(uploader.status()).toMatchObject({ pendingRows: 0, pendingBytes: 0, oldestPendingMs: undefined, lastSuccessMs: clock.nowMs() });
  await put([{ id: 'b', title: 'x'.repeat(2 ** 20) }]);
  await waitUntil(() => uploader.position() === 2);
});

test('rows of other regions and of dropped tables are not uploaded, and nothing waits for them', async () => {
  const one = { ...books, id: 2 };
  const { uploader } = await start({ tables: [one] });
  await put([{ id: 'not ours' }], 1);
  await put([{ id: 'ours' }], 2);
  await put([{ id: 'dropped' }], 2);
  await rows.store.dropTable(2);
  await put([{ id: 'ours too' }], 2);
  await uploader.uploadNow();
  expect(await readBucket('_handle', 2)).toEqual([['ours too']]);
  expect(uploader.position()).toBe(5);
  expect(readdirSync(join(folder, 'bucket/regions'))).toEqual(['2']);
});

test('after a restart it goes on behind what is uploaded, and a trimmed log is made up for by the rows', async () => {
  const first = await start();
  await put([{ id: 'a', title: '1' }, { id: 'b', title: '1' }, { id: 'c', title: '1' }]);
  await first.uploader.uploadNow();
  await first.stop();
  await put([{ id: 'a', title: '2' }]);
  await remove('b');
  const trimmed = { ...bound(rows.store), firstLogVersion: () => rows.store.durableVersion() + 1 };
  const { uploader, lines } = await start({ rows: trimmed });
  await uploader.uploadNow();
  expect(await readBucket('_handle, title, _version')).toEqual([['a', '2', '4'], ['c', '1', '3']]);
  expect(lines.map(({ msg }) => msg)).toEqual(['the log was trimmed before it was uploaded: the rows are scanned']);
  const segments = (await manifestsOf(store, 1)).flatMap((manifest) => manifest.segments);
  expect(segments.reduce((sum, segment) => sum + segment.rows, 0)).toBe(5);
});

function bound(given: TestableRows['store']): UploadsOptions['rows'] {
  return {
    logFolder: () => given.logFolder(),
    firstLogVersion: () => given.firstLogVersion(),
    scanVersions: (id) => given.scanVersions(id),
    durableVersion: () => given.durableVersion(),
    appliedVersion: () => given.appliedVersion(),
    writtenBytes: () => given.writtenBytes(),
    onDurable: (listener) => given.onDurable(listener),
    keepLogFor: (reader) => given.keepLogFor(reader),
    keepMarks: (neededFrom) => given.keepMarks(neededFrom),
  };
}

test('a log that loses its oldest part while it is read is made up for by the rows, too', async () => {
  const { uploader } = await start({ rows: { ...bound(rows.store), logFolder: () => join(folder, 'bucket') } });
  await put([{ id: 'a', title: '1' }, { id: 'b', title: '1' }]);
  await remove('b');
  await uploader.uploadNow();
  expect(await readBucket('_handle, title')).toEqual([['a', '1']]);
  expect(uploader.status()).toMatchObject({ failuresInRow: 0, pendingRows: 0 });
});

test('a row that is overwritten while rows are scanned is in what is published, as the newer one', async () => {
  await put([{ id: 'a', title: '1' }, { id: 'b', title: '1' }]);
  let isTrimmed = true;
  const given = {
    ...bound(rows.store),
    firstLogVersion: () => (isTrimmed ? rows.store.durableVersion() + 1 : rows.store.firstLogVersion()),
    async *scanVersions(id: number) {
      if (isTrimmed) await put([{ id: 'a', title: '2' }]);
      isTrimmed = false;
      yield* rows.store.scanVersions(id);
    },
  };
  const { uploader } = await start({ regionCount: 1, rows: given });
  const published: Manifest[] = [];
  uploader.onPublished(({ manifest }) => void published.push(manifest));
  await uploader.uploadNow();
  expect(published.map(({ uploadedVersion, segments }) => [uploadedVersion, segments.map(({ maxVersion, rows: count }) => [maxVersion, count])])).toEqual([[3, [[2, 1], [3, 1]]]]);
  expect(await readBucket('_handle, title')).toEqual([['a', '2'], ['b', '1']]);
});

test('whoever lost a region to a newer term publishes nothing more in it, and goes on with the others', async () => {
  const { uploader, manifests, fenced } = await start();
  await put([{ id: 'a' }]);
  await uploader.uploadNow();
  const lost = 256;
  await manifests.claim({ tableId: 1, regionId: lost, term: 2, writeNode: 'n2', versionBase: (before) => (before?.uploadedVersion ?? 0) + 1_000 });
  const documents = Array.from({ length: 20 }, (_, index) => ({ id: `row ${index}` }));
  await put(documents);
  await uploader.uploadNow();
  const [first, second] = await manifestsOf(store, 1);
  expect([fenced, first?.writeNode, second?.writeNode, uploader.position()]).toEqual([[lost], 'n2', 'n1', 21]);
  expect([first?.uploadedVersion, second?.uploadedVersion]).toEqual([1, 21]);
});

test('a document whose fields take more memory than there is is uploaded without them, and keeps nobody back', async () => {
  const { uploader } = await start({ regionCount: 1, tables: [{ ...books, fields: [field('n', 'int32'), field('numbers', 'int64[]')] }] });
  const monster = `{"id":"b","n":2,"numbers":[${'1,'.repeat(7_500_000)}1]}`;
  await put([{ id: 'a', n: 1, numbers: [1] }]);
  await rows.store.write(1, [{ handle: Buffer.from('b'), put: Buffer.from(monster) }], { durability: 'fsync' });
  await put([{ id: 'c', n: 3, numbers: [3] }]);
  await uploader.uploadNow();
  const [first, second, third] = await readBucket('_handle, n, list_sum(numbers)::INTEGER, length(_document)');
  expect([first?.slice(0, 3), third?.slice(0, 3)]).toEqual([['a', 1, 1], ['c', 3, 3]]);
  expect([second?.[0], Number(second?.[3])]).toEqual(['b', monster.length]);
  expect(second?.slice(1, 3)).toEqual([null, null]);
});
