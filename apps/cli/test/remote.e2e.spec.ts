import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { pathToFileURL } from 'node:url';
import { type RedisServer, startRedis } from '@binnacle/testing/redis-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { portsOf, ProductProcess, temporaryFolder } from './product.js';

const ports = portsOf('remote');
const folder = temporaryFolder('remote');
const bucket = join(folder.path, 'bucket');
const run = promisify(execFile);
/** As the document writes it, by curl; `-w` adds the status in a line of its own. */
async function curl(path: string, ...more: string[]): Promise<{ status: number; body: string; role: string | undefined; type: string }> {
  const { stdout } = await run('curl', ['-sS', '-i', ...more, `http://127.0.0.1:${ports.tiflash}${path}`]);
  const [head = '', ...rest] = stdout.split('\r\n\r\n');
  const header = (name: string) => new RegExp(`^${name}: (.*)$`, 'im').exec(head)?.[1]?.trim();
  return { status: Number(head.split(' ')[1]), body: rest.join('\r\n\r\n'), role: header('x-binnacle-role'), type: header('content-type') ?? '' };
}
const gateway = (path: string) => `http://127.0.0.1:${ports.gateway}${path}`;
const json = async (path: string) => (await fetch(gateway(path))).json() as Promise<Record<string, unknown>>;

interface ClusterView {
  nodes: { id: string; state: string; address: string; storeId?: number; labels: Record<string, string>; regionLag?: { regions: number; lagMsMax: number | null } }[];
  leases: { name: string; owner: { nodeId: string; address: string } | null }[];
}
const cluster = async () => (await json('/api/v1/cluster')) as unknown as ClusterView;
const nodes = new Map<string, ProductProcess>();
const nodePorts: Record<string, number> = { 'gateway-0': 7401, 'cluster-0': 7404, w0: 7403, w1: 7411, c0: 7413, c1: 7415 };
let redis: RedisServer;

function start(app: string, id: string, env: Record<string, string> = {}): void {
  const shared = {
    BINNACLE_PORT_OFFSET: String(ports.offset),
    BINNACLE_DATA_DIR: `${folder.path}/${id}`,
    BINNACLE_REDIS_URL: redis.url,
    BINNACLE_REMOTE_URL: pathToFileURL(bucket).href,
    BINNACLE_NODE_ID: id,
    BINNACLE_NODE_PORT: String(nodePorts[id]),
    BINNACLE_NODE_CLUSTER_SECRET: 'the-same-on-every-node-of-this-test',
    BINNACLE_LOG_FORMAT: 'json',
    BINNACLE_STORAGE_REGIONS_PER_TABLE: '2',
    BINNACLE_STORAGE_REGION_LEASE_MS: '3000',
    ...env,
  };
  nodes.set(id, new ProductProcess([process.execPath, `apps/${app}/dist/main.js`], shared));
}

async function untilRunning(count: number): Promise<void> {
  const running = async () => ((await cluster().catch(() => ({}))) as Partial<ClusterView>).nodes?.filter(({ state }) => state === 'running').length;
  await waitUntil(async () => (await running()) === count, { timeoutMs: 60_000, what: `${count} running nodes` });
}

const storageNodes = [['w0', 'write'], ['w1', 'write'], ['c0', 'compute'], ['c1', 'compute']] as const;
const startStorage = (id: string, mode: string) => start('storage', id, { BINNACLE_STORAGE_MODES: mode });

async function post(path: string, body: string, type = 'application/json'): Promise<{ status: number; body: string }> {
  const answer = await fetch(gateway(path), { method: 'POST', headers: { 'content-type': type }, body });
  return { status: answer.status, body: await answer.text() };
}
const query = async (sql: string, more = '') => post(`/api/v1/sql${more}`, JSON.stringify({ sql }));
const objects = (below: string) => readdirSync(join(bucket, below), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => entry.name);

beforeAll(async () => {
  redis = await startRedis();
  start('gateway', 'gateway-0');
  start('cluster', 'cluster-0');
  for (const [id, mode] of storageNodes) startStorage(id, mode);
  await untilRunning(6);
  const created = await post('/collections', JSON.stringify({ name: 'shops', fields: [{ name: 'city', type: 'string' }, { name: 'staff', type: 'int32' }] }));
  expect(created.status).toBe(201);
  const lines = Array.from({ length: 200 }, (_, index) => JSON.stringify({ id: `shop-${index}`, city: index % 2 ? 'Bern' : 'Basel', staff: index }));
  const imported = await post('/collections/shops/documents/import', lines.join('\n'), 'text/plain');
  expect(imported.body.split('\n').filter((line) => line.includes('"success":true'))).toHaveLength(200);
});

afterAll(async () => {
  await Promise.all([...nodes.values()].map((node) => node.stop('SIGTERM')));
  await redis.stop();
  folder.remove();
});

describe('the remote tier through the TiFlash dialect', () => {
  test('upload sets the flag on every write node, and their rows are in the bucket', async () => {
    for (const spelling of ['tifash', 'tiflash']) {
      expect(await curl(`/${spelling}/remote/upload`)).toEqual({ status: 200, body: '{"message":"flag_set=true"}', role: undefined, type: expect.stringContaining('application/json') });
    }
    await waitUntil(() => objects('regions').filter((name) => name.endsWith('.parquet')).length >= 2, { timeoutMs: 60_000, what: 'segments of both regions' });
    expect((await curl('/tiflash/remote/upload?node=w1')).body).toBe('{"message":"flag_set=true"}');
    expect(await curl('/tiflash/remote/upload?node=c0')).toMatchObject({ status: 200, body: '{"message":"can not sync remote store, disagg_mode=Compute"}', role: 'Compute' });
    expect((await curl('/tiflash/remote/upload?node=nobody')).status).toBe(404);
  });

  test('gc goes to the owner, whoever is asked says who that is', async () => {
    await waitUntil(async () => (await cluster()).leases.some(({ name, owner }) => name === 'remote-gc' && owner !== null), { what: 'an owner' });
    const owner = (await cluster()).leases.find(({ name }) => name === 'remote-gc')?.owner;
    const { nodeId = '', address = '' } = owner ?? {};
    expect(JSON.parse((await curl('/tifash/remote/owner/info')).body)).toEqual({ status: 'IsOwner', owner_id: address });
    expect((await curl('/tiflash/remote/gc')).body).toBe(`{"status":"IsOwner","owner_id":"${address}","execute":"true"}`);
    const other = nodeId === 'w0' ? 'w1' : 'w0';
    expect((await curl(`/tiflash/remote/gc?node=${other}`)).body).toBe(`{"status":"NotOwner","owner_id":"${address}","execute":"false"}`);
    expect(await curl('/tiflash/remote/gc?node=c1')).toMatchObject({ status: 200, body: '{"message":"can not trigger gc, disagg_mode=Compute"}', role: 'Compute' });
    expect((await curl('/tiflash/remote/gcXYZ')).status).toBe(404);
    await nodes.get(nodeId)?.untilPrinted(/remote store collected/);
    expect(JSON.parse((await curl('/tiflash/remote/owner/resign')).body)).toEqual({ message: 'Done' });
    await waitUntil(async () => JSON.parse((await curl('/tiflash/remote/owner/info')).body).owner_id !== address, { what: 'another owner' });
    expect(JSON.parse((await curl(`/tiflash/remote/owner/resign?node=${nodeId}`)).body)).toEqual({ message: "This node is not the remote gc owner, can't be resigned." });
  });

  test('info tells what each store keeps, by ids that the cluster shows', async () => {
    const ids = (await cluster()).nodes.filter(({ id }) => id.startsWith('w')).map(({ storeId = 0 }) => storeId);
    const { stores } = JSON.parse((await curl('/tiflash/remote/info')).body) as { stores: { store_id: number; num_manifests: number; num_keys: number; dt_file: { num: number; bytes: number } }[] };
    expect(stores.map(({ store_id: id }) => id)).toEqual(ids.toSorted((a, b) => a - b));
    for (const store of stores) {
      expect(Object.keys(store)).toEqual(['store_id', 'num_manifests', 'num_keys', 'data_file', 'dt_file']);
      expect(store).toMatchObject({ num_manifests: 1, data_file: { num: 0, num_delmark: 0, bytes: 0 }, dt_file: { num: expect.any(Number), num_keys: expect.any(Number), num_delmark: 0, bytes: expect.any(Number) } });
      expect(store.dt_file.num).toBeGreaterThan(0);
    }
    expect(JSON.parse((await curl(`/tiflash/remote/info/${ids[0]}`)).body)).toMatchObject({ stores: [{ store_id: ids[0] }] });
    expect(JSON.parse((await curl(`/tiflash/remote/info/${ids.join(',')}`)).body).stores).toHaveLength(2);
    expect(await curl('/tiflash/remote/info/w0')).toMatchObject({ status: 400, body: '{"message":"invalid store_id in request: /tiflash/remote/info/w0"}' });
    expect(await curl('/tiflash/remote/info?node=c0')).toMatchObject({ status: 200, body: '{"message":"can not get remote info, disagg_mode=Compute"}', role: 'Compute' });
  });

  test('sync status lists the regions whose replica lags two minutes at most, on each node', async () => {
    for (const path of ['/tifash/sync-status/1', '/tiflash/sync-status/keyspace/0/table/1', '/tiflash/sync-status/1?node=c0', '/tiflash/sync-status/1?node=c1']) {
      await waitUntil(async () => (await curl(path)).body === '2\n256 257\n', { timeoutMs: 60_000, what: `both regions in sync: ${path}` });
    }
    for (const path of ['/tiflash/sync-status/999', '/tiflash/sync-status/keyspace/7/table/1', '/tifash/sync-status/keyspace/0/table/999']) expect(await curl(path)).toMatchObject({ status: 200, body: '0\n\n' });
    for (const path of ['x', '-1', '1x', 'keyspace', 'keyspace/0', 'keyspace/a/table/1', 'keyspace/0/table/b', 'keyspace/4294967296/table/1']) {
      expect([path, (await curl(`/tiflash/sync-status/${path}`)).status]).toEqual([path, 400]);
    }
    expect((await curl('/tiflash/sync-region/keyspace/0')).body).toBe('{"count":2,"regions":[256,257]}');
    expect((await curl('/tiflash/sync-region/keyspace/5')).body).toBe('{"count":0,"regions":[]}');
    expect((await curl('/tiflash/sync-region/keyspace/x')).status).toBe(400);
    expect(await curl('/tiflash/sync-schema/keyspace/0/table/1')).toMatchObject({ status: 200, body: '' });
    expect(await curl('/tiflash/sync-schema/keyspace/0/table/999')).toMatchObject({ status: 500, body: '{"errMsg":"sync schema failed"}' });
    expect((await curl('/tiflash/sync-schema/keyspace/x/table/1')).status).toBe(400);
    expect((await curl('/tifash/store-status')).body).toBe('Running');
    for (const id of ['w0', 'c0']) expect((await curl(`/tiflash/readyz?verbose&node=${id}`)).body).toContain('[+]store_status ok\n');
  });

  test('the file cache of the compute nodes is told of and evicted, and the write nodes have none', async () => {
    expect(await query('SELECT count(*) AS shops, sum(staff) AS staff FROM shops', '?node=c0')).toMatchObject({ status: 200, body: expect.stringMatching(/200\D+19900/) });
    const types = JSON.parse((await curl('/tiflash/remote/cache/info?node=c0')).body) as { file_type: string; file_type_int: number; histogram: { total: { bytes: number } } }[];
    expect(types.length).toBeGreaterThan(0);
    expect((await curl('/tiflash/remote/cache/info')).body).toMatch(/^\[/);
    expect(await curl('/tiflash/remote/cache/info?node=w0')).toMatchObject({ status: 200, body: '{"message":"can not get remote cache info, disagg_mode=Storage"}', role: 'Storage' });
    expect((await curl('/tiflash/remote/cache/evict/size/1024?node=c0')).body).toBe('{"req":"{method=ByEvictSize reserve_size=1024 min_age=1800 force=false}","released_size":"0"}');
    expect((await curl('/tiflash/remote/cache/evict/size/1024?force&age=0&node=c0')).body).toMatch(/^\{"req":"\{method=ByEvictSize reserve_size=1024 min_age=0 force=true\}","released_size":"\d+"\}$/);
    const evicted = JSON.parse((await curl('/tiflash/remote/cache/evict/type/1?node=c0')).body) as { req: string; released_size: string };
    expect(evicted.req).toBe('{method=ByFileType evict_type=Meta}');
    expect(Number(evicted.released_size)).toBe(types.reduce((sum, { histogram }) => sum + histogram.total.bytes, 0));
    expect((await curl('/tiflash/remote/cache/evict/5?node=c0')).body).toBe('{"req":"{method=ByFileType evict_type=Merged}","released_size":"0"}');
    for (const [path, refusal] of [
      ['type/x', 'invalid file type in request:'],
      ['type/13', 'invalid file type enum value in request:'],
      ['size/x', 'invalid size in request:'],
      ['size/-1', 'invalid negative size in request:'],
    ]) expect(await curl(`/tiflash/remote/cache/evict/${path}`)).toMatchObject({ status: 400, body: `{"message":"${refusal} /tiflash/remote/cache/evict/${path}"}` });
    expect(await curl('/tiflash/remote/cache/evict')).toMatchObject({ status: 400, body: '{"message":"invalid remote cache evict request: /tiflash/remote/cache/evict"}' });
  });

  test('the cluster tells how far the replicas of each node are behind, and Prometheus of each region', async () => {
    const { nodes: seen } = await cluster();
    for (const id of ['w0', 'w1', 'c0', 'c1']) expect(seen.find((node) => node.id === id)).toMatchObject({ regionLag: { regions: 2, lagMsMax: expect.any(Number) } });
    expect(seen.find(({ id }) => id === 'gateway-0')).not.toHaveProperty('regionLag');
    const metrics = await (await fetch(gateway('/metrics?node=c0'))).text();
    expect(metrics).toMatch(/^binnacle_storage_region_lag_seconds\{table="1",region="256"\} \d/m);
  });

  test('leaks lists what lies about and nobody references, and nothing else', async () => {
    expect(await json('/api/v1/remote/leaks')).toMatchObject({ counts: { due: { objects: 0 }, kept: { objects: 0 } }, leaks: [], isComplete: true });
  });

  test('what a crash left is listed, and taken by the collector once it and its mark are old enough', async () => {
    const key = `regions/1/256/segments/${randomUUID()}.parquet`;
    writeFileSync(join(bucket, key), 'left by a crash');
    const age = (path: string) => utimesSync(join(bucket, path), new Date(Date.now() - 7_200_000), new Date(Date.now() - 7_200_000));
    const leak = async () => ((await json('/api/v1/remote/leaks')) as unknown as { leaks: { key: string; bytes: number; reason: string; state: string }[] }).leaks.find((each) => each.key === key);
    expect(await leak()).toMatchObject({ reason: 'unreferenced segment', state: 'young', bytes: 15 });
    age(key);
    expect(await leak()).toMatchObject({ state: 'due' });
    await curl('/tiflash/remote/gc');
    await waitUntil(async () => (await leak())?.state === 'marked', { what: 'a delete mark' });
    expect(existsSync(join(bucket, key))).toBe(true);
    age(`gc/marks/${key.replaceAll('/', '=')}`);
    await curl('/tiflash/remote/gc');
    await waitUntil(async () => (await leak()) === undefined, { what: 'the end of it' });
    expect(existsSync(join(bucket, key))).toBe(false);
    // The mark goes after the file.
    await waitUntil(() => readdirSync(join(bucket, 'gc/marks')).length === 0, { what: 'the end of its mark' });
    expect(await query('SELECT count(*) AS shops, sum(staff) AS staff FROM shops')).toMatchObject({ status: 200, body: expect.stringMatching(/200\D+19900/) });
  });

  test('every data folder and Redis lost: the cluster starts from the bucket alone', async () => {
    await waitUntil(() => existsSync(join(bucket, 'catalog.json')) && readFileSync(join(bucket, 'catalog.json'), 'utf8').includes('shops'), { what: 'the catalog in the bucket' });
    await Promise.all([...nodes.values()].map((node) => node.stop('SIGKILL')));
    await redis.stop();
    for (const id of nodes.keys()) rmSync(join(folder.path, id), { recursive: true, force: true });
    nodes.clear();
    redis = await startRedis();
    start('gateway', 'gateway-0');
    start('cluster', 'cluster-0');
    // One of the write nodes does not come back: what was its goes to the other one.
    for (const [id, mode] of storageNodes.filter(([id]) => id !== 'w1')) startStorage(id, mode);
    await untilRunning(5);
    const found = async () => ((await (await fetch(gateway('/collections/shops'))).json()) as { num_documents?: number }).num_documents;
    await waitUntil(async () => (await found()) === 200, { timeoutMs: 60_000, what: 'all documents of both regions' });
    const document = await fetch(gateway('/collections/shops/documents/shop-42'));
    expect([document.status, await document.json()]).toEqual([200, { id: 'shop-42', city: 'Basel', staff: 42 }]);
    expect(await query('SELECT count(*) AS shops, sum(staff) AS staff FROM shops')).toMatchObject({ status: 200, body: expect.stringMatching(/200\D+19900/) });
    expect((await post('/collections', JSON.stringify({ name: 'more', fields: [{ name: 'n', type: 'int32' }] }))).status).toBe(201);
    expect((await curl('/tiflash/sync-status/2')).status).toBe(200);
  });
});
