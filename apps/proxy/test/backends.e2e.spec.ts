import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startGalera, type GaleraCluster } from '@binnacle/testing/galera';
import { waitUntil } from '@binnacle/testing/wait-until';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { ProxyNode } from './proxy-node.js';

/* Backends come and go under sessions of a real client: two servers of one Galera cluster. */

let cluster: GaleraCluster;
let [first, second] = ['', ''];
let folder = '';
let proxy: ProxyNode;
let clients: Connection[] = [];

beforeAll(async () => {
  cluster = await startGalera();
  [first, second] = cluster.nodes.map(({ port }) => `127.0.0.1:${port}`) as [string, string];
  folder = mkdtempSync(join(tmpdir(), 'binnacle-users-'));
  writeFileSync(join(folder, 'users.toml'), '[users]\nroot = "root"\n', { mode: 0o600 });
}, 120_000);
afterAll(async () => {
  await cluster?.stop();
  rmSync(folder, { recursive: true, force: true });
});

beforeEach(async () => {
  const fast = { healthCheckTimeoutMs: 500, healthCheckRetries: 1, healthCheckRetryIntervalMs: 100, healthCheckIntervalMs: 200 };
  proxy = await ProxyNode.start({ proxy: { ...fast, backends: [first, second], usersFile: join(folder, 'users.toml'), loginTimeoutMs: 5_000 } });
  await proxy.healthy(2);
}, 60_000);
afterEach(async () => {
  for (const client of clients) client.destroy();
  clients = [];
  await proxy.stop();
}, 30_000);

async function connect(count: number): Promise<void> {
  clients.push(...(await Promise.all(Array.from({ length: count }, () => proxy.connect()))));
  for (const client of clients) client.on('error', () => {});
}

/** On which server a client's next statement runs. */
async function serverOf(client: Connection): Promise<string> {
  const [rows] = await client.query<RowDataPacket[]>('SELECT @@port AS port');
  return `127.0.0.1:${rows[0]!['port'] as number}`;
}

async function shown(id: string): Promise<{ healthy: boolean; draining: boolean; reason: string; sessions: number }> {
  return (await proxy.ask('GET', `/api/v1/backends/${id}`)).body as never;
}

const sessionsOn = async (id: string): Promise<number> => (await proxy.sessions()).filter(({ backend }) => backend === id).length;

test('a drained backend is empty within 6 s, its clients notice nothing, and after the drain it gets new ones', async () => {
  await connect(30);
  expect(Math.min(await sessionsOn(first), await sessionsOn(second))).toBeGreaterThan(5);
  const startMs = performance.now();
  expect((await proxy.ask('POST', `/api/v1/backends/${first}/drain`)).status).toBe(200);
  await waitUntil(async () => (await sessionsOn(first)) === 0, { what: 'empty', timeoutMs: 8_000 });
  expect(performance.now() - startMs).toBeLessThan(6_500);
  expect(await Promise.all(clients.map(serverOf))).toEqual(clients.map(() => second));
  await connect(3);
  expect(await sessionsOn(first)).toBe(0);
  await proxy.ask('DELETE', `/api/v1/backends/${first}/drain`);
  await waitUntil(async () => !(await shown(first)).draining, { what: 'not drained' });
  await connect(5);
  expect(await sessionsOn(first)).toBe(5);
}, 60_000);

test('on the fail list: who can leave does, who cannot is closed after failover-timeout', async () => {
  await connect(10);
  for (const client of clients) await client.query('SELECT 1');
  const busy = clients[(await Promise.all(clients.map(serverOf))).indexOf(first)]!;
  await busy.beginTransaction();
  await busy.query('SELECT @@port');
  await proxy.configure({ proxy: { 'fail-backend-list': [first], 'failover-timeout': 8 } });
  await waitUntil(async () => (await sessionsOn(first)) === 1, { what: 'all but one are gone', timeoutMs: 8_000 });
  expect(await serverOf(busy)).toBe(first);
  await waitUntil(async () => (await sessionsOn(first)) === 0, { what: 'closed', timeoutMs: 15_000 });
  await expect(busy.query('SELECT 1')).rejects.toThrow();
  const others = clients.filter((client) => client !== busy);
  expect(await Promise.all(others.map(serverOf))).toEqual(others.map(() => second));
  // Both on the list would leave nothing.
  await proxy.configure({ proxy: { 'fail-backend-list': [first, second] } });
  await waitUntil(async () => !(await shown(first)).draining && !(await shown(second)).draining, { what: 'the list is ignored' });
}, 60_000);

test('while a server hangs, a new client waits for it no longer than one check takes, and not at all once a check has failed', async () => {
  await connect(4);
  cluster.nodes[0]!.pause();
  try {
    const rushMs = performance.now();
    await connect(10);
    expect(performance.now() - rushMs).toBeLessThan(2_500);
    await waitUntil(() => proxy.sql.backends.view().backends.some(({ id, unsteady, healthy }) => id === first && (unsteady === true || !healthy)), { what: 'suspected' });
    const startMs = performance.now();
    const late = await proxy.connect();
    clients.push(late);
    expect(performance.now() - startMs).toBeLessThan(1_000);
    await waitUntil(async () => !(await shown(first)).healthy, { what: 'unhealthy' });
  } finally {
    cluster.nodes[0]!.resume();
  }
  await proxy.healthy(2);
}, 60_000);

test('a server that became read-only is left by the sessions of writers', async () => {
  await connect(10);
  await cluster.nodes[0]!.sql('SET GLOBAL read_only = 1');
  try {
    await waitUntil(async () => (await sessionsOn(first)) === 0, { what: 'empty', timeoutMs: 8_000 });
    expect(await Promise.all(clients.map(serverOf))).toEqual(clients.map(() => second));
    await connect(3);
    expect(await sessionsOn(first)).toBe(0);
  } finally {
    await cluster.nodes[0]!.sql('SET GLOBAL read_only = 0');
  }
}, 60_000);

test('a backend that is taken out of the settings is left, and forgotten', async () => {
  await connect(10);
  await proxy.configure({ proxy: { backends: [second] } });
  await waitUntil(async () => (await proxy.ask('GET', `/api/v1/backends/${first}`)).status === 404, { what: 'forgotten', timeoutMs: 20_000 });
  expect(await Promise.all(clients.map(serverOf))).toEqual(clients.map(() => second));
}, 60_000);
