import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { request as httpRequest } from 'node:http';
import { clusterSecretHeader, dialectHeader } from '@binnacle/contracts/internal-headers';
import { waitUntil } from '@binnacle/testing/wait-until';
import { clusterSecret, Folders, SnapshotNode } from './snapshot-node.js';

const folders = new Folders();
let dataDir: string;
let node: SnapshotNode;
let number = 0;
let name: string;

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown> & { message?: string };
}

async function ask(method: string, path: string, body?: string | Uint8Array): Promise<Answer> {
  const init = { method, headers: { [dialectHeader]: 'typesense', 'content-type': 'application/json' }, ...(body !== undefined && { body: body as string }) };
  const response = await node.fetch(path, init);
  const text = await response.text();
  return { status: response.status, body: text === '' ? {} : (JSON.parse(text) as Answer['body']) };
}

const documents = (path = '', body?: string | Uint8Array, method = body === undefined ? 'GET' : 'POST') => ask(method, `/collections/${name}/documents${path}`, body);

/** The result lines of an import. */
async function importLines(body: string | Uint8Array, query = ''): Promise<Record<string, unknown>[]> {
  const response = await node.fetch(`/collections/${name}/documents/import?${query}`, {
    method: 'POST',
    headers: { [dialectHeader]: 'typesense' },
    body: body as string,
  });
  expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/plain; charset=utf-8']);
  const text = await response.text();
  return text === '' ? [] : text.split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);
}

async function exported(query = ''): Promise<Record<string, unknown>[]> {
  const response = await node.fetch(`/collections/${name}/documents/export?${query}`);
  const text = await response.text();
  return text === '' ? [] : text.split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);
}

const count = async () => (await ask('GET', `/collections/${name}`)).body.num_documents;

beforeAll(async () => {
  dataDir = folders.make();
  node = await SnapshotNode.start(dataDir);
});

afterAll(async () => {
  await node.stop();
  folders.remove();
});

beforeEach(async () => {
  name = `table-${++number}`;
  const fields = [
    { name: 'title', type: 'string' },
    { name: 'year', type: 'int32', optional: true },
  ];
  expect((await ask('POST', '/collections', JSON.stringify({ name, fields }))).status).toBe(201);
});

describe('hostile documents', () => {
  test.each<[string, string | Uint8Array, number, RegExp]>([
    ['nothing', '', 400, /^Bad JSON: /],
    ['half a document', '{"title":"a"', 400, /^Bad JSON: /],
    ['no object', '[{"title":"a"}]', 400, /not a properly formed document/],
    ['broken UTF-8', Buffer.from([0x7b, 0x22, 0xc3, 0x28, 0x22, 0x3a, 0x31, 0x7d]), 400, /not valid UTF-8/],
    ['a wrong type', '{"title":["a"]}', 400, /^Field `title` must be a string\.$/],
    ['a missing field', '{"year":1}', 400, /^Field `title` has been declared in the schema, but is not found in the document\.$/],
    ['a number too large', '{"title":"a","year":4294967296}', 400, /exceeds maximum value of int32/],
    ['an infinite number', '{"title":"a","x":1e999}', 400, /too large/],
    ['an id that is a number', '{"id":1,"title":"a"}', 400, /`id` field should be a string/],
    ['an id with NUL', String.raw`{"id":"a\u0000b","title":"a"}`, 400, /no NUL/],
    ['an id that is too long', JSON.stringify({ id: 'x'.repeat(513), title: 'a' }), 400, /at most 512 bytes/],
    ['depth', `{"title":"a","x":${'['.repeat(10_000)}${']'.repeat(10_000)}}`, 400, /nests deeper than 100/],
    ['depth, in megabytes', `{"title":"a","x":${'['.repeat(2_000_000)}`, 400, /nests deeper than 100/],
    ['more than 16 MiB', `{"title":"${'a'.repeat(17 * 1024 * 1024)}"}`, 413, /at most 16777216 bytes/],
  ])('%s', async (_what, body, status, message) => {
    const answer = await documents('', body);
    expect([answer.status, answer.body.message]).toEqual([status, expect.stringMatching(message)]);
    expect(await count()).toBe(0);
  });

  test('fields the schema does not have are kept as they are', async () => {
    const text = '{"id":"a","title":"t","other":{"__proto__":{"x":1},"constructor":9007199254740993}}';
    expect((await documents('', text)).status).toBe(201);
    const kept = await node.fetch(`/collections/${name}/documents/a`);
    expect(await kept.text()).toBe(text);
  });

  test.each<[string, string]>([
    ['action=replace', 'Parameter `action` must be a create|update|upsert|emplace.'],
    ['dirty_values=maybe', 'Parameter `dirty_values` must be a coerce_or_reject|coerce_or_drop|drop|reject.'],
    ['durability=later', 'Parameter `durability` must be a fsync|none|remote.'],
    ['action=create&action=upsert', 'Parameter `action` is given twice.'],
  ])('?%s', async (query, message) => {
    expect(await documents(`?${query}`, '{"title":"a"}')).toMatchObject({ status: 400, body: { message } });
    expect(await documents(`/import?${query}`, '{"title":"a"}')).toMatchObject({ status: 400, body: { message } });
  });

  test.each(['batch_size=0', 'batch_size=x', 'batch_size=-1', 'return_doc=yes', 'return_id=1'])('import?%s', async (query) => {
    expect((await documents(`/import?${query}`, '{"title":"a"}')).status).toBe(400);
  });
});

describe('ids', () => {
  test.each(['a/b', '../../x', 'a"b', "a'b", 'a b', '%2F', '😀', '?a=b&c#d', '\n', ';DROP TABLE', 'ä'.repeat(256), '__proto__', '`)||1'])('%j is written, read, patched and deleted', async (id) => {
    const path = `/${encodeURIComponent(id)}`;
    expect(await documents('', JSON.stringify({ id, title: 'a' }))).toEqual({ status: 201, body: { id, title: 'a' } });
    expect(await documents('', JSON.stringify({ id, title: 'a' }))).toEqual({ status: 409, body: { message: `A document with id ${id} already exists.` } });
    expect(await documents(path)).toEqual({ status: 200, body: { id, title: 'a' } });
    expect(await documents(path, '{"title":"b"}', 'PATCH')).toEqual({ status: 200, body: { id, title: 'b' } });
    expect(await documents(path, undefined, 'DELETE')).toEqual({ status: 200, body: { id, title: 'b' } });
    expect(await documents(path)).toEqual({ status: 404, body: { message: `Could not find a document with id: ${id}` } });
    expect(await documents(`${path}?ignore_not_found=true`, undefined, 'DELETE')).toEqual({ status: 200, body: { id } });
  });

  test('with NUL, or too long, are a clear 4xx', async () => {
    expect((await documents('/a%00b')).status).toBe(400);
    expect((await documents(`/${'a'.repeat(600)}`)).status).toBe(400);
    expect((await documents('/%zz')).status).toBe(400);
  });
});

describe('an import', () => {
  test('answers every line in order, and a bad one fails alone', async () => {
    const body = Buffer.concat([
      Buffer.from('{"id":"1","title":"a"}\r\n\r\n{"id":"2"}\n{"id":"1","title":"again"}\n   \nnonsense\n{"id":"3","title":"'),
      Buffer.from([0xff, 0xfe]),
      Buffer.from('"}\n{"id":"4","title":7,"year":"8"}'),
    ]);
    const results = await importLines(body, 'return_id=true&dirty_values=coerce_or_reject');
    expect(results).toEqual([
      { success: true, id: '1' },
      { success: false, code: 400, document: '{"id":"2"}', error: 'Field `title` has been declared in the schema, but is not found in the document.' },
      { success: false, code: 409, document: '{"id":"1","title":"again"}', error: 'A document with id 1 already exists.', id: '1' },
      { success: false, code: 400, document: 'nonsense', error: expect.stringMatching(/^Bad JSON: /) },
      { success: false, code: 400, document: expect.any(String), error: 'Bad JSON: it is not valid UTF-8.' },
      { success: true, id: '4' },
    ]);
    expect(await exported()).toEqual([{ id: '1', title: 'a' }, { id: '4', title: '7', year: 8 }]);
    expect(await count()).toBe(2);
  });

  test('of a line over the limit goes on with the rest', async () => {
    const results = await importLines(`{"id":"1","title":"a"}\n{"id":"2","title":"${'x'.repeat(20 * 1024 * 1024)}"}\n{"id":"3","title":"c"}`);
    expect(results).toEqual([
      { success: true },
      { success: false, code: 413, document: '', error: 'The line is too long: a document has at most 16777216 bytes.' },
      { success: true },
    ]);
  });

  test('of nothing answers nothing', async () => {
    expect(await importLines('')).toEqual([]);
    expect(await importLines('\n\r\n  \n')).toEqual([]);
  });

  test('gives documents that bring none ids of their own, and tells them', async () => {
    const results = await importLines('{"title":"a"}\n{"title":"a"}', 'return_id=true&return_doc=true');
    const ids = results.map(({ id }) => id);
    expect(new Set(ids).size).toBe(2);
    expect(results[0]).toEqual({ success: true, id: ids[0], document: { title: 'a', id: ids[0] } });
    expect(await documents(`/${String(ids[1])}`)).toMatchObject({ status: 200 });
  });

  test('tells results while it is still being sent', async () => {
    const { host, port } = new URL(`http://${node.running.address}`) as URL & { host: string };
    const sent = httpRequest({ host: host.split(':')[0], port, method: 'POST', path: `/collections/${name}/documents/import`, headers: { [clusterSecretHeader]: clusterSecret } });
    sent.flushHeaders();
    let text = '';
    let isOver = false;
    sent.once('response', (response) => {
      response.on('data', (chunk: Buffer) => (text += chunk.toString())).once('end', () => (isOver = true));
    });
    sent.write('{"id":"1","title":"a"}\n{"id":"2","title":"b"');
    await waitUntil(() => text === '{"success":true}');
    sent.end('}');
    await waitUntil(() => isOver);
    expect(text).toBe('{"success":true}\n{"success":true}');
  });

  test('that is broken off keeps what it was answered for', async () => {
    const { hostname, port } = new URL(`http://${node.running.address}`);
    const sent = httpRequest({ host: hostname, port, method: 'POST', path: `/collections/${name}/documents/import`, headers: { [clusterSecretHeader]: clusterSecret } });
    sent.on('error', () => undefined);
    let text = '';
    sent.once('response', (response) => response.on('error', () => undefined).on('data', (chunk: Buffer) => (text += chunk.toString())));
    sent.write('{"id":"1","title":"a"}\n{"id":"2","tit');
    await waitUntil(() => text === '{"success":true}');
    sent.destroy();
    expect(await documents('/1')).toMatchObject({ status: 200 });
    expect(await documents('/2')).toMatchObject({ status: 404 });
  });

  test('on a node short of disk says so for every line', async () => {
    const { resources } = node.running.context;
    const original = resources.resourceError.bind(resources);
    resources.resourceError = () => 'OUT_OF_DISK';
    try {
      expect(await importLines('{"id":"1","title":"a"}\nx')).toMatchObject([{ success: false, code: 422, error: 'Rejecting write: running out of resource type: OUT_OF_DISK' }, { success: false, code: 400 }]);
      expect(await documents('', '{"title":"a"}')).toMatchObject({ status: 422, body: { message: 'Rejecting write: running out of resource type: OUT_OF_DISK' } });
    } finally {
      resources.resourceError = original;
    }
    expect(await importLines('{"id":"1","title":"a"}')).toEqual([{ success: true }]);
  });
});

describe('large documents', () => {
  const megabyte = 1_000_000;
  const list = (length: number) => JSON.stringify({ id: 'large', title: 'a', list: Array.from({ length }, (_, index) => ({ n: index })) });

  test('of 16 MiB are written and read back', async () => {
    const text = `{"id":"large","title":"${'x'.repeat(16 * 1024 * 1024 - 100)}"}`;
    expect((await documents('', text)).status).toBe(201);
    expect(await (await node.fetch(`/collections/${name}/documents/large`)).text()).toBe(text);
  });

  test('are patched in the order of the lines, by small and by large patches', async () => {
    const patches = Array.from({ length: 20 }, (_, index) => JSON.stringify({ id: 'large', year: index, [`p${index}`]: index === 10 ? 'y'.repeat(megabyte) : 1 }));
    const lines = [list(50_000), ...patches, '{"id":"large","list":null}', '{"id":"large","year":99}', '{"id":"none","year":1}'];
    const results = await importLines(lines.join('\n'), 'action=emplace&batch_size=3');
    expect(results.map(({ success }) => success)).toEqual([...lines.slice(1).map(() => true), false]);
    const kept = (await documents('/large?exclude_fields=p10')).body;
    expect(kept).toEqual({ id: 'large', title: 'a', year: 99, ...Object.fromEntries([...Array(20).keys()].filter((index) => index !== 10).map((index) => [`p${index}`, 1])) });
  });

  test('of too many values are refused, and the next one is taken', async () => {
    const many = `{"id":"many","title":"a","list":[${'[],'.repeat(5_500_000)}1]}`;
    const answer = await documents('', many);
    expect([201, 400]).toContain(answer.status);
    expect((await documents('', list(20_000))).status).toBe(201);
  });

  test('patched by two clients at once lose nothing', async () => {
    await documents('', list(30_000));
    const patch = (field: string) => documents('/large', JSON.stringify({ [field]: 1 }), 'PATCH');
    const answers = await Promise.all(['a', 'b', 'c', 'd'].map(patch));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect((await documents('/large?include_fields=a,b,c,d')).body).toEqual({ a: 1, b: 1, c: 1, d: 1 });
  });
});

describe('by filter', () => {
  beforeEach(async () => {
    await importLines(Array.from({ length: 3_000 }, (_, index) => JSON.stringify({ id: String(index), title: `t ${index % 3}`, year: index })).join('\n'));
  });

  test('documents are exported, patched and deleted', async () => {
    expect((await exported('filter_by=year:<3&include_fields=id,year')).map(({ id }) => id)).toEqual(['0', '1', '2']);
    expect(await documents('?filter_by=year:>=1000', '{"title":"new"}', 'PATCH')).toEqual({ status: 200, body: { num_updated: 2_000 } });
    expect(await documents('?filter_by=title:=new', undefined, 'DELETE')).toEqual({ status: 200, body: { num_deleted: 2_000 } });
    expect(await count()).toBe(1_000);
    expect(await documents('?truncate=true', undefined, 'DELETE')).toEqual({ status: 200, body: { num_deleted: 1_000 } });
    expect(await exported()).toEqual([]);
  });

  test('a patch that does not fit changes nothing and says why', async () => {
    expect(await documents('?filter_by=year:<10', '{"year":"many"}', 'PATCH')).toEqual({ status: 400, body: { message: 'Field `year` must be an int32.' } });
    expect(await documents('?filter_by=year:<10', '{"id":"x","title":"a"}', 'PATCH')).toMatchObject({ status: 400 });
  });

  test.each(['', 'filter_by=', 'filter_by=nothing:=1', 'filter_by=year:>', 'filter_by=id:=1&truncate=true', "filter_by=title:=`') OR 1=1 --"])('?%s deletes nothing', async (query) => {
    const answer = await documents(`?${query}`, undefined, 'DELETE');
    expect(answer.status === 400 || answer.body.num_deleted === 0).toBe(true);
    expect(await count()).toBe(3_000);
  });
});

describe('collections', () => {
  test('dropped and made again are empty, and their rows go', async () => {
    await importLines('{"id":"1","title":"a"}\n{"id":"2","title":"b"}');
    expect((await ask('DELETE', `/collections/${name}`)).body).toMatchObject({ name, num_documents: 2 });
    expect(await documents('/1')).toEqual({ status: 404, body: { message: 'Collection not found' } });
    expect((await ask('POST', '/collections', JSON.stringify({ name, fields: [{ name: 'other', type: 'string' }] }))).status).toBe(201);
    expect([await count(), await exported()]).toEqual([0, []]);
    expect((await documents('', '{"id":"1","other":"x"}')).status).toBe(201);
  });

  test('take a new field only if the documents have it, and forget a dropped one', async () => {
    await importLines('{"id":"1","title":"a","pages":"x"}\n{"id":"2","title":"b"}');
    const alter = (fields: unknown) => ask('PATCH', `/collections/${name}`, JSON.stringify({ fields }));
    expect((await alter([{ name: 'pages', type: 'int32', optional: true }])).body.message).toBe(
      'Schema change is incompatible with the type of documents already stored in this collection. Existing data for field `pages` cannot be coerced into an int32.',
    );
    expect((await alter([{ name: 'pages', type: 'string' }])).body.message).toMatch(/but is not found in the documents already present/);
    const pages = { facet: false, index: true, infix: false, locale: '', name: 'pages', optional: true, sort: false, stem: false, store: true, type: 'string' };
    expect(await alter([{ name: 'pages', type: 'string', optional: true }, { name: 'title', drop: true }])).toEqual({
      status: 200,
      body: { fields: [{ drop: true, name: 'title' }, pages] },
    });
    expect(await documents('', '{"id":"3","pages":[]}')).toMatchObject({ status: 400 });
    expect(await documents('', '{"id":"3"}')).toMatchObject({ status: 201 });
  });

  test('are listed, the youngest first', async () => {
    const other = `${name}-b`;
    await ask('POST', '/collections', JSON.stringify({ name: other, fields: [{ name: 'a', type: 'string' }] }));
    const response = await node.fetch('/collections?limit=2&exclude_fields=fields,created_at');
    const listed = (await response.json()) as Record<string, unknown>[];
    expect(listed.map((collection) => collection.name)).toEqual([other, name]);
    expect(listed[0]).not.toHaveProperty('fields');
    expect((await ask('GET', '/collections?limit=x')).status).toBe(400);
    expect(await ask('GET', '/collections?offset=1000')).toEqual({ status: 400, body: { message: 'Invalid offset param.' } });
  });

  test('keep their metadata and tell it again', async () => {
    const path = `/collections/${name}-m`;
    const made = { name: `${name}-m`, fields: [{ name: 'a', type: 'string' }], metadata: { batch: 7, from: { noon: true } } };
    expect((await ask('POST', '/collections', JSON.stringify(made))).body).toMatchObject({ metadata: made.metadata });
    expect(await ask('PATCH', path, '{"metadata":{"batch":8}}')).toEqual({ status: 200, body: { metadata: { batch: 8 } } });
    expect((await ask('GET', path)).body).toMatchObject({ metadata: { batch: 8 }, fields: [{ name: 'a' }] });
    await ask('PATCH', path, '{"metadata":{}}');
    expect((await ask('DELETE', path)).body).not.toHaveProperty('metadata');
  });

  test('take values of other types only when they are told to', async () => {
    await ask('PATCH', `/collections/${name}`, '{"fields":[{"name":"pages","type":"int32","optional":true}]}');
    const misfit = { status: 400, body: { message: 'Field `pages` must be an int32.' } };
    expect(await documents('', '{"id":"1","title":"a","pages":"7"}')).toEqual(misfit);
    expect(await documents('?dirty_values=coerce_or_reject', '{"id":"1","title":"a","pages":"7"}')).toMatchObject({ status: 201, body: { pages: 7 } });
    expect(await documents('/1', '{"pages":"8"}', 'PATCH')).toEqual(misfit);
  });

  test('with names that need care', async () => {
    for (const strange of ['a/b', 'ä 😀', '%2F', '..']) {
      const path = `/collections/${encodeURIComponent(strange)}`;
      if (strange === '..') continue;
      expect((await ask('POST', '/collections', JSON.stringify({ name: strange, fields: [{ name: 'a', type: 'string' }] }))).status).toBe(201);
      expect((await ask('GET', path)).body.name).toBe(strange);
      expect((await ask('DELETE', path)).status).toBe(200);
    }
  });
});

describe('a restart', () => {
  afterEach(async () => {
    await documents('?truncate=true', undefined, 'DELETE');
  });

  test('keeps tables, documents and their number, and finishes dropping a table', async () => {
    await importLines(Array.from({ length: 500 }, (_, index) => JSON.stringify({ id: String(index), title: 'a' })).join('\n'));
    await documents('/7', undefined, 'DELETE');
    await ask('PUT', '/aliases/alias', JSON.stringify({ collection_name: name }));
    await node.stop();
    node = await SnapshotNode.start(dataDir);
    expect(await count()).toBe(499);
    expect((await ask('GET', '/collections/alias')).body.name).toBe(name);
    expect((await exported()).length).toBe(499);
    expect((await ask('DELETE', '/aliases/alias')).status).toBe(200);
    expect(await ask('GET', '/aliases/alias')).toMatchObject({ status: 404 });
  });
});
