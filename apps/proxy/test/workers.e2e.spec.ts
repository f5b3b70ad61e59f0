import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type MariadbServer, startMariadb } from '@binnacle/testing/mariadb-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { createConnection, type Connection } from 'mysql2/promise';
import { ProxyProcess, startProxy } from './proxy-process.js';

interface SessionShown {
  readonly id: number;
  readonly worker: number;
}

const childrenOf = (pid: number): number[] => readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter((text) => text !== '').map(Number);

describe('a proxy with two workers', () => {
  let server: MariadbServer;
  let proxy: ProxyProcess;

  beforeAll(async () => {
    server = await startMariadb();
    proxy = await startProxy({ backends: [`127.0.0.1:${server.port}`], toml: 'workers = 2' });
    // The port is open as soon as the first one is.
    await waitUntil(() => proxy.output.includes('the SQL port is open'), { what: 'both run' });
  }, 60_000);

  afterAll(async () => {
    await proxy.stop();
    await server.stop();
  }, 60_000);

  const connect = async (): Promise<Connection> => {
    const client = await createConnection({ host: '127.0.0.1', port: proxy.port, user: 'root', password: 'root', database: 'test' });
    client.on('error', () => {});
    return client;
  };
  const sessions = async (): Promise<SessionShown[]> => (await proxy.api('GET', '/api/v1/sessions')).body['sessions'] as SessionShown[];
  const workerOf = async (client: Connection): Promise<number> => (await sessions()).find(({ id }) => id === client.threadId)?.worker as number;

  test('shares its port between them, lists the sessions of both, and counts them together', async () => {
    const clients = await Promise.all(Array.from({ length: 8 }, connect));
    expect(new Set((await sessions()).map(({ worker }) => worker))).toEqual(new Set([0, 1]));
    // What keeps the memory of sessions small.
    for (const pid of childrenOf(proxy.pid)) expect(readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')).toContain('--max-semi-space-size=8');
    for (const client of clients) await client.query('SELECT 1');
    expect(await proxy.metrics()).toMatch(/^tiproxy_server_connections 8$/m);
    expect(await proxy.metrics()).toMatch(/^tiproxy_session_query_total\{backend="[^"]+",cmd_type="Query"\} 8$/m);
    await Promise.all(clients.map((client) => client.end()));
  }, 30_000);

  test('KILL finds its session in the other worker', async () => {
    const clients = await Promise.all(Array.from({ length: 4 }, connect));
    const [killer] = clients as [Connection];
    const own = await workerOf(killer);
    const workers = await Promise.all(clients.map(workerOf));
    const victim = clients[workers.findIndex((worker) => worker !== own)] as Connection;
    const started = Date.now();
    const sleep = victim.query('SELECT SLEEP(30) AS slept').then(([rows]) => rows, (error: { errno: number }) => error.errno);
    await waitUntil(async () => (await server.sql("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SELECT SLEEP(30)%'")) === '1\n', { what: 'it sleeps' });
    await killer.query(`KILL QUERY ${victim.threadId}`);
    expect([1317, [{ slept: 1 }]]).toContainEqual(await sleep);
    expect(Date.now() - started).toBeLessThan(20_000);
    expect((await victim.query('SELECT 1 AS one'))[0]).toEqual([{ one: 1 }]);

    await killer.query(`KILL ${victim.threadId}`);
    await waitUntil(async () => !(await sessions()).some(({ id }) => id === victim.threadId), { what: 'the killed session is gone' });
    await expect(killer.query('KILL 4294967295')).rejects.toMatchObject({ errno: 1094 });
    for (const client of clients) client.destroy();
  }, 60_000);

  test('one that is killed takes its own sessions along and no others, and another one starts', async () => {
    const clients = await Promise.all(Array.from({ length: 4 }, connect));
    const workers = await Promise.all(clients.map(workerOf));
    const created = async (): Promise<number> => Number(/^tiproxy_server_create_connection_total (\d+)$/m.exec(await proxy.metrics())?.[1]);
    const counted = await created();
    const before = childrenOf(proxy.pid);
    expect(before).toHaveLength(2);
    process.kill(before[0] as number, 'SIGKILL');
    await waitUntil(() => /a worker of the SQL proxy died \(signal SIGKILL\), and \d+ sessions with it/.test(proxy.output), { what: 'its death is logged' });
    const alive = await Promise.all(clients.map((client) => client.query('SELECT 1').then(() => true, () => false)));
    const ofWorker = (number: number): boolean[] => alive.filter((_, at) => workers[at] === number);
    expect([ofWorker(0), ofWorker(1)].map((each) => new Set(each).size)).toEqual([1, 1]);
    expect(ofWorker(0)[0]).not.toBe(ofWorker(1)[0]);

    await waitUntil(() => childrenOf(proxy.pid).length === 2, { what: 'another worker runs' });
    await waitUntil(
      async () => {
        const late = await Promise.all(Array.from({ length: 4 }, connect));
        const both = new Set((await sessions()).map(({ worker }) => worker)).size === 2;
        for (const client of late) client.destroy();
        return both;
      },
      { what: 'both take connections', timeoutMs: 20_000 },
    );
    // What the dead one had counted stays counted.
    expect(await created()).toBeGreaterThan(counted);
    for (const client of clients) client.destroy();
  }, 60_000);

  test('a node that is killed leaves no worker behind', async () => {
    const other = await startProxy({ backends: [`127.0.0.1:${server.port}`], toml: 'workers = 2' });
    await waitUntil(() => childrenOf(other.pid).length === 2, { what: 'both run' });
    const pids = childrenOf(other.pid);
    await other.stop();
    await waitUntil(() => pids.every((pid) => !isAlive(pid)), { what: 'no worker is left', timeoutMs: 10_000 });
  }, 30_000);

  test('ends with its workers', async () => {
    const pids = childrenOf(proxy.pid);
    proxy.signal('SIGTERM');
    expect(await proxy.ended()).toBe(0);
    await waitUntil(() => pids.every((pid) => !isAlive(pid)), { what: 'no worker is left' });
  }, 60_000);
});

test('a port that is in use keeps a proxy with workers from starting, and the error says what to set', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const { port } = taken.address() as AddressInfo;
  const proxy = new ProxyProcess(port, 0, { backends: [], toml: 'workers = 2' });
  expect(await proxy.ended()).toBe(1);
  expect(proxy.output).toContain(`binnacle: port ${port} on 127.0.0.1 is in use: free it, or set proxy.addr (BINNACLE_PROXY_ADDR)`);
  await proxy.stop();
  taken.close();
}, 30_000);

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
