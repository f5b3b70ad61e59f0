import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { computeTable } from '../../test/compute-table.js';
import { type Found, TestableSearch } from '../../test/testable-search.js';
import { TestableCompute } from '../../test/testable-compute.js';
import type { LargeDocuments } from '../documents/large-documents.js';
import type { SearchRequest } from '../search/search-query.js';
import { RemoteSearch } from './remote-search.js';

const table = computeTable(
  1,
  {
    title: 'string facet sort',
    tags: 'string[] facet',
    year: 'int32 facet',
    big: 'int64 facet',
    price: 'float facet',
    good: 'bool facet',
    flags: 'bool[] facet',
    years: 'int32[] facet',
    'address.city': 'string facet sort',
    'parts.name': 'string[] facet',
  },
  3,
);
const scored = { ...table, id: 2, name: 'table2', regions: computeTable(2, {}, 3).regions };
const folder = mkdtempSync(join(tmpdir(), 'binnacle-search-twin-'));
let index: TestableSearch;
let compute: TestableCompute;
let remote: RemoteSearch;

/** The same numbers in every run: a failure can be looked at. */
let seed = 20_260_131;
const random = (below: number): number => {
  seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
  return Math.floor((seed / 2 ** 32) * below);
};
const one = <T>(...choices: readonly T[]): T => choices[random(choices.length)] as T;
const some = <T>(make: () => T): T[] => Array.from({ length: random(4) }, make);
const word = (): string => one('sea', 'Séa', 'SEA', 'season', 'élan', 'elan', 'the', 'o’neil', "o'neil", 'a-b', 'ab', 'x1', '42', 'żółw', '日本', 'ünter', 'ñ');
const text = (): string => Array.from({ length: 1 + random(6) }, word).join(one(' ', '  ', ', ', '\n', '.'));
const int = (): number => one(-5, 0, 1, 2, 7, 1900, 1999, 2024);

function document(id: string): { id: string; [field: string]: unknown } {
  const fields: Record<string, unknown> = {
    title: text(),
    tags: some(text),
    year: int(),
    big: one(1, 2 ** 40, -(2 ** 45), 9_007_199_254_740_991),
    price: one(0.5, 1, -2.25, 100, 3),
    good: one(true, false),
    flags: some(() => one(true, false)),
    years: some(int),
    address: one<unknown>({ city: text() }, {}, { city: 'Paris' }),
    parts: some(() => one<unknown>({ name: word() }, { name: [word(), word()] }, {})),
    other: 'not in the schema',
  };
  return { id, ...Object.fromEntries(Object.entries(fields).filter(() => random(6) > 0)) };
}

function filter(depth = 0): string {
  if (depth < 2 && random(3) === 0) return `(${filter(depth + 1)} ${one('&&', '||')} ${filter(depth + 1)})`;
  const number = (): string => String(int());
  return one(
    () => `title:${one('', '=', '!=', '!')}${one(word(), `\`${text().replaceAll('`', '')}\``, `${word().slice(0, 2)}*`, '*')}`,
    () => `tags:${one('', '=', '!=')}[${word()}, ${word()}]`,
    () => `year:${one('', '=', '!=', '<', '>=', '>')}${number()}`,
    () => `year:[${number()}..${number()}, ${number()}]`,
    () => `years:${one('', '!=', '<', '>')}${number()}`,
    () => `big:${one('', '>', '<=')}${one('1', '1099511627776', '9007199254740991')}`,
    () => `price:${one('', '<', '>=', '!=')}${one('0.5', '1', '3.0', '-2.25')}`,
    () => `good:${one('', '=', '!=')}${one('true', 'false')}`,
    () => `flags:${one('', '!=')}[${one('true', 'false')}]`,
    () => `address.city:${one('', '=', '!=')}${one('Paris', word(), '*')}`,
    () => `parts.name:${one('', '=', '!=')}${word()}`,
    () => `id:${one('', '!=')}${one('k1', 'k2*', '[k3, k4, k55]')}`,
  )();
}

function request(): SearchRequest {
  const q = one('*', '*', word(), `${word()} ${word()}`, word().slice(0, 2), '…', `${word()} ${word().slice(0, 1)}`);
  return {
    q,
    query_by: one('title', 'title,tags', 'tags,address.city,parts.name', 'address.city'),
    per_page: one(5, 50, 250, 0),
    page: one(1, 1, 2),
    ...(random(3) > 0 && { filter_by: filter() }),
    // Scores are compared where nothing was overwritten: FTS5 counts what was among its rows.
    ...((q !== '*' || random(2) > 0) && { sort_by: one('year:asc', 'price:desc,title:asc', 'title:desc', 'good:asc,big:desc', 'address.city:asc') }),
    ...(random(2) > 0 && { facet_by: one('title', 'tags,year', 'price,good,flags', 'years,big', 'address.city,parts.name'), max_facet_values: one(3, 10, 250) }),
    ...(random(3) === 0 && { prefix: 'false' }),
    ...(random(4) === 0 && { include_fields: 'id,title,address.city' }),
    ...(random(4) === 0 && { exclude_fields: 'tags' }),
  };
}

beforeAll(async () => {
  index = await TestableSearch.open(folder, [table, scored]);
  compute = await TestableCompute.open({ tables: [table, scored], regionCount: 3, freshBytesMax: 2 ** 24 });
  const limits = { rowsMax: 1, timeoutMs: 30_000, viewTimeoutMs: 10_000, memoryMegabytes: 256, threads: 2 };
  remote = new RemoteSearch({ processes: compute.processes, queries: compute.queries, large: {} as LargeDocuments, limits });
  for (let round = 0; round < 6; round++) {
    const documents = Array.from({ length: 60 }, () => document(`k${random(250)}`));
    for (const put of documents) {
      await index.put(table, put);
      await compute.put(table, put);
    }
    const gone = [`k${random(250)}`, `k${random(250)}`];
    await index.delete(table, ...gone);
    await compute.remove(table, ...gone);
    if (round < 5) await compute.upload();
  }
  for (let number = 0; number < 120; number++) {
    const put = document(`s${number}`);
    await index.put(scored, put);
    await compute.put(scored, put);
  }
});

afterAll(async () => {
  await index.close();
  await compute.close();
  rmSync(folder, { recursive: true });
});

/** Scores may differ in their last digits. */
const rounded = (found: Found & { search_time_ms?: number }): unknown => ({
  ...found,
  search_time_ms: 0,
  hits: found.hits.map((hit) => ({ ...hit, ...(hit.text_match !== undefined && { text_match: Number(hit.text_match.toPrecision(9)) }) })),
  facet_counts: found.facet_counts.map((facet) => ({ ...facet, stats: Object.fromEntries(Object.entries(facet.stats).map(([name, value]) => [name, Number(value.toPrecision(12))])) })),
});

test('searches have the answers of the search index, over random documents and queries', async () => {
  for (let round = 0; round < 60; round++) {
    const asked = request();
    const expected = await index.find(table, asked);
    const answer = JSON.parse((await remote.search(table, asked, new AbortController().signal)).body.toString()) as Found;
    expect({ asked, answer: rounded(answer) }).toEqual({ asked, answer: rounded(expected) });
  }
});

test('relevance is scored as by the search index', async () => {
  for (const q of ['sea', 'the', 'sea elan', 'ab s', 'x1 42 s', 'żółw', 'se']) {
    const asked = { q, query_by: one('title', 'title,tags', 'tags,parts.name'), per_page: 250 };
    const scores = ({ hits }: Found): unknown => hits.map((hit) => [hit.document['id'], hit.text_match?.toPrecision(9)]).sort();
    const answer = JSON.parse((await remote.search(scored, asked, new AbortController().signal)).body.toString()) as Found;
    expect({ asked, scores: scores(answer) }).toEqual({ asked, scores: scores(await index.find(scored, asked)) });
    expect(answer.hits.map((hit) => hit.text_match)).toEqual(answer.hits.map((hit) => hit.text_match).toSorted((a, b) => (b ?? 0) - (a ?? 0)));
  }
});

test('what is wrong with a search is told in the same words', async () => {
  for (const asked of [{}, { q: 'a' }, { q: 'a', query_by: 'nothing' }, { q: '*', filter_by: 'year:abc' }, { q: '*', facet_by: 'nothing' }, { q: '*', sort_by: 'tags:asc' }]) {
    const expected = await index.index.search(table, asked).catch((error: Error) => error.message);
    await expect(remote.search(table, asked, new AbortController().signal)).rejects.toThrow(expected as string);
  }
});

test('an export has all documents that match, by their ids, as they were written', async () => {
  const exported: string[] = [];
  await remote.export(table, 'year:>1000', new AbortController().signal, async (rows) => {
    for await (const { document: bytes } of rows) exported.push(bytes.toString());
  });
  const { hits } = await index.find(table, { q: '*', filter_by: 'year:>1000', per_page: 250 });
  const expected = hits.map(({ document: found }) => JSON.stringify(found)).sort((a, b) => Buffer.compare(Buffer.from(idOf(a)), Buffer.from(idOf(b))));
  expect(exported).toEqual(expected);
});

function idOf(text: string): string {
  return (JSON.parse(text) as { id: string }).id;
}
