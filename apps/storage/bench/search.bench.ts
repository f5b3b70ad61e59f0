/*
 * The search index against plain node:sqlite with FTS5 on the calling thread, which has no rows, no log and no other threads to talk to.
 * From the root, under Node.js 24:  node --conditions=@binnacle/source apps/storage/bench/search.bench.ts [documents] [rounds]
 *
 * Indexing: documents of some 150 bytes with two text fields, two numbers and tags; ours from the commit log, the same ids once more from
 * there, and from a scan of the rows, the peer from the same JSON in memory. Searches: two words, a filter, sorted by a number, 10 hits with their documents. Sides take turns,
 * medians count; the event loop is watched while ours indexes and while it is searched.
 */
import '../test/fixtures/typescript-hooks.mjs';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { DatabaseSync } from 'node:sqlite';

// Only what is imported from here on goes through the hook.
const { TestableSearch, tableOf } = await import('../test/testable-search.js');
const { openRows } = await import('../test/testable-rows.js');

const documentCount = Number(process.argv[2] ?? 200_000);
const rounds = Number(process.argv[3] ?? 3);
const searchCount = 2_000;
const batchSize = 1_000;
const resolutionMs = 1;
/** Between writes of 100 documents. */
const pauseMs = 50;
const table = tableOf(1, { title: 'string', city: 'string facet', staff: 'int32', price: 'float', tags: 'string[] facet' });

const wordCount = 20_000;
const word = (index: number): string => `w${((index * 2_654_435_761) % 4_294_967_296).toString(36)}`;
/** Few words are frequent, as in any language; the same documents every time. */
const wordAt = (seed: number): string => word(Math.floor(((seed * 7_919) % 10_007) ** 2 / 10_007 ** 2 * wordCount));

interface Document {
  readonly id: string;
  readonly title: string;
  readonly city: string;
  readonly staff: number;
  readonly price: number;
  readonly tags: readonly string[];
}

const documentAt = (index: number): Document => ({
  id: `d${(index * 2_654_435_761) % 4_294_967_296}`,
  title: Array.from({ length: 6 }, (_, position) => wordAt(index * 6 + position)).join(' '),
  city: `city${index % 50}`,
  staff: index % 1_000,
  price: ((index * 31) % 10_000) / 100,
  tags: [`t${index % 7}`, `u${index % 11}`],
});
const texts = Array.from({ length: documentCount }, (_, index) => JSON.stringify(documentAt(index)));
const wordsOf = (index: number): string => `${wordAt(index * 13)} ${wordAt(index * 17 + 5)}`;

async function timed(work: () => Promise<unknown> | unknown): Promise<number> {
  const startMs = performance.now();
  await work();
  return (performance.now() - startMs) / 1_000;
}

async function latencies(search: (index: number) => Promise<unknown> | unknown): Promise<{ p50: number; p99: number }> {
  const times: number[] = [];
  for (let index = 0; index < searchCount; index++) times.push((await timed(() => search(index))) * 1_000);
  times.sort((one, other) => one - other);
  return { p50: times[Math.floor(searchCount * 0.5)] as number, p99: times[Math.floor(searchCount * 0.99)] as number };
}

interface Side {
  readonly indexing: Record<string, number>;
  readonly p50: number;
  readonly p99: number;
  readonly eventLoop?: Record<string, number>;
}

async function writeAll(folder: string): Promise<void> {
  const { store } = await openRows(folder);
  for (let first = 0; first < documentCount; first += batchSize) {
    const changes = texts.slice(first, first + batchSize).map((text, index) => ({ handle: Buffer.from(documentAt(first + index).id), put: Buffer.from(text) }));
    await store.write(table.id, changes, { durability: 'fsync' });
  }
  await store.stop();
}

async function ours(folder: string): Promise<Side> {
  const everything = { q: '*', per_page: 1 };
  // An index that is empty, and then a log it has not read.
  const empty = await TestableSearch.open(folder, [table]);
  await empty.find(table, everything);
  await empty.close();
  await writeAll(folder);

  const delay = monitorEventLoopDelay({ resolution: resolutionMs });
  const patient = (config: { storage: { searchWaitMs: number } }): unknown => (config.storage.searchWaitMs = 600_000);
  const behind = await TestableSearch.open(folder, [table], patient);
  delay.enable();
  const fromLog = await timed(() => behind.find(table, everything));
  await behind.close();
  await writeAll(folder);
  const overwritten = await TestableSearch.open(folder, [table], patient);
  const fromUpdates = await timed(() => overwritten.find(table, everything));
  await overwritten.close();
  rmSync(join(folder, 'storage', 'index'), { recursive: true });
  const search = await TestableSearch.open(folder, [table], patient);
  const fromScan = await timed(() => search.find(table, everything));
  const indexingDelay = delay.percentile(99) / 1e6 - resolutionMs;
  delay.reset();
  const found = await latencies((index) => search.index.search(table, { q: wordsOf(index), query_by: 'title', filter_by: 'staff:>500', sort_by: 'price:desc', prefix: false }));
  // Documents arrive while others search, no faster than they can be indexed: searches wait for that.
  let isOver = false;
  const writing = (async () => {
    for (let batch = 0; !isOver; batch++) {
      await search.put(table, ...Array.from({ length: 100 }, (_, index) => ({ ...documentAt(batch * 100 + index) })));
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  })();
  await Promise.all(Array.from({ length: 8 }, async (_, searcher) => {
    for (let index = 0; index < 100; index++) await search.index.search(table, { q: wordsOf(index * 8 + searcher), query_by: 'title', facet_by: 'city,tags', per_page: 50 });
  }));
  isOver = true;
  await writing;
  delay.disable();
  await search.close();
  return {
    indexing: { log: documentCount / fromLog, updates: documentCount / fromUpdates, scan: documentCount / fromScan },
    ...found,
    eventLoop: { indexingP99: indexingDelay, searchingP99: delay.percentile(99) / 1e6 - resolutionMs, searchingMax: delay.max / 1e6 - resolutionMs },
  };
}

async function plain(folder: string): Promise<Side> {
  const database = new DatabaseSync(join(folder, 'plain.sqlite'));
  database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA cache_size = -32768;
    CREATE TABLE rows (rowid INTEGER PRIMARY KEY, id TEXT UNIQUE, title TEXT, city TEXT, staff INTEGER, price REAL, tags TEXT, document TEXT);
    CREATE INDEX rows_city ON rows (city); CREATE INDEX rows_staff ON rows (staff); CREATE INDEX rows_price ON rows (price);
    CREATE VIRTUAL TABLE words USING fts5(title, city, tags, content='', contentless_delete=1, prefix='1 2', tokenize='unicode61 remove_diacritics 2');`);
  const row = database.prepare('INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?)');
  const words = database.prepare('INSERT INTO words (rowid, title, city, tags) VALUES (?, ?, ?, ?)');
  const seconds = await timed(() => {
    for (let first = 0; first < documentCount; first += 2 * batchSize) {
      database.exec('BEGIN');
      for (let index = first; index < Math.min(first + 2 * batchSize, documentCount); index++) {
        const { id, title, city, staff, price, tags } = JSON.parse(texts[index] as string) as Document;
        row.run(index + 1, id, title, city, staff, price, JSON.stringify(tags), texts[index] as string);
        words.run(index + 1, title, city, tags.join('\n'));
      }
      database.exec('COMMIT');
    }
  });
  const found = 'FROM words JOIN rows ON rows.rowid = words.rowid WHERE words MATCH ? AND staff > 500';
  const hits = database.prepare(`SELECT document ${found} ORDER BY price DESC LIMIT 10`);
  const count = database.prepare(`SELECT count(*) ${found}`);
  const result = await latencies((index) => {
    const match = `{title} : (${wordsOf(index).split(' ').map((one) => `"${one}"`).join(' AND ')})`;
    return [hits.all(match), count.get(match)];
  });
  database.close();
  return { indexing: { memory: documentCount / seconds }, ...result };
}

const median = (values: number[]): number => values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)] as number;

const sides: { ours: Side[]; plain: Side[] } = { ours: [], plain: [] };
for (let round = 0; round < rounds; round++) {
  for (const [name, measure] of [['ours', ours], ['plain', plain]] as const) {
    const folder = mkdtempSync(join(tmpdir(), 'binnacle-bench-'));
    sides[name].push(await measure(folder));
    rmSync(folder, { recursive: true });
  }
}
const of = (name: 'ours' | 'plain', pick: (side: Side) => number | undefined): number => median(sides[name].map((side) => pick(side) ?? NaN));
const memory = of('plain', ({ indexing }) => indexing['memory']);
for (const way of ['log', 'updates', 'scan']) {
  const rate = of('ours', ({ indexing }) => indexing[way]);
  console.log(`indexing ${documentCount} documents (${way}): ${Math.round(rate)}/s; plain FTS5 ${Math.round(memory)}/s; ratio ${(rate / memory).toFixed(2)}`);
}
for (const percentile of ['p50', 'p99'] as const) {
  const [own, peer] = [of('ours', (side) => side[percentile]), of('plain', (side) => side[percentile])];
  console.log(`search ${percentile}: ${own.toFixed(2)} ms; plain FTS5 ${peer.toFixed(2)} ms; ratio ${(own / peer).toFixed(2)}`);
}
for (const what of ['indexingP99', 'searchingP99', 'searchingMax']) console.log(`event loop delay, ${what}: ${of('ours', ({ eventLoop }) => eventLoop?.[what]).toFixed(1)} ms`);
