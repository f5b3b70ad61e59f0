import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ownRows } from '../../test/testable-rows.js';
import { TestableSearch, tableOf } from '../../test/testable-search.js';
import type { SearchIndex } from '../search/search-index.js';
import type { Catalog } from '../tables/catalog.js';
import { DocumentWriter } from './document-writer.js';
import type { LargeDocuments } from './large-documents.js';
import { MatchingRows } from './matching-rows.js';

const shops = tableOf(1, { city: 'string', staff: 'int32', tags: 'string[]' });
const none = { durability: 'none' } as const;
let folder: string;
let search: TestableSearch;
let matching: MatchingRows;
/** What others do between the index's answer and the writes. */
let meanwhile: () => Promise<unknown>;
/** Rows that have gone to another node. */
let isAway: (handle: Uint8Array) => boolean;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'binnacle-matching-'));
  search = await TestableSearch.open(folder, [shops]);
  const index = {
    matching: async (...given: Parameters<SearchIndex['matching']>) => {
      const found = await search.index.matching(...given);
      await meanwhile();
      return found;
    },
  };
  meanwhile = async () => undefined;
  // Patched apart when they are larger than what one batch may hold up the thread for.
  const large = { patch: async (_table: unknown, patch: Buffer, _request: unknown, current: Buffer) => Buffer.from(JSON.stringify({ ...JSON.parse(current.toString()), ...JSON.parse(patch.toString()) })) };
  isAway = () => false;
  const regions = ownRows(search.rows.store, () => shops, (handle) => isAway(handle));
  const writer = new DocumentWriter(regions, large as unknown as LargeDocuments, { newest: () => shops } as unknown as Catalog);
  matching = new MatchingRows(search.rows.store, index as unknown as SearchIndex, writer, regions);
  await search.put(shops, ...['a', 'b', 'c', 'd'].map((id) => ({ id, city: 'Bern', staff: 1 })));
});

afterEach(async () => {
  await search.close();
  rmSync(folder, { recursive: true });
});

const change = () => search.put(shops, { id: 'a', city: 'Genf', staff: 1 }, { id: 'b', city: 'Old Bern', staff: 2 });

async function documents(): Promise<Record<string, unknown>> {
  const found: Record<string, unknown> = {};
  for await (const { handle, document } of search.rows.store.scan(shops.id)) found[handle.toString()] = (({ city, staff }) => `${city} ${staff}`)(JSON.parse(document.toString()));
  return found;
}

test('a row that stopped matching before its turn is not deleted; one that changed and matches still is', async () => {
  meanwhile = () => Promise.all([change(), search.delete(shops, 'd')]);
  expect(await matching.delete(shops, 'city:Bern', none)).toBe(2);
  expect(await documents()).toEqual({ a: 'Genf 1' });
});

test.each([['small', 1], ['patched apart', 100_000]])('nor is it patched (%s)', async (_name, length) => {
  const note = 'x'.repeat(length);
  meanwhile = () => search.put(shops, { id: 'a', city: 'Genf', staff: 1, note }, { id: 'b', city: 'Old Bern', staff: 2, note });
  const how = { dirtyValues: 'reject', ...none } as const;
  expect(await matching.patch(shops, 'city:Bern && staff:<3', Buffer.from('{"staff":7}'), how)).toBe(3);
  expect(await documents()).toEqual({ a: 'Genf 1', b: 'Old Bern 7', c: 'Bern 7', d: 'Bern 7' });
});

test('a large one that was changed is left, and whoever asked is told', async () => {
  meanwhile = () => search.put(shops, { id: 'a', city: 'Bern', note: 'x'.repeat(300_000) });
  await expect(matching.delete(shops, 'city:Bern', none)).rejects.toMatchObject({ code: 'CONFLICT', message: expect.stringContaining('id a') });
  expect(await search.rows.store.get(shops.id, Buffer.from('a'))).toBeDefined();
});

test('without a filter everything goes, changed or not', async () => {
  meanwhile = change;
  expect(await matching.delete(shops, undefined, none)).toBe(4);
});

test('the rest is deleted or patched although a row went to another node meanwhile, and whoever asked is told', async () => {
  const how = { dirtyValues: 'reject', ...none } as const;
  meanwhile = async () => (isAway = (handle) => handle.toString() === 'a');
  await expect(matching.patch(shops, 'city:Bern', Buffer.from('{"staff":7}'), how)).rejects.toMatchObject({ code: 'NO_TARGET' });
  expect(await documents()).toEqual({ a: 'Bern 1', b: 'Bern 7', c: 'Bern 7', d: 'Bern 7' });
  await expect(matching.delete(shops, 'city:Bern', none)).rejects.toMatchObject({ code: 'NO_TARGET' });
  expect(await documents()).toEqual({ a: 'Bern 1' });
});
