import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { pathToFileURL } from 'node:url';
import { type RedisServer, startRedis } from '@binnacle/testing/redis-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { Compute } from '../src/compute/compute.js';
import { regionOf } from '../src/regions/region.js';
import { Uploader } from '../src/remote/uploader.js';
import { Catalog } from '../src/tables/catalog.js';
import { clusterSecret, Folders, SnapshotNode } from './snapshot-node.js';

const folders = new Folders();
let redis: RedisServer;
let writer: SnapshotNode;
let compute: SnapshotNode;

const start = (id: string, mode: string, bucket: string): Promise<SnapshotNode> =>
  SnapshotNode.start(folders.make(), (config) => {
    config.node.id = id;
    config.redis.url = redis.url;
    config.storage.modes = [mode];
    config.storage.manifestPollMs = 500;
    config.remote.url = pathToFileURL(bucket).href;
  });

async function ask(node: SnapshotNode, sql: string, query = ''): Promise<{ status: number; text: string; rows: () => unknown[][] }> {
  const response = await node.fetch(`/api/v1/sql${query}`, { method: 'POST', body: sql, headers: { 'content-type': 'application/sql' } });
  const text = await response.text();
  return { status: response.status, text, rows: () => (JSON.parse(text) as { rows: unknown[][] }).rows };
}

const put = async (documents: readonly object[]): Promise<void> => {
  const response = await writer.fetch('/collections/pairs/documents/import?action=upsert', { method: 'POST', body: documents.map((document) => `${JSON.stringify(document)}\n`).join('') });
  expect(await response.text()).not.toContain('false');
};

beforeAll(async () => {
  redis = await startRedis();
  const bucket = folders.make();
  writer = await start('writer', 'write', bucket);
  compute = await start('compute', 'compute', bucket);
  await waitUntil(() => compute.running.context.directory.byId('writer') && writer.running.context.directory.byId('compute'));
  const fields = [{ name: 'counter', type: 'int64' }, { name: 'note', type: 'string', optional: true }];
  const made = await writer.fetch('/collections', { method: 'POST', body: JSON.stringify({ name: 'pairs', fields }), headers: { 'content-type': 'application/json' } });
  expect(made.status).toBe(201);
  expect(clusterSecret).not.toBe('');
});

afterAll(async () => {
  await Promise.all([compute.stop(), writer.stop()]);
  await redis.stop();
  folders.remove();
});

test('a compute node answers with every acknowledged write, and any other storage node passes the query on to it', async () => {
  await put([{ id: 'first', counter: 1 }, { id: 'second', counter: 2 }]);
  const { status, text } = await ask(compute, 'SELECT id, counter FROM pairs ORDER BY id');
  expect([status, text]).toEqual([200, expect.stringContaining('"rows":[["first",1],\n["second",2]]')]);
  expect((await ask(writer, 'SELECT sum(counter) FROM pairs', '?format=csv')).text).toBe('sum("counter")\r\n3\r\n'.replace('"counter"', 'counter'));
  expect(await ask(compute, 'SELECT * FROM nowhere')).toMatchObject({ status: 400, text: expect.stringContaining('does not exist') });
  expect((await ask(compute, 'SELECT 1', '?format=xml')).status).toBe(400);
});

/** Ids of one region: only within a region all is of one moment. */
function idsOfOneRegion(): [string, string] {
  const table = compute.running.app.get(Catalog).byName('pairs');
  const byRegion = new Map<number, string>();
  for (let index = 0; ; index++) {
    const id = `pair-${index}`;
    const { id: regionId } = regionOf(table.regions, Buffer.from(id));
    const other = byRegion.get(regionId);
    if (other !== undefined) return [other, id];
    byRegion.set(regionId, id);
  }
}

test('rows written together are seen together, while writers write and segments are uploaded', async () => {
  const [left, right] = idsOfOneRegion();
  await put([{ id: left, counter: 0 }, { id: right, counter: 0 }]);
  let counter = 0;
  let isOver = false;
  const writing = (async () => {
    while (!isOver) {
      counter += 1;
      await put([{ id: left, counter }, { id: right, counter }]);
    }
  })();
  const uploading = (async () => {
    while (!isOver) await writer.running.app.get(Uploader).uploadNow();
  })();
  const seen: number[] = [];
  for (let round = 0; round < 25; round++) {
    const acknowledged = counter - 1;
    const { status, text, rows } = await ask(compute, `SELECT counter FROM pairs WHERE id IN ('${left}', '${right}')`);
    expect([status, status === 200 ? '' : text]).toEqual([200, '']);
    const [[one] = [], [two] = []] = rows();
    expect(one).toBe(two);
    expect(one as number).toBeGreaterThanOrEqual(acknowledged);
    seen.push(one as number);
  }
  isOver = true;
  await Promise.all([writing, uploading]);
  expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  expect(new Set(seen).size).toBeGreaterThan(5);
});

test('the lag of a replica is 0 when it shows everything, and the age of the oldest write when it does not', async () => {
  const { follower } = compute.running.app.get(Compute);
  await writer.running.app.get(Uploader).uploadNow();
  const { regions } = compute.running.app.get(Catalog).byName('pairs');
  await waitUntil(() => regions.every(({ id }) => follower.lagMs(id) === 0));
  await put([{ id: 'late', counter: 1 }]);
  const { id } = regionOf(regions, Buffer.from('late'));
  await waitUntil(() => follower.lagMs(id) > 0);
  const first = follower.lagMs(id);
  await waitUntil(() => follower.lagMs(id) > first + 300);
  expect(regions.filter((region) => follower.lagMs(region.id) > 0).map((region) => region.id)).toEqual([id]);
  await writer.running.app.get(Uploader).uploadNow();
  await waitUntil(() => follower.lagMs(id) === 0);
});

test('Typesense\'s search and export of a compute node are those of the write node', async () => {
  await put([{ id: 'note-1', counter: 1, note: 'The old sea' }, { id: 'note-2', counter: 2, note: 'The séance' }]);
  const asked = ['search?q=the%20se&query_by=note&sort_by=counter:desc', 'export?filter_by=note:sea', 'search?q=*&filter_by=id:note-1&exclude_fields=note'];
  for (const path of asked) {
    const answers = await Promise.all([compute, writer].map(async (node) => (await node.fetch(`/collections/pairs/documents/${path}`)).text()));
    const [remote, own] = answers.map((text) => text.replace(/"search_time_ms":\d+/, ''));
    expect(remote).toBe(own);
    expect(remote).toContain('note-1');
  }
  const body = JSON.stringify({ searches: [{ collection: 'pairs', q: 'sea', query_by: 'note', prefix: 'false' }, { collection: 'pairs', q: 'sea', query_by: 'nothing' }] });
  const multi = await compute.fetch('/multi_search', { method: 'POST', body, headers: { 'content-type': 'application/json' } });
  expect(await multi.json()).toMatchObject({ results: [{ found: 1, hits: [{ document: { id: 'note-1' } }] }, { code: 404 }] });
});

test('a query ends with its client', async () => {
  const abort = new AbortController();
  const { processes } = compute.running.app.get(Compute);
  const asked = compute.fetch('/api/v1/sql', { method: 'POST', body: 'SELECT sum(a.range * b.range) FROM range(3000000) a, range(3000000) b', headers: { 'content-type': 'application/sql' }, signal: abort.signal });
  await waitUntil(() => processes.running() === 1);
  abort.abort();
  await expect(asked).rejects.toThrow();
  await waitUntil(() => processes.running() === 0);
});

test('while the write node is away, only stale answers are given', async () => {
  await writer.running.app.get(Uploader).uploadNow();
  await writer.stop();
  const refused = await ask(compute, 'SELECT count(*) FROM pairs');
  expect([refused.status, refused.text]).toEqual([503, expect.stringContaining('stale=true')]);
  expect((await ask(compute, "SELECT counter FROM pairs WHERE id = 'late'", '?stale=true')).rows()).toEqual([[1]]);
});
