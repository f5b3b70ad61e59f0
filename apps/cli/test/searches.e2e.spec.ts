import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { waitUntil } from '@binnacle/testing/wait-until';
import { Client } from 'typesense';
import { portsOf, type ProductProcess, startEmbedded, temporaryFolder } from './product.js';

const ports = portsOf('searches');
const folder = temporaryFolder('searches');

interface Shop {
  readonly id: string;
  readonly name: string;
  readonly city: string;
  readonly staff: number;
  readonly tags: string[];
}

const shops: Shop[] = [
  { id: '1', name: 'Red Shoes', city: 'Bern', staff: 5, tags: ['sale', 'new'] },
  { id: '2', name: 'Blue Boots', city: 'Bern', staff: 50, tags: ['sale'] },
  { id: 'c/3', name: 'Café Crème', city: 'Genève', staff: 7, tags: [] },
];

describe('searches, as the client of Typesense makes them', () => {
  const client = new Client({ nodes: [{ host: '127.0.0.1', port: ports.typesense, protocol: 'http' }], apiKey: 'none needed on loopback', numRetries: 0, logLevel: 'silent' });
  const documents = () => client.collections<Shop>('shops').documents();
  let product: ProductProcess;

  beforeAll(async () => {
    product = await startEmbedded('searches', folder.path);
    await client.collections().create({
      name: 'shops',
      fields: [
        { name: 'name', type: 'string', sort: true },
        { name: 'city', type: 'string', facet: true },
        { name: 'staff', type: 'int32' },
        { name: 'tags', type: 'string[]', facet: true },
      ],
      default_sorting_field: 'staff',
    });
    await documents().import([...shops]);
  });

  afterAll(async () => {
    await product.stop();
    folder.remove();
  });

  test('words, filters, order, pages, facets and fields', async () => {
    const found = await documents().search({ q: 'boo', query_by: 'name,city', filter_by: 'city:=Bern && staff:>10', facet_by: 'tags', include_fields: 'id,name' });
    expect(found).toMatchObject({ found: 1, out_of: 3, page: 1, request_params: { collection_name: 'shops', q: 'boo', per_page: 10 }, search_cutoff: false });
    expect(found.hits?.map(({ document }) => document)).toEqual([{ id: '2', name: 'Blue Boots' }]);
    expect(found.facet_counts?.[0]).toMatchObject({ field_name: 'tags', counts: [{ value: 'sale', count: 1 }] });
    const names = async (parameters: object) => (await documents().search({ q: '*', ...parameters })).hits?.map(({ document }) => document.name);
    expect(await names({})).toEqual(['Blue Boots', 'Café Crème', 'Red Shoes']);
    expect(await names({ sort_by: 'name:desc', per_page: 1, page: 2 })).toEqual(['Café Crème']);
    expect(await names({ filter_by: 'id:[c/3, `1`]', sort_by: 'staff:asc' })).toEqual(['Red Shoes', 'Café Crème']);
  });

  test('many searches at once, each with its own result or error', async () => {
    const { results } = await client.multiSearch.perform(
      { searches: [{ collection: 'shops', q: 'cafe' }, { collection: 'nothing', q: '*' }, { collection: 'shops', q: '*', filter_by: 'size:1' }] },
      { query_by: 'name' },
    );
    expect(results).toMatchObject([
      { found: 1, hits: [{ document: { id: 'c/3' } }] },
      { code: 404, error: 'Collection not found' },
      { code: 400, error: 'Could not find a filter field named `size` in the schema.' },
    ]);
  });

  test('what is wrong is said in the words the client knows', async () => {
    await expect(documents().search({ q: 'x', query_by: 'size' as 'name' })).rejects.toMatchObject({ httpStatus: 404, message: expect.stringContaining('Could not find a field named `size` in the schema.') });
    await expect(documents().search({ q: '*', filter_by: 'staff:x' })).rejects.toMatchObject({ httpStatus: 400, message: expect.stringContaining('Numerical field has an invalid comparator.') });
  });

  test('a multi_search without searches, with too many, or of no JSON is refused; browsers send it as text', async () => {
    const post = async (body: string, type = 'application/json') => {
      const response = await fetch(`http://127.0.0.1:${ports.typesense}/multi_search`, { method: 'POST', body, headers: { 'content-type': type } });
      return [response.status, ((await response.json()) as { message?: string }).message];
    };
    const search = { collection: 'shops', q: '*' };
    expect(await post('{}')).toEqual([400, 'Missing `searches` array.']);
    expect(await post('{', 'text/plain')).toEqual([400, 'Bad JSON.']);
    expect(await post(JSON.stringify({ searches: Array(51).fill(search) }))).toEqual([400, 'Number of multi searches exceeds `limit_multi_searches` parameter.']);
    expect(await post(JSON.stringify({ searches: [search] }), 'text/plain')).toEqual([200, undefined]);
  });

  test('changes and deletions by a filter, and then a search without them', async () => {
    expect(await documents().update({ city: 'Basel' } as Shop, { filter_by: 'staff:<10' })).toEqual({ num_updated: 2 });
    expect((await documents().search({ q: 'basel', query_by: 'city' })).found).toBe(2);
    expect(await documents().delete({ filter_by: 'tags:=sale' })).toMatchObject({ num_deleted: 2 });
    expect((await documents().search({ q: '*' })).hits?.map(({ document }) => document.id)).toEqual(['c/3']);
    expect(await documents().export({ filter_by: 'city: basel' })).toBe(JSON.stringify({ ...shops[2], city: 'Basel' }));
    await documents().import([...shops], { action: 'upsert' });
  });

  test('cached answers, and how many of those that were asked for there were', async () => {
    const search = () => documents().search({ q: '*', use_cache: true });
    await search();
    const before = (await search()).found;
    await documents().upsert({ ...(shops[0] as Shop), id: '4' });
    expect((await search()).found).toBe(before + 1);
    expect(await client.operations.perform('cache/clear')).toEqual({ success: true });
    await waitUntil(async () => ((await client.stats.retrieve()) as unknown as { cache_hit_ratio: number }).cache_hit_ratio > 0, { intervalMs: 200 });
  });
});
