import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { FaultyStore } from '@binnacle/object-store/faulty-store';
import type { ObjectStore } from '@binnacle/object-store/object-store';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { openRows, type TestableRows } from '../../test/testable-rows.js';
import { field, manifestsOf, openFolder, TestableUploads } from '../../test/testable-uploads.js';
import type { Manifest } from './manifest.js';

let folder: string;
let rows: TestableRows;
let store: ObjectStore;
let faulty: FaultyStore;
let uploads: TestableUploads;
let table: { id: number; fields: ReturnType<typeof field>[]; schemaVersion: number };

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'binnacle-merger-'));
  rows = await openRows(folder);
  store = await openFolder(folder);
  faulty = new FaultyStore(store);
  table = { id: 1, fields: [field('n', 'int64')], schemaVersion: 1 };
  uploads = new TestableUploads({
    dataDir: folder,
    clock: new FakeClock(),
    rows: rows.store,
    store: faulty,
    tables: [table],
    regionCount: 1,
    mergeLimits: { freshSegments: 2, growth: 4, mergeBytesMax: 2 ** 30 },
  });
  await uploads.start();
});

afterEach(async () => {
  await uploads.stop();
  await rows.store.stop();
  await store.close();
  rmSync(folder, { recursive: true });
});

const upload = async (...documents: ({ id: string } & Record<string, unknown>)[]): Promise<void> => {
  await rows.store.write(1, documents.map((document) => ({ handle: Buffer.from(document.id), put: Buffer.from(JSON.stringify(document)) })), { durability: 'fsync' });
  await uploads.uploader.uploadNow();
};
const remove = async (id: string): Promise<void> => {
  await rows.store.write(1, [{ handle: Buffer.from(id), decide: () => 'delete' }], { durability: 'fsync' });
  await uploads.uploader.uploadNow();
};
const manifest = async (): Promise<Manifest> => (await manifestsOf(store, 1))[0] as Manifest;
const query = async (columns: string, order = 'ORDER BY _handle, _version'): Promise<unknown[][]> => {
  const { segments } = await manifest();
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  const files = segments.map(({ key }) => `'${folder}/bucket/${key}'`).join(', ');
  const found = (await connection.runAndReadAll(`SELECT ${columns} FROM read_parquet([${files}], union_by_name=true) ${order}`)).getRowsJson();
  connection.closeSync();
  instance.closeSync();
  return found as unknown[][];
};

test('of each handle the newest row is left, and marks only as long as there is something older to hide', async () => {
  await upload({ id: 'a', n: 1 }, { id: 'b', n: 1 }, { id: 'c', n: 1 });
  await upload({ id: 'a', n: 2 });
  await uploads.merger.mergeAll();
  expect((await manifest()).segments).toMatchObject([{ level: 1, rows: 3, deleteMarks: 0, minVersion: 2, maxVersion: 4 }]);
  // Much, so that the next two are not merged with it.
  await upload(...Array.from({ length: 3_000 }, (_, index) => ({ id: `row ${index}`, n: index, text: Math.random().toString(36) })));
  await upload({ id: 'x', n: 1 });
  await uploads.merger.mergeAll();
  await remove('b');
  await upload({ id: 'c', n: 3 });
  await uploads.merger.mergeAll();
  const { segments } = await manifest();
  expect(segments.map(({ level, deleteMarks }) => [level > 0, deleteMarks])).toEqual([[true, 0]]);
  // As it lies in the file.
  const stored = (await query('_handle', '')).map(([handle]) => String(handle));
  expect([stored.length, stored]).toEqual([3_003, stored.toSorted()]);
  expect((await query('_handle, n')).filter(([handle]) => String(handle).length === 1)).toEqual([['a', '2'], ['c', '3'], ['x', '1']]);
});

test('rows that are in several segments are merged all the same, and are there once', async () => {
  await upload({ id: 'a', n: 1 }, { id: 'b', n: 1 });
  await remove('b');
  const [state] = (await uploads.uploader.uploads.refresh({})).states;
  if (state === undefined) return;
  await uploads.uploader.uploads.change(state, [], (known) => ({ ...known, segments: known.segments.flatMap((segment) => [segment, segment]) }), {});
  await uploads.merger.mergeAll();
  expect((await manifest()).segments).toMatchObject([{ level: 1, rows: 1 }]);
  expect(await query('_handle, n')).toEqual([['a', '1']]);
});

test('what was published while it merged stays behind the output, and the merge is done once', async () => {
  await upload({ id: 'a', n: 1 });
  await upload({ id: 'b', n: 1 });
  const putsBefore = faulty.operations.filter(({ kind }) => kind === 'putFile').length;
  faulty.plan = {
    before: async ({ kind, ofKind }) => {
      if (kind !== 'putFile' || ofKind > putsBefore + 1) return;
      // The output is about to be stored; then its manifest will be an old one. A collector was there, too.
      await upload({ id: 'a', n: 2 });
      const known = await uploads.manifests.read(1, 256);
      if (known !== undefined) await uploads.manifests.replace(known, { ...known.manifest, collections: 1 });
    },
  };
  await uploads.merger.mergeAll();
  const { segments, collections } = await manifest();
  expect([segments.map(({ level, rows: count }) => [level, count]), collections, faulty.operations.filter(({ kind }) => kind === 'putFile').length - putsBefore]).toEqual([[[1, 2], [0, 1]], 1, 2]);
  expect(await query('_handle, n')).toEqual([['a', '1'], ['a', '2'], ['b', '1']]);
});

test('an output the collector took before it was published is not published', async () => {
  await upload({ id: 'a', n: 1 });
  await upload({ id: 'b', n: 1 });
  faulty.plan = {
    after: async ({ kind }) => {
      if (kind !== 'putFile') return;
      faulty.plan = {};
      const known = await uploads.manifests.read(1, 256);
      if (known === undefined) return;
      await uploads.manifests.replace(known, { ...known.manifest, collections: 1 });
      const referenced = new Set(known.manifest.segments.map(({ key }) => key));
      for await (const { key } of store.list('regions/1/256/segments/')) if (!referenced.has(key)) await store.delete(key);
    },
  };
  await expect(uploads.merger.mergeAll()).rejects.toThrow('collected before it was published');
  expect((await manifest()).segments).toHaveLength(2);
  await uploads.merger.mergeAll();
  expect((await manifest()).segments).toMatchObject([{ level: 1, rows: 2 }]);
});

test('fields with any names keep their values through a merge, also those the table has got since', async () => {
  const named = ['Year', 'year', '_handle', '_plain', 'v', 'e0', 'newest', 'given', "it's \"x\"/~"].map((name) => field(name, 'int64'));
  table.fields = [...named, field('tags', 'string[]')];
  const values = Object.fromEntries(named.map(({ name }, index) => [name, index]));
  await upload({ id: 'a', ...values, tags: ['x'], late: 'early', 'in.side': 1, o: { p: [{ q: 5 }, { q: 6 }] } });
  table.fields = [field('late', 'string'), field('o.p.q', 'int32[]'), ...table.fields];
  table.schemaVersion = 2;
  await upload({ id: 'b', ...values, late: 'late' });
  await uploads.merger.mergeAll();
  const [segment] = (await manifest()).segments;
  expect(segment).toMatchObject({ schemaVersion: 2, rows: 2 });
  const columns = (segment?.columns ?? []).map(({ column }) => column);
  expect(columns).toEqual(['late', 'o.p.q', 'Year', 'year_2', '_handle_2', '_plain_2', 'v', 'e0', 'newest', 'given', "it's \"x\"/~", 'tags']);
  const found = await query(columns.map((column) => `"${column.replaceAll('"', '""')}"`).join(', '));
  const numbers = named.map((_, index) => String(index));
  expect(found).toEqual([['early', [5, 6], ...numbers, ['x']], ['late', null, ...numbers, null]]);
});

test('documents of megabytes are uploaded and merged in pieces, in the memory that DuckDB may have', async () => {
  table.fields = [field('text', 'string')];
  const text = 'x'.repeat(9 * 2 ** 20);
  const large = (from: number): { id: string; text: string }[] => Array.from({ length: 9 }, (_, index) => ({ id: `row ${from + index}`, text: `${from}${text}` }));
  await upload(...large(0));
  await upload(...large(5));
  const before = (await manifest()).segments;
  expect(before.map(({ rows: count }) => count)).toEqual([8, 1, 8, 1]);
  await uploads.merger.mergeAll();
  const { segments } = await manifest();
  expect([segments.reduce((sum, segment) => sum + segment.rows, 0), segments.length]).toEqual([14, 2]);
  expect((segments[0]?.maxHandle ?? '') < (segments[1]?.minHandle ?? '')).toBe(true);
  expect((await query("_handle, length(text) - length(_document) + length('{\"id\":\"\",\"text\":\"\"}') + length(_handle), starts_with(text, '5')")).map(([, ...rest]) => rest)).toEqual(
    [...Array(14).keys()].map((index) => index).sort((a, b) => (`${a}` < `${b}` ? -1 : 1)).map((index) => ['0', index >= 5]),
  );
});
