import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tableOf, TestableSearch } from './testable-search.js';

const shops = tableOf(1, {
  name: 'string sort',
  tags: 'string[] facet',
  about: 'string',
  city: 'string facet',
  staff: 'int32 facet',
  founded: 'int64',
  rating: 'float facet',
  open: 'bool facet',
  'owner.name': 'string',
});

const documents = [
  { id: 'a', name: 'Red Shoes', tags: ['new', 'sale'], about: 'shoes and boots', city: 'Bern', staff: 5, rating: 4.5, open: true, owner: { name: 'Ann' } },
  { id: 'b', name: 'Blue Boots', tags: ['sale'], about: 'boots', city: 'Bern', staff: 50, rating: 3, open: false },
  { id: 'c', name: 'Café Crème', tags: ['new'], about: 'coffee, no shoes', city: 'Genève', staff: 7, rating: 4, open: true },
  { id: 'd', name: 'Dune', about: 'sand', city: 'Basel', staff: 5 },
];

describe('a search', () => {
  let folder: string;
  let search: TestableSearch;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'binnacle-search-'));
    search = await TestableSearch.open(folder, [shops]);
    await search.put(shops, ...documents);
  });

  afterEach(async () => {
    await search.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const all = 'name,tags,about,city';

  test.each([
    ['everything, the newest first', { q: '*' }, 'd c b a'],
    ['a word in any of the fields', { q: 'shoes', query_by: 'name,about' }, 'a c'],
    ['all words, wherever they are', { q: 'shoes red', query_by: 'name,about' }, 'a'],
    ['the last word by its beginning', { q: 'red sho', query_by: 'name' }, 'a'],
    ['the last word as a whole, when asked to', { q: 'sho', query_by: 'name', prefix: 'false' }, ''],
    ['words whatever their case and accents', { q: 'CREME cafe', query_by: 'name' }, 'c'],
    ['words of an array', { q: 'sale', query_by: 'tags', sort_by: 'staff:asc' }, 'a b'],
    ['no words at all: nothing', { q: '???', query_by: all }, ''],
    ['what would be syntax: words', { q: '"red" OR (blue', query_by: 'name' }, ''],
    ['a nested field', { q: 'ann', query_by: 'owner.name' }, 'a'],
    ['with a filter', { q: 'boots', query_by: all, filter_by: 'city:=Bern && staff:>5' }, 'b'],
    ['sorted by several fields', { q: '*', sort_by: 'staff:asc, name:desc' }, 'a d c b'],
    ['sorted, those without a value last', { q: '*', sort_by: 'rating:asc' }, 'b c a d'],
    ['in pages', { q: '*', sort_by: 'name:asc', per_page: '2', page: '2' }, 'd a'],
    ['in pages, the first of which is also 0', { q: '*', sort_by: 'name:desc', per_page: '2', page: '0' }, 'a d'],
    ['from a place on', { q: '*', sort_by: 'name:asc', limit: '2', offset: '2' }, 'd a'],
    ['from an offset', { q: '*', sort_by: 'name:asc', offset: 1, limit: 2 }, 'c d'],
  ])('finds %s', async (_what, request, expected) => {
    expect(await search.ids(shops, request)).toBe(expected);
  });

  test('says how many there are, and counts facets', async () => {
    const { facet_counts: facets, ...found } = await search.find(shops, { q: 'boots', query_by: all, facet_by: 'city,tags,open,rating', per_page: 1 });
    expect(found).toMatchObject({ found: 2, out_of: 4, page: 1, request_params: { collection_name: 'table1', q: 'boots', per_page: 1 }, search_cutoff: false });
    expect(found.hits).toHaveLength(1);
    expect(facets.map(({ field_name: name, counts }) => [name, counts.map(({ value, count }) => `${value} ${count}`)])).toEqual([
      ['city', ['Bern 2']],
      ['tags', ['sale 2', 'new 1']],
      ['open', ['false 1', 'true 1']],
      ['rating', ['3 1', '4.5 1']],
    ]);
    expect(facets[3]?.stats).toEqual({ min: 3, max: 4.5, avg: 3.75, sum: 7.5, total_values: 2 });
  });

  test('answers with documents as they were written, digit for digit, and with the fields that are wanted', async () => {
    await search.putText(shops, [['big', '{"id":"big", "founded":9007199254740993, "rating":1.0}']]);
    const { body } = await search.index.search(shops, { q: '*', filter_by: 'founded:=9007199254740993' });
    expect(body.toString()).toContain('"document":{"id":"big", "founded":9007199254740993, "rating":1.0}');
    expect((await search.find(shops, { q: '*', filter_by: 'founded:=9007199254740992' })).found).toBe(0);
    const { hits } = await search.find(shops, { q: '*', filter_by: 'id:a', include_fields: 'name,owner.name' });
    expect(hits[0]?.document).toEqual({ name: 'Red Shoes', owner: { name: 'Ann' } });
  });

  test('works on a table without any text, to the last digit', async () => {
    const numbers = search.setTable(tableOf(7, { counts: 'int64[] facet' }));
    await search.putText(numbers, [['a', '{"id":"a","counts":[9007199254740993,1]}'], ['b', '{"id":"b","counts":[9007199254740992]}']]);
    const { hits, facet_counts: facets } = await search.find(numbers, { q: '*', filter_by: 'counts:=9007199254740993', facet_by: 'counts' });
    expect(hits).toHaveLength(1);
    expect(facets[0]?.counts.map(({ value }) => value)).toEqual(['1', '9007199254740993']);
  });

  test('sees what was changed and deleted', async () => {
    await search.put(shops, { id: 'a', name: 'Green Hats' });
    await search.delete(shops, 'b');
    expect(await search.ids(shops, { q: 'boots', query_by: all })).toBe('');
    expect(await search.ids(shops, { q: 'green', query_by: all })).toBe('a');
    expect(await search.find(shops, { q: '*' })).toMatchObject({ found: 3, out_of: 3 });
  });

  test('an answer tells the page, or the offset where that was asked for', async () => {
    expect(await search.find(shops, { q: '*', page: 0 })).toMatchObject({ page: 1 });
    const found = await search.find(shops, { q: '*', offset: 1 });
    expect(found).toMatchObject({ offset: 1 });
    expect(found).not.toHaveProperty('page');
  });

  test('ids of what matches come in pages, by their bytes', async () => {
    expect((await search.index.matching(shops, 'staff:>0', undefined, 3)).rows.map(({ id }) => id)).toEqual(['a', 'b', 'c']);
    expect((await search.index.matching(shops, 'staff:>0', 'c', 3)).rows.map(({ id }) => id)).toEqual(['d']);
  });

  test.each([
    [{ query_by: 'name' }, 'BAD_REQUEST', 'Parameter `q` is required.'],
    [{ q: 'x' }, 'BAD_REQUEST', 'No search fields specified for the query.'],
    [{ q: 'x', query_by: 'nothing' }, 'NOT_FOUND', 'Could not find a field named `nothing` in the schema.'],
    [{ q: 'x', query_by: 'staff' }, 'BAD_REQUEST', 'Field `staff` should be a string or a string array.'],
    [{ q: '*', facet_by: 'name' }, 'NOT_FOUND', 'Could not find a facet field named `name` in the schema.'],
    [{ q: '*', sort_by: 'about:asc' }, 'NOT_FOUND', 'Could not find a field named `about` in the schema for sorting.'],
    [{ q: 'x', query_by: 'id' }, 'BAD_REQUEST', 'Cannot use `id` as a query by field.'],
    [{ q: '*', sort_by: 'staff' }, 'BAD_REQUEST', 'Parameter `sort_by` is malformed.'],
    [{ q: '*', sort_by: 'staff:up' }, 'BAD_REQUEST', 'Order for field` staff` should be either ASC or DESC.'],
    [{ q: '*', sort_by: 'staff:asc,name:asc,rating:asc,open:asc' }, 'BAD_REQUEST', 'Only upto 3 sort fields are allowed.'],
    [{ q: '*', per_page: 251 }, 'LIMIT_EXCEEDED', 'Only upto 250 hits can be fetched per page.'],
    [{ q: '*', per_page: '1; DROP' }, 'BAD_REQUEST', 'Parameter `per_page` must be an unsigned integer.'],
    [{ q: '*', filter_by: 'x:1' }, 'BAD_REQUEST', 'Could not find a filter field named `x` in the schema.'],
    [{ q: '*', group_by: 'city' }, 'BAD_REQUEST', '`group_by` is not supported.'],
  ])('%j is refused', async (request, code, message) => {
    await expect(search.index.search(shops, request)).rejects.toMatchObject({ code, message });
  });
});
