import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { request, type IncomingMessage } from 'node:http';
import { waitUntil } from '@binnacle/testing/wait-until';
import { Client, Errors } from 'typesense';
import { portsOf, type ProductProcess, startEmbedded, temporaryFolder } from './product.js';

const ports = portsOf('tables');
const folder = temporaryFolder('tables');

interface Book {
  readonly id?: string;
  readonly title?: string;
  readonly year?: number;
  readonly tags?: string[] | null;
}

/** What the client was refused with: status and message. */
async function refusal(work: Promise<unknown>): Promise<[number | undefined, string]> {
  try {
    await work;
  } catch (error) {
    const { httpStatus, message } = error as { httpStatus?: number; message: string };
    return [httpStatus, message.replace(/^.*Server said: /, '')];
  }
  return [undefined, 'not refused'];
}

describe('tables, as the client of Typesense knows them', () => {
  const client = new Client({ nodes: [{ host: '127.0.0.1', port: ports.typesense, protocol: 'http' }], apiKey: 'none needed on loopback', numRetries: 0, logLevel: 'silent' });
  const books = () => client.collections<Book>('books');
  let product: ProductProcess;

  beforeAll(async () => {
    product = await startEmbedded('tables', folder.path);
  });

  afterAll(async () => {
    await product.stop();
    folder.remove();
  });

  beforeEach(async () => {
    await books().delete().catch(() => undefined);
    await client.collections().create({
      name: 'books',
      fields: [
        { name: 'title', type: 'string' },
        { name: 'year', type: 'int32' },
        { name: 'tags', type: 'string[]', optional: true, facet: true },
      ],
      default_sorting_field: 'year',
    });
  });

  test('collections are made, shown, changed, listed and dropped', async () => {
    const shown = await books().retrieve();
    expect(shown).toMatchObject({ name: 'books', num_documents: 0, default_sorting_field: 'year', created_at: expect.any(Number) });
    expect(shown.fields.map(({ name, type, optional, facet }) => [name, type, optional, facet])).toEqual([
      ['title', 'string', false, false],
      ['year', 'int32', false, false],
      ['tags', 'string[]', true, true],
    ]);
    expect(await refusal(client.collections().create({ name: 'books', fields: [{ name: 'a', type: 'string' }] }))).toEqual([
      409,
      'A collection with name `books` already exists.',
    ]);
    await books().update({ fields: [{ name: 'pages', type: 'int32', optional: true }, { name: 'tags', drop: true }] });
    expect((await books().retrieve()).fields.map(({ name }) => name)).toEqual(['title', 'year', 'pages']);
    expect((await client.collections().retrieve()).map(({ name }) => name)).toContain('books');
    expect(await client.collections('books').exists()).toBe(true);
    expect(await books().delete()).toMatchObject({ name: 'books' });
    expect(await refusal(books().retrieve())).toEqual([404, 'Collection not found']);
    expect(await refusal(books().delete())).toEqual([404, 'No collection with name `books` found.']);
    expect(await client.collections('books').exists()).toBe(false);
  });

  test('single documents are created, put, patched, read and deleted', async () => {
    const documents = books().documents();
    expect(await documents.create({ id: '1', title: 'a', year: 2000 })).toEqual({ id: '1', title: 'a', year: 2000 });
    expect(await refusal(documents.create({ id: '1', title: 'a', year: 2000 }))).toEqual([409, 'A document with id 1 already exists.']);
    expect(await refusal(documents.create({ id: '2', title: 'a' }))).toEqual([
      400,
      'Field `year` has been declared as a default sorting field, but is not found in the document.',
    ]);
    expect(await refusal(documents.create({ title: 'a', year: 1.5 }))).toEqual([400, 'Field `year` must be an int32.']);
    expect(await documents.upsert({ id: '1', title: 'b', year: 1, tags: ['x'] })).toEqual({ id: '1', title: 'b', year: 1, tags: ['x'] });
    expect(await documents.update({ id: '1', year: 2 }, {})).toEqual({ id: '1', title: 'b', year: 2, tags: ['x'] });
    expect(await documents.emplace({ id: '3', title: 'c', year: 3 }, {})).toEqual({ id: '3', title: 'c', year: 3 });
    expect(await client.collections<Book>('books').documents('1').update({ tags: null })).toEqual({ id: '1', title: 'b', year: 2 });
    expect(await books().documents('1').retrieve()).toEqual({ id: '1', title: 'b', year: 2 });
    const { id } = (await documents.create({ title: 'generated', year: 4 })) as { id: string };
    expect(await books().documents(id).retrieve()).toEqual({ id, title: 'generated', year: 4 });
    expect((await books().retrieve()).num_documents).toBe(3);
    expect(await books().documents('1').delete()).toEqual({ id: '1', title: 'b', year: 2 });
    expect(await refusal(books().documents('1').delete())).toEqual([404, 'Could not find a document with id: 1']);
    expect(await refusal(books().documents('1').retrieve())).toEqual([404, 'Could not find a document with id: 1']);
  });

  test('an import says of each line what became of it, and everything is exported, patched and deleted by filter', async () => {
    const documents = books().documents();
    const lines = Array.from({ length: 2_500 }, (_, index) => ({ id: String(index).padStart(5, '0'), title: `title ${index}`, year: index }));
    expect((await documents.import(lines)).every(({ success }) => success)).toBe(true);
    const failed = await documents.import([{ id: 'x', title: 'x', year: 1 }, { id: '00000', title: 'there', year: 1 }, { title: 'no year' }], { return_id: true }).catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(Errors.ImportError);
    expect((failed as Errors.ImportError).importResults).toMatchObject([
      { success: true, id: 'x' },
      { success: false, code: 409, error: 'A document with id 00000 already exists.' },
      { success: false, code: 400 },
    ]);
    const exported = (await documents.export()).split('\n').map((line) => JSON.parse(line) as Book);
    expect(exported).toEqual([...lines, { id: 'x', title: 'x', year: 1 }]);
    expect(await documents.export({ filter_by: 'year:[10..12]', include_fields: 'id' })).toBe('{"id":"00010"}\n{"id":"00011"}\n{"id":"00012"}');
    expect(await documents.update({ tags: ['old'] }, { filter_by: 'year:<1000' })).toEqual({ num_updated: 1_001 });
    expect(await documents.delete({ filter_by: 'tags:=old' })).toEqual({ num_deleted: 1_001 });
    expect((await books().retrieve()).num_documents).toBe(1_500);
    expect(await documents.delete({ truncate: true })).toEqual({ num_deleted: 1_500 });
    expect(await documents.export()).toBe('');
  });

  test('aliases point at collections, also at ones that are not there yet', async () => {
    expect(await client.aliases().upsert('library', { collection_name: 'later' })).toEqual({ name: 'library', collection_name: 'later' });
    expect(await refusal(client.collections('library').retrieve())).toEqual([404, 'Collection not found']);
    await client.aliases().upsert('library', { collection_name: 'books' });
    await client.collections<Book>('library').documents().create({ id: '1', title: 'a', year: 1 });
    expect((await books().retrieve()).num_documents).toBe(1);
    expect(await client.aliases().retrieve()).toEqual({ aliases: [{ name: 'library', collection_name: 'books' }] });
    expect(await refusal(client.aliases().upsert('books', { collection_name: 'x' }))).toEqual([409, 'Name `books` conflicts with an existing collection name.']);
    expect(await client.aliases('library').retrieve()).toEqual({ name: 'library', collection_name: 'books' });
    expect(await client.aliases('library').delete()).toEqual({ name: 'library', collection_name: 'books' });
    expect(await refusal(client.aliases('library').retrieve())).toEqual([404, 'Not Found']);
  });

  test('skip-writes refuses every write, and no read', async () => {
    await books().documents().create({ id: '1', title: 'a', year: 1 });
    const set = (value: boolean) => fetch(`http://127.0.0.1:${ports.typesense}/config`, { method: 'POST', body: JSON.stringify({ 'skip-writes': value }) });
    await set(true);
    const skipped = [422, 'Skipping writes.'];
    try {
      expect(await refusal(client.collections().create({ name: 'b', fields: [{ name: 'a', type: 'string' }] }))).toEqual(skipped);
      expect(await refusal(books().documents().create({ title: 'b', year: 1 }))).toEqual(skipped);
      expect(await refusal(books().documents().import('{"title":"b","year":1}'))).toEqual(skipped);
      expect(await refusal(books().documents('1').update({ title: 'b' }))).toEqual(skipped);
      expect(await refusal(books().documents('1').delete())).toEqual(skipped);
      expect(await refusal(books().documents().delete({ filter_by: 'year:=1' }))).toEqual(skipped);
      expect(await refusal(books().delete())).toEqual(skipped);
      expect(await refusal(client.aliases().upsert('a', { collection_name: 'books' }))).toEqual(skipped);
      expect(await books().documents('1').retrieve()).toEqual({ id: '1', title: 'a', year: 1 });
    } finally {
      await set(false);
    }
  });

  test('an import through the gateway is answered line by line while it is sent', async () => {
    const sent = request({ host: '127.0.0.1', port: ports.typesense, method: 'POST', path: '/collections/books/documents/import' });
    let told = '';
    sent.once('response', (response: IncomingMessage) => response.on('data', (chunk: Buffer) => (told += chunk.toString())).once('end', () => (told += '|')));
    sent.write('{"id":"1","title":"a","year":1}\n');
    await waitUntil(() => told === '{"success":true}');
    sent.end('{"id":"2","title":"b","year":2}');
    await waitUntil(() => told === '{"success":true}\n{"success":true}|');
  });

  test('what is kept is there after a restart', async () => {
    await books().documents().create({ id: 'kept', title: 'a', year: 1 });
    await product.stop();
    product = await startEmbedded('tables', folder.path);
    expect(await books().documents('kept').retrieve()).toEqual({ id: 'kept', title: 'a', year: 1 });
    expect((await books().retrieve()).num_documents).toBe(1);
  });
});
