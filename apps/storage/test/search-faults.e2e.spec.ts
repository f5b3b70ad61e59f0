import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, cpSync, existsSync, mkdtempSync, openSync, readdirSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exited, guardProcess } from '@binnacle/testing/guarded-process';
import { waitUntil } from '@binnacle/testing/wait-until';
import type { NodeConfig } from '@binnacle/node-kit/config';
import type { Table } from '../src/tables/schema.js';
import { crashTables } from './crash-tables.js';
import { tableOf, TestableSearch } from './testable-search.js';
import { openRows } from './testable-rows.js';

const notes = tableOf(1, { text: 'string', stamp: 'int32' });
const others = tableOf(2, { text: 'string' });

let folder: string;
let search: TestableSearch | undefined;

async function open(tables: readonly Table[] = [notes, others], change?: (config: NodeConfig) => void): Promise<TestableSearch> {
  search = await TestableSearch.open(folder, tables, change);
  return search;
}

async function close(): Promise<void> {
  await search?.close();
  search = undefined;
}

const numbered = (count: number, first = 0): { id: string; text: string; stamp: number }[] =>
  Array.from({ length: count }, (_, index) => ({ id: `n${first + index}`, text: `note number${(first + index) % 10}`, stamp: first + index }));

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'binnacle-search-'));
});

afterEach(async () => {
  await close();
  rmSync(folder, { recursive: true, force: true });
});

/** Everything in the rows is in the index, in the versions of the rows, and nothing else. */
async function expectWhole(found: TestableSearch, table: Table): Promise<number> {
  const stamps = new Map<string, unknown>();
  for await (const { handle, document } of found.rows.store.scan(table.id)) {
    stamps.set(handle.toString(), (JSON.parse(document.toString()) as { stamp: unknown }).stamp);
  }
  const { rows: matching } = await found.index.matching(table, 'stamp:>=0', undefined, 1_000_000);
  expect(matching.length).toBe(stamps.size);
  for (const [id, stamp] of stamps) expect({ id, found: await found.ids(table, { q: '*', filter_by: `id:=${id} && stamp:=${String(stamp)}` }) }).toEqual({ id, found: id });
  const { found: all } = await found.find(table, { q: '*', per_page: 0 });
  expect(all).toBe(stamps.size);
  expect((await found.find(table, { q: 'note', query_by: 'text', per_page: 0 })).found).toBeLessThanOrEqual(all);
  return all;
}

test('a search sees every write that was acknowledged before it, a thousand times under concurrent writes', async () => {
  const found = await open();
  let isOver = false;
  const background = [1, 2, 3].map(async (writer) => {
    for (let stamp = 0; !isOver; stamp++) await found.put(writer === 1 ? others : notes, { id: `w${writer}`, text: 'background', stamp });
  });
  const searcher = async (own: string): Promise<void> => {
    for (let stamp = 0; stamp < 250; stamp++) {
      if (stamp % 10 === 9) await found.delete(notes, own);
      else await found.put(notes, { id: own, text: `mine${own} at${stamp}`, stamp });
      const { hits } = await found.find(notes, { q: `mine${own} at${stamp}`, query_by: 'text', prefix: false });
      expect(hits.map(({ document }) => document['stamp'])).toEqual(stamp % 10 === 9 ? [] : [stamp]);
    }
  };
  await Promise.all(['a', 'b', 'c', 'd'].map(searcher));
  isOver = true;
  await Promise.all(background);
});

describe('an index that cannot be used is made again from the rows', () => {
  const spoilers: [string, (index: string) => void][] = [
    ['deleted', (index) => rmSync(index, { recursive: true })],
    ['overwritten', (index) => writeFileSync(join(index, 'search.sqlite'), 'this is no database')],
    ['damaged inside', (index) => overwriteMiddle(join(index, 'search.sqlite'))],
  ];

  test.each(spoilers)('%s between two starts', async (_how, spoil) => {
    const first = await open();
    await first.put(notes, ...numbered(3_000));
    await first.delete(notes, 'n7');
    await first.find(notes, { q: '*' });
    await close();
    spoil(join(folder, 'storage', 'index'));

    const second = await open();
    // What is damaged is found out when it is read.
    await waitUntil(() => expectWhole(second, notes).then(() => true, (error: { code?: string }) => (error.code === 'NOT_READY' ? false : Promise.reject(error))));
  });

  test('while it is used', async () => {
    const found = await open();
    await found.put(notes, ...numbered(5_000));
    await found.find(notes, { q: '*' });
    const path = join(folder, 'storage', 'index', 'search.sqlite');
    await close();
    const again = await open();
    await again.find(notes, { q: '*', per_page: 1 });
    overwriteMiddle(path);
    const isWhole = (): Promise<boolean> => expectWhole(again, notes).then(() => true, () => false);
    await waitUntil(isWhole, { timeoutMs: 60_000, intervalMs: 100 });
  });

  test('left far behind by a log that was trimmed meanwhile', async () => {
    const small = (config: NodeConfig): unknown => (config.storage.logMegabytesMax = 1);
    const first = await open([notes], small);
    await first.put(notes, ...numbered(100));
    await first.find(notes, { q: '*' });
    await close();
    cpSync(join(folder, 'storage', 'index'), join(folder, 'old'), { recursive: true });
    const { store } = await openRows(folder, small as (config: NodeConfig) => void);
    const text = 'x'.repeat(10_000);
    for (let round = 0; round < 40; round++) {
      const documents = numbered(50, round);
      await store.write(1, documents.map(({ id, stamp }) => ({ handle: Buffer.from(id), put: Buffer.from(JSON.stringify({ id, stamp, text })) })), { durability: 'fsync' });
    }
    await waitUntil(async () => !existsSync(join(folder, 'storage', 'log')) || oldestSegment(store.logFolder()) > 100);
    await store.stop();

    const second = await open([notes], small);
    await waitUntil(() => expectWhole(second, notes).then(() => true, () => false));
    expect(second.lines.some(({ reason }) => String(reason).includes('no longer in the log'))).toBe(true);
  });
});

test('a changed schema has only its table read in again, and no write meanwhile is lost', async () => {
  const found = await open();
  await found.put(notes, ...numbered(20_000));
  await found.put(others, { id: 'o', text: 'other' });
  await found.find(notes, { q: '*' });
  let isOver = false;
  const writing = (async () => {
    for (let stamp = 20_000; !isOver; stamp++) {
      await found.put(notes, ...numbered(20, stamp % 20_000).map((note) => ({ ...note, stamp })));
      await found.delete(notes, `n${(stamp * 7) % 20_000}`);
      // The other table is searched as ever.
      await found.ids(others, { q: 'other', query_by: 'text' });
    }
  })();
  const wider = found.setTable(tableOf(1, { text: 'string', stamp: 'int32 facet' }, { schemaVersion: 2 }));
  const { facet_counts: facets } = await found.find(wider, { q: '*', facet_by: 'stamp' });
  expect(facets[0]?.counts.length).toBe(10);
  isOver = true;
  await writing;
  const ids = new Set((await found.index.matching(wider, 'stamp:>=0', undefined, 100_000)).rows.map(({ id }) => id));
  const rows = new Set<string>();
  for await (const { handle } of found.rows.store.scan(wider.id)) rows.add(handle.toString());
  expect(ids).toEqual(rows);
});

test('whenever the process is killed, the next one has an index that says what the rows say', async () => {
  for (let round = 1; round <= 5; round++) {
    const child = spawn(process.execPath, ['--conditions=@binnacle/source', writerPath, folder, String(round * 100_000)], { stdio: ['ignore', 'pipe', 'inherit'] });
    const release = guardProcess(child.pid as number, folder);
    await once(child.stdout, 'data');
    let batches = 0;
    child.stdout.on('data', () => batches++);
    await waitUntil(() => batches > 5 + 9 * round, { timeoutMs: 60_000 });
    child.kill('SIGKILL');
    await exited(child);
    release();
    const found = await open(crashTables);
    for (const table of crashTables) expect(await expectWhole(found, table)).toBeGreaterThan(0);
    await close();
  }
});

test('a search that takes too long is ended, and those after it are not', async () => {
  const found = await open([notes, others], (config) => (config.storage.searchTimeoutMs = 60_000));
  for (let part = 0; part < 20; part++) await found.put(notes, ...numbered(5_000, part * 5_000));
  await found.find(notes, { q: '*', per_page: 1 });
  const slow = { q: 'n', query_by: 'text', filter_by: 'text:* && stamp:!=[1..3, 7]', per_page: 250, search_cutoff_ms: 2 };
  await expect(found.find(notes, slow)).rejects.toMatchObject({ code: 'REQUEST_TIMEOUT' });
  expect((await found.find(notes, { ...slow, search_cutoff_ms: 60_000 })).found).toBe(99_996);
});

test('an index that lags says so in time', async () => {
  const found = await open([notes, others], (config) => (config.storage.searchWaitMs = 1));
  // Where this process is kept from asking at once, the index may have caught up.
  await waitUntil(async () => {
    await found.put(notes, ...numbered(5_000));
    return await found.find(notes, { q: '*' }).then(() => false, (error: { code?: string }) => error.code === 'NOT_READY');
  });
});

test('a machine that was restarted in between: the index is not believed', async () => {
  const first = await open();
  await first.put(notes, ...numbered(10));
  await first.find(notes, { q: '*' });
  // As it lies there in the middle of work, and after another start of the machine.
  cpSync(join(folder, 'storage', 'index'), join(folder, 'copy'), { recursive: true });
  await close();
  rmSync(join(folder, 'storage', 'index'), { recursive: true });
  cpSync(join(folder, 'copy'), join(folder, 'storage', 'index'), { recursive: true });
  const { DatabaseSync } = await import('node:sqlite');
  const database = new DatabaseSync(join(folder, 'storage', 'index', 'search.sqlite'));
  database.exec(`UPDATE state SET value = 'another' WHERE name = 'boot'; UPDATE state SET value = 12345 WHERE name = 'position'`);
  database.close();
  expect(await expectWhole(await open(), notes)).toBe(10);
});

const writerPath = fileURLToPath(new URL('fixtures/search-writer.mjs', import.meta.url));

function overwriteMiddle(path: string): void {
  const bytes = statSync(path).size;
  const file = openSync(path, 'r+');
  writeSync(file, Buffer.alloc(Math.floor(bytes / 2), 0x5a), 0, undefined, Math.floor(bytes / 4));
  closeSync(file);
}

function oldestSegment(logFolder: string): number {
  return Math.min(...readdirSync(logFolder).map((name) => Number(/\d+/.exec(name)?.[0] ?? Infinity)));
}
