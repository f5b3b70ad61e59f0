import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { waitUntil } from '@binnacle/testing/wait-until';
import type { SearchAnswer } from '../src/search/search-index.js';
import { tableOf, TestableSearch } from './testable-search.js';

const notes = tableOf(1, { text: 'string', stamp: 'int32' });
const others = tableOf(2, { text: 'string' });
const request = { q: 'note', query_by: 'text', use_cache: 'true' };

let folder: string;
let search: TestableSearch;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'binnacle-search-'));
  search = await TestableSearch.open(folder, [notes, others], (config) => (config.storage.cacheMegabytesMax = 1));
  await search.put(notes, { id: 'a', text: 'note', stamp: 1 });
});

afterEach(async () => {
  await search.close();
  rmSync(folder, { recursive: true, force: true });
});

const cacheOf = async (asked: object = request): Promise<SearchAnswer['cache']> => (await search.index.search(notes, asked as typeof request)).cache;

test('the same search is answered from the cache, any other one is not, nor one that did not ask', async () => {
  const first = await search.index.search(notes, request);
  const second = await search.index.search(notes, { ...request, use_cache: true });
  expect([first.cache, second.cache]).toEqual(['miss', 'hit']);
  expect(second.body).toEqual(first.body);
  expect(await cacheOf({ ...request, per_page: 1 })).toBe('miss');
  expect(await cacheOf({ ...request, filter_by: 'stamp:1' })).toBe('miss');
  expect(await cacheOf({ ...request, filter_by: 'stamp:2' })).toBe('miss');
  expect(await cacheOf({ ...request, use_cache: 'false' })).toBeUndefined();
  expect(await cacheOf({ ...request, cache_ttl: 0 })).toBeUndefined();
});

test('a write to the table makes its answers unfindable, a write to another one does not', async () => {
  await cacheOf();
  await search.put(others, { id: 'o', text: 'note' });
  expect(await cacheOf()).toBe('hit');
  await search.delete(notes, 'a');
  expect((await search.find(notes, request)).found).toBe(0);
  await search.put(notes, { id: 'b', text: 'note' });
  expect((await search.find(notes, request)).found).toBe(1);
});

test('however writes and searches overlap, no cached answer is older than a write acknowledged before it was asked for', async () => {
  let acknowledged = 1;
  let isOver = false;
  let hits = 0;
  const writing = (async () => {
    for (let stamp = 2; stamp < 400; stamp++) {
      await search.put(notes, { id: 'a', text: 'note', stamp });
      acknowledged = stamp;
      // Now and then long enough for an answer to be found again.
      const hitsBefore = hits;
      if (stamp % 50 === 0) await waitUntil(() => hits > hitsBefore);
    }
    isOver = true;
  })();
  const searcher = async (): Promise<void> => {
    while (!isOver) {
      // A cached answer comes without a turn of the event loop, which the writes need.
      await new Promise((resolve) => setImmediate(resolve));
      const known = acknowledged;
      const { body, cache } = await search.index.search(notes, request);
      const { hits: found } = JSON.parse(body.toString()) as { hits: { document: { stamp: number } }[] };
      if (cache === 'hit') hits++;
      expect(found[0]?.document.stamp).toBeGreaterThanOrEqual(known);
    }
  };
  await Promise.all([writing, ...Array.from({ length: 8 }, searcher)]);
});

test('a schema that changes begins with no answers', async () => {
  await cacheOf();
  search.setTable({ ...notes, fields: notes.fields.slice(0, 1), schemaVersion: 2 });
  expect(await cacheOf()).toBe('miss');
});

test('identical searches at the same time are run once', async () => {
  const key = 'k';
  let runs = 0;
  const run = async (): Promise<SearchAnswer> => {
    runs++;
    await new Promise((resolve) => setImmediate(resolve));
    return { body: Buffer.from('{}') };
  };
  await Promise.all(Array.from({ length: 20 }, () => search.cache.answer(key, 60, run)));
  expect(runs).toBe(1);
  await expect(search.cache.answer('other', 60, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect((await search.cache.answer('other', 60, run)).cache).toBe('miss');
});

test('entries and bytes are limited, and so is their age', async () => {
  search.changeSettings({ cacheNumEntries: 2 });
  const answer = (key: string, bytes = 2, ttlS = 60): Promise<SearchAnswer> => search.cache.answer(key, ttlS, async () => ({ body: Buffer.alloc(bytes) }));
  for (const key of ['a', 'b', 'a', 'c']) await answer(key);
  expect((await answer('b')).cache).toBe('miss');
  search.changeSettings({ cacheNumEntries: 100 });
  for (const key of ['a', 'b', 'c']) await answer(key, 500_000);
  expect((await answer('c')).cache).toBe('hit');
  expect((await answer('a')).cache).toBe('miss');
  // An answer that is larger than all the room there is.
  await answer('large', 2_000_000);
  expect((await answer('large')).cache).toBe('miss');
  await answer('old', 2, 0.05);
  await waitUntil(async () => (await answer('old', 2, 60)).cache === 'miss');
  search.changeSettings({ cacheNumEntries: 0 });
  await answer('d');
  expect((await answer('d')).cache).toBe('miss');
});

test('once cleared, nothing is known', async () => {
  await cacheOf();
  search.cache.clear();
  expect(await cacheOf()).toBe('miss');
});
