import { afterEach, expect, test } from '@jest/globals';
import { readdirSync, statSync, writeFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { computeTable } from '../../test/compute-table.js';
import { type ComputeOptions, TestableCompute } from '../../test/testable-compute.js';
import type { Table } from '../tables/schema.js';

let compute: TestableCompute | undefined;
const books = computeTable(1, { title: 'string', year: 'int64', tags: 'string[]', 'address.city': 'string' });

/** Takes minutes, and no memory. */
const slowQuery = 'SELECT sum(a.range * b.range) FROM range(3000000) a, range(3000000) b';

const open = async (options: Partial<ComputeOptions> = {}): Promise<TestableCompute> => {
  compute = await TestableCompute.open({ tables: [books], ...options });
  return compute;
};

afterEach(async () => {
  await compute?.close();
  compute = undefined;
});

test('a query sees rows that are uploaded, rows that are not, and of each the newest version', async () => {
  const { put, remove, upload, find } = bound(await open());
  await put(books, { id: 'a', title: 'A', year: 1 }, { id: 'b', title: 'B', year: 2 }, { id: 'c', title: 'C', year: 3 });
  await upload();
  await put(books, { id: 'a', title: 'A2', year: 10 }, { id: 'd', title: 'D', year: 9007199254740993 });
  await remove(books, 'b');
  await upload();
  await put(books, { id: 'c', title: 'C3' }, { id: 'e', title: 'E', 'address.city': 'X', tags: ['x', 'y'] }, { id: 'f', title: 'F', address: { city: 'Y' } });
  await remove(books, 'd');
  expect(await find('SELECT id, title, year, tags, "address.city" FROM table1 ORDER BY id')).toEqual([
    ['a', 'A2', 10, null, null],
    ['c', 'C3', null, null, null],
    ['e', 'E', null, ['x', 'y'], 'X'],
    ['f', 'F', null, null, 'Y'],
  ]);
  await upload();
  expect(await find('SELECT count(*) FROM table1')).toEqual([[4]]);
  expect(await find('SELECT id FROM table1 WHERE title = \'C3\'')).toEqual([['c']]);
});

test('with stale=true the rows that are not uploaded are left out, and write nodes may be away', async () => {
  const given = await open();
  const { put, upload, find } = bound(given);
  await put(books, { id: 'a', title: 'A' });
  await upload();
  await put(books, { id: 'b', title: 'B' });
  expect(await find('SELECT id FROM table1', { stale: true })).toEqual([['a']]);
  given.isWriteNodeAway = true;
  expect(await find('SELECT id FROM table1', { stale: true })).toEqual([['a']]);
  await expect(find('SELECT id FROM table1')).rejects.toThrow('away');
});

test('a compute node asks only for what is new, and drops what a manifest shows', async () => {
  const given = await open({ regionCount: 1, tables: [computeTable(1, { title: 'string' }, 1)] });
  const { put, upload, find } = bound(given);
  await put(books, { id: 'a', title: 'A' });
  expect(await find('SELECT id FROM table1')).toEqual([['a']]);
  await put(books, { id: 'b', title: 'B' });
  expect(await find('SELECT id FROM table1 ORDER BY id')).toEqual([['a'], ['b']]);
  expect(given.asked.map(([question]) => question?.after)).toEqual([0, 1]);
  expect(given.fresh.bytes()).toBeGreaterThan(0);
  await upload();
  expect(await find('SELECT id FROM table1 ORDER BY id')).toEqual([['a'], ['b']]);
  expect(given.fresh.bytes()).toBe(0);
});

test('with more new rows than may be kept, a query waits for an upload', async () => {
  const { put, find } = bound(await open({ freshBytesMax: 2_000 }));
  await put(books, ...Array.from({ length: 200 }, (_, index) => ({ id: `k${index}`, title: 'x'.repeat(50) })));
  expect(await find('SELECT count(*), sum(length(title)) FROM table1')).toEqual([[200, 10_000]]);
});

test('a field that was added later is taken out of older documents, and one that was dropped is gone', async () => {
  const tables: Table[] = [books];
  const { put, upload, find } = bound(await open({ tables }));
  await put(books, { id: 'a', title: 'A', pages: 12 }, { id: 'b', title: 'B' });
  await upload();
  tables[0] = { ...books, fields: [...books.fields.filter(({ name }) => name !== 'tags'), { ...(books.fields[1] as Table['fields'][number]), name: 'pages', type: 'int32' }], schemaVersion: 2 };
  await put(books, { id: 'c', pages: 13 });
  expect(await find('SELECT id, pages FROM table1 ORDER BY id')).toEqual([['a', 12], ['b', null], ['c', 13]]);
  await expect(find('SELECT tags FROM table1')).rejects.toThrow('tags');
});

test('a table without rows has columns and no rows', async () => {
  const { ask } = bound(await open());
  expect(await ask('SELECT * FROM table1')).toMatchObject({ columns: [{ name: 'id', type: 'VARCHAR' }, { name: 'title', type: 'VARCHAR' }, { name: 'year', type: 'BIGINT' }, { name: 'tags', type: 'VARCHAR[]' }, { name: 'address.city', type: 'VARCHAR' }], rows: [], row_count: 0 });
});

test('fields with the names of what views are made of are fields like any other', async () => {
  const names = ['plain', 'k0', '_handle', '_Document', 'ID', 'rows', 'newer', 'v', 'e0', "it's", 'a"b', 'a/b~c'];
  const table = computeTable(1, Object.fromEntries(names.map((name) => [name, 'string'])));
  const { put, upload, find } = bound(await open({ tables: [table] }));
  const document = Object.fromEntries(names.map((name, index) => [name, `value ${index}`]));
  await put(table, { ...document, id: 'a' });
  await upload();
  await put(table, { ...document, id: 'b' });
  const expected = names.map((_name, index) => `value ${index}`);
  expect(await find('SELECT * FROM table1 ORDER BY id')).toEqual([['a', ...expected], ['b', ...expected]]);
});

test('only the columns of a query are fetched, once, and two queries share them', async () => {
  const table = computeTable(1, { a: 'string', b: 'string' }, 1);
  const given = await open({ tables: [table], regionCount: 1 });
  const { put, upload, ask } = bound(given);
  const noise = (): string => Array.from({ length: 40 }, () => Math.random().toString(36)).join('');
  for (let part = 0; part < 20; part++) await put(table, ...Array.from({ length: 500 }, (_, index) => ({ id: `k${part}-${index}`, a: `${part}`, b: noise() })));
  await upload();
  const [first, second] = await Promise.all([ask('SELECT count(DISTINCT a) FROM table1'), ask('SELECT min(a) FROM table1')]);
  expect([first.rows, second.rows]).toEqual([[[20]], [['0']]]);
  const segmentBytes = statSync(segmentsOf(given)[0] as string).size;
  expect(given.cache.counters.missBytes).toBeLessThan(segmentBytes / 10);
  const before = given.cache.counters.missBytes;
  expect((await ask('SELECT max(a) FROM table1')).stats).toMatchObject({ bytes_fetched: 0 });
  expect(given.cache.counters.missBytes).toBe(before);
});

test('a damaged local file is fetched again, and the query answered', async () => {
  const given = await open();
  const { put, upload, find } = bound(given);
  await put(books, ...Array.from({ length: 500 }, (_, index) => ({ id: `k${index}`, title: `t${index}` })));
  await upload();
  expect(await find('SELECT count(DISTINCT title) FROM table1')).toEqual([[500]]);
  for (const path of filesUnder(join(given.folder, 'cache')).filter((name) => name.endsWith('.parquet'))) {
    const bytes = readFileSync(path);
    writeFileSync(path, bytes.fill(0x5a, 10, bytes.length - 100));
  }
  expect(await find('SELECT count(DISTINCT title) FROM table1')).toEqual([[500]]);
});

test('results come in every format, exactly', async () => {
  const { text, find } = bound(await open());
  const values = "9007199254740993 AS big, 12 AS small, 1.10::DECIMAL(5,2) AS exact, 12345678901234567.89::DECIMAL(20,2) AS long, TIMESTAMP '2026-01-31 09:05:00.5' AS at, TIMESTAMPTZ '2026-01-31 09:05:00+02' AS zoned, [1, NULL] AS list, {'a': 1} AS object, 'NaN'::DOUBLE AS nan, NULL AS nothing";
  expect(await find(`SELECT ${values}`)).toEqual([['9007199254740993', 12, 1.1, '12345678901234567.89', '2026-01-31T09:05:00.5', '2026-01-31T07:05:00Z', [1, null], { a: 1 }, 'NaN', null]]);
  expect(await text(`SELECT 'a,"b"' AS x, NULL AS y, '' AS z, [1] AS list`, { format: 'csv' })).toBe('x,y,z,list\r\n"a,""b""",,"",[1]\r\n');
  expect((await text('SELECT range AS n FROM range(10)', { format: 'parquet' })).slice(0, 4)).toBe('PAR1');
  const { tableFromIPC } = await import('apache-arrow');
  const arrow = tableFromIPC(Buffer.from(await text("SELECT range AS n, 'x' || range AS s, [range] AS l FROM range(3000)", { format: 'arrow' }), 'latin1'));
  expect([arrow.numRows, arrow.get(2999)?.toJSON().n, arrow.get(2999)?.toJSON().s, [...(arrow.get(2999)?.toJSON().l as Iterable<unknown>)]]).toEqual([3000, 2999n, 'x2999', [2999n]]);
});

test('limits are told, and nothing is cut off in silence', async () => {
  const { find, text } = bound(await open({ limits: { rowsMax: 100 } }));
  await expect(find('SELECT * FROM range(101)')).rejects.toThrow('more than 100 rows');
  await expect(text('SELECT * FROM range(101)', { format: 'parquet' })).rejects.toThrow('more than 100 rows');
  await expect(find("WITH RECURSIVE t AS (SELECT 'aaaaaaaa' AS s UNION ALL SELECT s || s FROM t) SELECT length(s) FROM t")).rejects.toThrow('more memory');
  expect(await find('SELECT 1')).toEqual([[1]]);
});

test('a query that takes too long is ended, and the next one answered', async () => {
  const { find } = bound(await open({ limits: { timeoutMs: 3_000 } }));
  await expect(find(slowQuery)).rejects.toMatchObject({ code: 'REQUEST_TIMEOUT' });
  expect(await find('SELECT 1')).toEqual([[1]]);
});

test('more queries than may wait are refused at once', async () => {
  const { find } = bound(await open({ queriesMax: 1, waitingMax: 1, limits: { timeoutMs: 1_000 } }));
  const slow = slowQuery;
  const [first, second, third] = await Promise.allSettled([find(slow), find(slow), find(slow)]);
  expect([first, second].map((result) => result?.status === 'rejected' && result.reason.code)).toEqual(['REQUEST_TIMEOUT', 'REQUEST_TIMEOUT']);
  expect(third).toMatchObject({ status: 'rejected', reason: { code: 'OVERLOADED', retryAfterS: 1 } });
});

test('an answer is kept when that is asked for, until the next write', async () => {
  const given = await open();
  const { put, ask } = bound(given);
  await put(books, { id: 'a' });
  const first = await ask('SELECT count(*) FROM table1', { use_cache: true });
  expect(await ask('SELECT count(*) FROM table1', { use_cache: true })).toEqual(first);
  await put(books, { id: 'b' });
  expect((await ask('SELECT count(*) FROM table1', { use_cache: true })).rows).toEqual([[2]]);
});

test('EXPLAIN shows a plan, and no path of this machine', async () => {
  const given = await open();
  const { put, upload, text } = bound(given);
  await put(books, { id: 'a', title: 'x' });
  await upload();
  for (const sql of ['EXPLAIN SELECT title FROM table1', 'EXPLAIN ANALYZE SELECT title FROM table1']) {
    const plan = await text(sql);
    expect(plan).toContain('READ_PARQUET');
    expect(plan).not.toContain(given.folder);
  }
});

function bound(given: TestableCompute): Pick<TestableCompute, 'put' | 'remove' | 'upload' | 'find' | 'ask' | 'text'> {
  return { put: given.put.bind(given), remove: given.remove.bind(given), upload: given.upload.bind(given), find: given.find.bind(given), ask: given.ask.bind(given), text: given.text.bind(given) };
}

function filesUnder(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true }).flatMap((entry) => (entry.isFile() ? [join(entry.parentPath, entry.name)] : []));
}

function segmentsOf(given: TestableCompute): string[] {
  return filesUnder(join(given.folder, 'bucket')).filter((path) => path.endsWith('.parquet'));
}
