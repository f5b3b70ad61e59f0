import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { clusterSecretHeader, dialectHeader, forwardedByHeader } from '@binnacle/contracts/internal-headers';
import { type RedisServer, startRedis } from '@binnacle/testing/redis-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { clusterSecret, Folders, SnapshotNode } from './snapshot-node.js';

const folders = new Folders();
let redis: RedisServer;
let writer: SnapshotNode;
let other: SnapshotNode;

const start = (id: string) =>
  SnapshotNode.start(folders.make(), (config) => {
    config.node.id = id;
    config.node.heartbeatTtlMs = 5_000;
    config.redis.url = redis.url;
  });

async function ask(node: SnapshotNode, method: string, path: string, body?: string, headers: Record<string, string> = {}) {
  const init = { method, headers: { [dialectHeader]: 'typesense', 'content-type': 'application/json', ...headers }, ...(body !== undefined && { body }) };
  const response = await node.fetch(path, init);
  const text = await response.text();
  return { status: response.status, type: response.headers.get('content-type'), text, json: () => JSON.parse(text) as Record<string, unknown> };
}

beforeEach(async () => {
  redis = await startRedis();
  writer = await start('writer');
  other = await start('other');
  await waitUntil(() => other.running.context.directory.byId('writer') && writer.running.context.directory.byId('other'));
  const fields = [{ name: 'title', type: 'string' }];
  expect((await ask(writer, 'POST', '/collections', JSON.stringify({ name: 'books', fields }))).status).toBe(201);
});

afterEach(async () => {
  await Promise.all([writer.stop(), other.stop()]);
  await redis.stop();
  folders.remove();
});

const documents = '/collections/books/documents';

test('a node passes on what is about the table of another one, errors and all, and knows of a table at once', async () => {
  expect((await ask(other, 'POST', documents, '{"id":"1","title":"a"}')).status).toBe(201);
  expect((await ask(other, 'GET', `${documents}/1`)).json()).toEqual({ id: '1', title: 'a' });
  expect(await ask(other, 'POST', documents, '{"id":"1","title":"a"}')).toMatchObject({ status: 409, text: '{"message":"A document with id 1 already exists."}' });
  expect((await ask(other, 'PATCH', `${documents}/1?dirty_values=reject`, '{"title":7}')).status).toBe(400);
  const imported = await ask(other, 'POST', `${documents}/import?action=upsert`, '{"id":"2","title":"b"}\n{"id":"3"}');
  expect([imported.type, imported.text.split('\n')[0]]).toEqual(['text/plain; charset=utf-8', '{"success":true}']);
  expect((await ask(other, 'GET', `${documents}/export`)).text.split('\n')).toHaveLength(2);
  expect((await ask(other, 'GET', '/collections/books')).json().num_documents).toBe(2);
  expect((await ask(other, 'GET', '/collections')).text).toContain('"num_documents":2');
  expect((await ask(other, 'PATCH', '/collections/books', '{"fields":[{"name":"n","type":"int32","optional":true}]}')).status).toBe(200);
  expect((await ask(other, 'DELETE', `${documents}?truncate=true`)).json()).toEqual({ num_deleted: 2 });
  expect((await ask(other, 'DELETE', '/collections/books')).status).toBe(200);
  expect((await ask(other, 'GET', `${documents}/1`)).status).toBe(404);
});

test('an import is passed on as it comes, and its results come back as they are told', async () => {
  const { hostname, port } = new URL(`http://${other.running.address}`);
  const sent = httpRequest({ host: hostname, port, method: 'POST', path: `${documents}/import`, headers: { [clusterSecretHeader]: clusterSecret } });
  let told = '';
  sent.once('response', (response: IncomingMessage) => response.on('data', (chunk: Buffer) => (told += chunk.toString())).once('end', () => (told += '|')));
  sent.write('{"id":"1","title":"a"}\n');
  await waitUntil(() => told === '{"success":true}');
  sent.end('{"id":"2","title":"b"}');
  await waitUntil(() => told === '{"success":true}\n{"success":true}|');
});

test('searches are answered by the nodes of their tables, together those of several', async () => {
  const fields = [{ name: 'title', type: 'string' }];
  expect((await ask(other, 'POST', '/collections', JSON.stringify({ name: 'films', fields }))).status).toBe(201);
  for (const collection of ['books', 'films']) await ask(other, 'POST', `/collections/${collection}/documents`, '{"id":"1","title":"of both"}');
  const found = await ask(other, 'GET', `${documents}/search?q=both&query_by=title&use_cache=true`);
  expect(found.json()).toMatchObject({ found: 1, hits: [{ document: { id: '1' } }] });
  expect((await ask(other, 'GET', `${documents}/search?q=*&filter_by=a:1`)).status).toBe(400);
  const searches = [{ collection: 'books', filter_by: 'id:1' }, { collection: 'films' }, { collection: 'books', filter_by: 'a:1' }];
  expect((await ask(other, 'POST', '/multi_search?q=*', JSON.stringify({ searches }))).json()).toMatchObject({
    results: [
      { found: 1, request_params: { collection_name: 'books' } },
      { found: 1, request_params: { collection_name: 'films' } },
      { code: 400, error: 'Could not find a filter field named `a` in the schema.' },
    ],
  });
});

test('without a remote store nothing can be as durable as there', async () => {
  const text = '{"message":"Parameter `durability` cannot be remote: this cluster has no remote store (remote.url)."}';
  expect(await ask(other, 'POST', `${documents}?durability=remote`, '{"id":"1","title":"a"}')).toMatchObject({ status: 400, text });
  expect(await ask(writer, 'POST', `${documents}/import?durability=remote`, '{"id":"1","title":"a"}')).toMatchObject({ status: 400, text });
  expect((await ask(writer, 'GET', `${documents}/1`)).status).toBe(404);
});

test('nothing is passed on twice', async () => {
  const answer = await ask(other, 'GET', `${documents}/1`, undefined, { [forwardedByHeader]: 'writer' });
  expect(answer).toMatchObject({ status: 503, text: '{"message":"The nodes do not agree yet on who holds collection `books`."}' });
});

test('while the write node is away its tables say so, and what is known without it is answered', async () => {
  await ask(other, 'POST', documents, '{"id":"1","title":"a"}');
  expect((await ask(other, 'GET', '/collections/books')).json()).toMatchObject({ num_documents: 1 });
  // After the last time that it was asked.
  expect((await ask(writer, 'POST', '/collections', '{"name":"films","fields":[{"name":"title","type":"string"}]}')).status).toBe(201);
  await writer.stop();
  await waitUntil(() => other.running.context.directory.byId('writer') === undefined);
  const away = '{"message":"Node writer, which holds collection `books`, is away."}';
  expect(await ask(other, 'POST', documents, '{"title":"a"}')).toMatchObject({ status: 503, text: away });
  expect((await ask(other, 'GET', '/collections/books')).json()).toMatchObject({ name: 'books', num_documents: 1 });
  const list = await other.fetch('/collections', { headers: { [dialectHeader]: 'typesense' } });
  expect([list.status, list.headers.get('x-binnacle-counts-not-current')]).toEqual([200, 'writer']);
  const [films, books] = (await list.json()) as Record<string, unknown>[];
  expect([books?.['num_documents'], films?.['name'], 'num_documents' in (films ?? {})]).toEqual([1, 'films', false]);
  expect((await ask(other, 'GET', '/aliases')).json()).toEqual({ aliases: [] });
  expect((await ask(other, 'POST', '/collections', '{"name":"b","fields":[{"name":"a","type":"string"}]}')).status).toBe(201);
  expect((await ask(other, 'POST', '/collections/b/documents', '{"id":"1","a":"x"}')).status).toBe(201);
});
