import { afterEach, expect, test } from '@jest/globals';
import { cpSync, existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { dialectHeader } from '@binnacle/contracts/internal-headers';
import { waitUntil } from '@binnacle/testing/wait-until';
import { Uploader } from '../src/remote/uploader.js';
import { Folders, SnapshotNode } from './snapshot-node.js';

const folders = new Folders();
let node: SnapshotNode | undefined;

afterEach(async () => {
  await node?.stop();
  folders.remove();
});

async function start(dataDir: string): Promise<SnapshotNode> {
  node = await SnapshotNode.start(dataDir, (config) => (config.node.id = 's0'));
  return node;
}

async function ask(method: string, path: string, body?: string): Promise<{ status: number; text: string }> {
  const headers = { [dialectHeader]: 'typesense', 'content-type': 'application/json' };
  const response = await (node as SnapshotNode).fetch(path, { method, headers, ...(body !== undefined && { body }) });
  return { status: response.status, text: await response.text() };
}

const createTable = () => ask('POST', '/collections', JSON.stringify({ name: 't', fields: [{ name: 'n', type: 'int32' }] }));
const put = (id: string, n: number) => ask('POST', '/collections/t/documents?action=upsert', JSON.stringify({ id, n }));
const exported = async () => (await ask('GET', '/collections/t/documents/export')).text.split('\n').toSorted().join(' ');
const upload = () => (node as SnapshotNode).running.app.get(Uploader).uploadNow();

test.each([true, false])('a data folder from before it said which regions it has keeps its rows (uploaded before: %s)', async (isUploaded) => {
  const dataDir = folders.make();
  await start(dataDir);
  await createTable();
  await put('1', 1);
  if (isUploaded) await upload();
  await put('2', 2);
  await node?.stop();
  const file = join(dataDir, 'storage', 'regions.json');
  expect(existsSync(file)).toBe(true);
  rmSync(file);
  if (!isUploaded) rmSync(join(dataDir, 'remote'), { recursive: true });

  await start(dataDir);
  expect(await exported()).toBe('{"id":"1","n":1} {"id":"2","n":2}');
  expect((await put('3', 3)).status).toBe(201);
  await upload();
  await node?.stop();
  // What it uploaded is all of it.
  rmSync(join(dataDir, 'storage'), { recursive: true });
  await start(dataDir);
  await waitUntil(async () => (await ask('GET', '/collections/t/documents/export')).status === 200);
  expect(await exported()).toBe('{"id":"1","n":1} {"id":"2","n":2} {"id":"3","n":3}');
});

test('an older copy of the data folder is noticed, and what was uploaded since is loaded', async () => {
  const dataDir = folders.make();
  const copy = folders.make();
  await start(dataDir);
  await createTable();
  await put('1', 1);
  await put('2', 2);
  await upload();
  await node?.stop();
  cpSync(join(dataDir, 'storage'), copy, { recursive: true });
  await start(dataDir);
  for (let n = 3; n <= 10; n++) await put(String(n), n);
  await ask('DELETE', '/collections/t/documents/1');
  await upload();
  const all = await exported();
  await node?.stop();
  rmSync(join(dataDir, 'storage'), { recursive: true });
  cpSync(copy, join(dataDir, 'storage'), { recursive: true });

  await start(dataDir);
  // As early as it is taken in.
  await waitUntil(async () => (await put('new', 0)).status === 201);
  expect(await exported()).toBe(`${all} {"id":"new","n":0}`.split(/ (?=\{)/).toSorted().join(' '));
  await upload();
  expect((await ask('GET', '/collections/t/documents/new')).text).toBe('{"id":"new","n":0}');
});
