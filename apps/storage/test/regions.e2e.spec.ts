import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { forwardedByHeader } from '@binnacle/contracts/internal-headers';
import { waitUntil } from '@binnacle/testing/wait-until';
import { leaseMs, RegionCluster } from './region-cluster.js';
import type { StorageProcess } from './storage-process.js';

let cluster: RegionCluster;

/** Of a killed node: until the registry has forgotten it, the leader (perhaps a new one) has looked, and the regions are loaded. */
const movedWithinMs = leaseMs + 30_000;

beforeEach(async () => {
  cluster = await RegionCluster.start('a', 'b', 'c');
  const fields = [{ name: 'n', type: 'int32' }];
  await waitUntil(async () => {
    const { status } = await cluster.node('a').ask('POST', '/collections', { name: 't', fields });
    if (status !== 201) return false;
    const nodes = new Set((await cluster.regions('t')).map(({ writeNode }) => writeNode));
    if (nodes.size === 3) return true;
    // A node that was not running yet when the collection was made has no region of it.
    await cluster.node('a').ask('DELETE', '/collections/t');
    return false;
  });
});

afterEach(() => cluster.stop());

const documents = '/collections/t/documents';
const put = (node: StorageProcess, id: string, n: number, durability: string, headers = {}) =>
  node.ask('POST', `${documents}?action=upsert&durability=${durability}`, { id, n }, headers);

async function read(node: StorageProcess, id: string): Promise<number | undefined> {
  const { status, text } = await node.ask('GET', `${documents}/${id}`);
  if (status === 404) return undefined;
  if (status !== 200) throw new Error(`${status} ${text}`);
  return (JSON.parse(text) as { n: number }).n;
}

/** Ids of rows whose region that node has. */
async function idsOn(nodeId: string, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let next = 0; ids.length < count; next++) if ((await cluster.regionOf('t', `id-${next}`)).writeNode === nodeId) ids.push(`id-${next}`);
  return ids;
}

const regionsOn = async (nodeId: string): Promise<number> => (await cluster.regions('t')).filter(({ writeNode }) => writeNode === nodeId).length;

async function untilServed(node: StorageProcess, ids: readonly string[]): Promise<void> {
  for (const id of ids) await waitUntil(async () => [200, 404].includes((await node.ask('GET', `${documents}/${id}`)).status), { timeoutMs: movedWithinMs, what: `${id} is served` });
}

test('requests through any node reach the rows of all, and what is about many is put together', async () => {
  const lines = Array.from({ length: 300 }, (_, n) => JSON.stringify({ id: `id-${n}`, n }));
  lines.splice(100, 0, '{"id":"bad","n":"x y"}', 'no json');
  const { text } = await cluster.node('b').ask('POST', `${documents}/import?action=upsert&return_id=true`, lines.join('\n'));
  const results = text.split('\n').map((line) => JSON.parse(line) as { success: boolean; id?: string });
  expect(results.map(({ success }) => success)).toEqual(lines.map((_, index) => index !== 100 && index !== 101));
  expect(results.slice(102).map(({ id }) => id)).toEqual(Array.from({ length: 200 }, (_, n) => `id-${n + 100}`));
  for (const [index, id] of ['a', 'b', 'c'].entries()) {
    expect(await read(cluster.node(id), 'id-7')).toBe(7);
    expect(JSON.parse((await cluster.node(id).ask('GET', '/collections/t')).text)).toMatchObject({ num_documents: 300 + index });
    const created = await cluster.node(id).ask('POST', documents, { n: 1_000 });
    expect(created.status).toBe(201);
    const own = JSON.parse(created.text) as { id: string };
    expect((await cluster.regionOf('t', own.id)).writeNode).toBe(id);
  }
  expect((await cluster.node('a').ask('PATCH', '/collections/t', { fields: [{ name: 'other', type: 'string' }] })).text).toContain('is not found in the documents already present');
  expect((await cluster.node('a').ask('PATCH', '/collections/t', { fields: [{ name: 'other', type: 'string', optional: true }] })).status).toBe(200);
  expect((await cluster.node('c').ask('PATCH', `${documents}?filter_by=n:>=1000`, { other: 'new' })).text).toBe('{"num_updated":3}');
  expect((await cluster.node('b').ask('DELETE', `${documents}?filter_by=n:<100`)).text).toBe('{"num_deleted":100}');
  expect((await cluster.node('a').ask('DELETE', `${documents}?truncate=true`)).text).toBe('{"num_deleted":203}');

  const owners = await Promise.all(Array.from({ length: 300 }, async (_, n) => (await cluster.regionOf('t', `id-${n}`)).writeNode));
  await cluster.end('a', 'SIGKILL');
  const partly = await cluster.node('b').ask('POST', `${documents}/import?action=upsert`, lines.toSpliced(100, 2).join('\n'));
  const told = partly.text.split('\n').map((line) => JSON.parse(line) as { success: boolean; code?: number; error?: string });
  expect(told.map(({ success }) => success)).toEqual(owners.map((owner) => owner !== 'a'));
  expect(told.find(({ success }) => !success)).toMatchObject({ code: 503, error: 'Node a, which holds collection `t`, is away.' });
  expect((await cluster.node('b').ask('DELETE', `${documents}?filter_by=n:<100`)).status).toBe(503);
});

test('with durability remote nothing that was acknowledged is lost with its node, and others go on with its regions soon', async () => {
  const acknowledged = new Map<string, number>();
  let isOver = false;
  const write = async (writer: number): Promise<void> => {
    for (let n = 0; !isOver; n++) {
      const id = `w${writer}-${n % 50}`;
      const { status } = await put(cluster.node('b'), id, n, 'remote').catch(() => ({ status: 0 }));
      if (status === 201) acknowledged.set(id, n);
      // What has failed may be there all the same.
      else acknowledged.delete(id);
    }
  };
  const writing = Array.from({ length: 8 }, (_, writer) => write(writer));
  await waitUntil(() => acknowledged.size > 300, { timeoutMs: 60_000 });
  const before = await idsOn('a', 20);
  await cluster.end('a', 'SIGKILL');
  const killedAtMs = performance.now();
  await waitUntil(async () => (await regionsOn('a')) === 0, { timeoutMs: movedWithinMs });
  await untilServed(cluster.node('c'), before);
  expect(performance.now() - killedAtMs).toBeLessThan(movedWithinMs);
  isOver = true;
  await Promise.all(writing);
  expect(acknowledged.size).toBeGreaterThan(100);
  const lost: string[] = [];
  for (const [id, n] of acknowledged) if ((await read(cluster.node('c'), id)) !== n) lost.push(`${id} ${n} ${await read(cluster.node('c'), id)}`);
  expect(lost).toEqual([]);
});

test('with durability fsync the rows of a killed node come back with it, but for those that were written again', async () => {
  const ids = await idsOn('a', 30);
  for (const [n, id] of ids.entries()) expect((await put(cluster.node('b'), id, n, 'fsync')).status).toBe(201);
  expect((await cluster.node('b').ask('DELETE', `${documents}/${ids[2]}`)).status).toBe(200);
  await cluster.end('a', 'SIGKILL');
  await waitUntil(async () => (await regionsOn('a')) === 0, { timeoutMs: movedWithinMs });
  await untilServed(cluster.node('b'), ids);
  expect(await read(cluster.node('b'), ids[1] as string)).toBeUndefined();
  expect((await put(cluster.node('b'), ids[0] as string, 1_000, 'fsync')).status).toBe(201);
  expect((await cluster.regionOf('t', ids[0] as string)).leftAt).toEqual(['a']);

  await cluster.startNode('a');
  await waitUntil(async () => (await cluster.regions('t')).every(({ leftAt }) => leftAt === undefined), { what: 'the rows are handed over' });
  const kept = await Promise.all(ids.map((id) => read(cluster.node('c'), id)));
  expect(kept).toEqual(ids.map((_, n) => (n === 0 ? 1_000 : n === 2 ? undefined : n)));
  expect(JSON.parse((await cluster.node('a').ask('GET', '/agent/v1/tables/counts')).text)).toEqual({});
});

test('an owner that was stopped past its lease acknowledges nothing with durability remote and publishes nothing', async () => {
  const [id = ''] = await idsOn('a', 1);
  expect((await put(cluster.node('a'), id, 1, 'remote')).status).toBe(201);
  cluster.node('a').signal('SIGSTOP');
  // On their way before it wakes, and read by it before it can hear of anything; it may not pass them on.
  const late = Array.from({ length: 5 }, (_, n) => put(cluster.node('a'), id, 100 + n, 'remote', { [forwardedByHeader]: 'x' }).catch(() => ({ status: 0 })));
  await waitUntil(async () => (await regionsOn('a')) === 0, { timeoutMs: movedWithinMs });
  await untilServed(cluster.node('b'), [id]);
  expect((await put(cluster.node('b'), id, 2, 'remote')).status).toBe(201);
  cluster.node('a').signal('SIGCONT');
  expect((await Promise.all(late)).map(({ status }) => status)).toEqual(late.map(() => 503));
  await waitUntil(async () => (await cluster.regions('t')).every(({ leftAt }) => leftAt === undefined));
  expect(await read(cluster.node('a'), id)).toBe(2);
  const { writeNode, term } = await cluster.regionOf('t', id);
  expect([writeNode === 'a', term]).toEqual([false, 2]);
});

test('what was uploaded is there once others have the regions, deletes included, and again on the node when it comes back', async () => {
  const lines = Array.from({ length: 6_000 }, (_, n) => JSON.stringify({ id: `id-${n}`, n }));
  const imported = await cluster.node('a').ask('POST', `${documents}/import?action=upsert`, lines.join('\n'));
  expect(imported.text.split('\n').filter((line) => line !== '{"success":true}')).toEqual([]);
  const upload = async (): Promise<void> => {
    const answers = await Promise.all(cluster.running().map((id) => cluster.node(id).ask('POST', '/agent/v1/remote/upload', {})));
    expect(answers.every(({ status }) => status < 300)).toBe(true);
  };
  await upload();
  await waitUntil(async () => (await cluster.uploadedRows('t')) >= 6_000, { timeoutMs: 60_000 });
  expect((await cluster.node('c').ask('DELETE', `${documents}?filter_by=n:<1000`)).text).toBe('{"num_deleted":1000}');
  await upload();
  await waitUntil(async () => (await cluster.uploadedRows('t')) >= 7_000, { timeoutMs: 60_000 });
  const count = async (node: StorageProcess): Promise<number> => (JSON.parse((await node.ask('GET', '/collections/t')).text) as { num_documents: number }).num_documents;
  const ids = await idsOn('a', 50);

  await cluster.end('a', 'SIGKILL');
  await waitUntil(async () => (await regionsOn('a')) === 0, { timeoutMs: movedWithinMs });
  await untilServed(cluster.node('b'), ids);
  await waitUntil(async () => (await count(cluster.node('b'))) === 5_000);
  for (const id of ids) expect(await read(cluster.node('c'), id)).toBe(Number(id.slice(3)) < 1_000 ? undefined : Number(id.slice(3)));
  await cluster.startNode('a');
  await waitUntil(async () => (await cluster.regions('t')).every(({ leftAt }) => leftAt === undefined));
  expect(await count(cluster.node('a'))).toBe(5_000);
});

test('a node that starts on an empty folder has its rows again from the remote store', async () => {
  const ids = await idsOn('c', 20);
  for (const [n, id] of ids.entries()) expect((await put(cluster.node('a'), id, n, 'remote')).status).toBe(201);
  await cluster.end('c', 'SIGKILL');
  cluster.forgetFolder('c');
  await cluster.startNode('c');
  await untilServed(cluster.node('a'), ids);
  expect(await Promise.all(ids.map((id) => read(cluster.node('a'), id)))).toEqual(ids.map((_, n) => n));
});

test('through a series of kills nothing that was acknowledged is lost: remote at once, fsync when all are back', async () => {
  const acknowledged = new Map<string, { n: number; durability: string }>();
  let isOver = false;
  const write = async (writer: number): Promise<void> => {
    const durability = writer % 2 === 0 ? 'remote' : 'fsync';
    for (let n = 1; !isOver; n++) {
      const id = `w${writer}-${n % 40}`;
      const nodes = cluster.running();
      const { status } = await put(cluster.node(nodes[n % nodes.length] as string), id, n, durability).catch(() => ({ status: 0 }));
      if (status === 201) acknowledged.set(id, { n, durability });
      else {
        acknowledged.delete(id);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  };
  const writing = Array.from({ length: 6 }, (_, writer) => write(writer));
  for (const [round, id] of ['a', 'b', 'c', 'a'].entries()) {
    await cluster.end(id, round === 2 ? 'SIGTERM' : 'SIGKILL');
    await waitUntil(async () => (await regionsOn(id)) === 0, { timeoutMs: movedWithinMs });
    await cluster.startNode(id);
    if (round === 1) await cluster.node('c').ask('POST', '/agent/v1/remote/upload', {});
  }
  await waitUntil(async () => (await cluster.regions('t')).every(({ leftAt }) => leftAt === undefined), { timeoutMs: 30_000, what: 'the rows are handed over' });
  isOver = true;
  await Promise.all(writing);
  await untilServed(cluster.node('a'), [...acknowledged.keys()]);
  const lost: unknown[] = [];
  for (const [id, { n, durability }] of acknowledged) {
    const found = await read(cluster.node('a'), id);
    if (found !== n) lost.push([id, durability, n, found]);
  }
  expect(acknowledged.size).toBeGreaterThan(100);
  expect(lost).toEqual([]);
}, 400_000);
