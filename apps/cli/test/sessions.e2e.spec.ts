import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type MariadbServer, startMariadb } from '@binnacle/testing/mariadb-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { createConnection, type Connection } from 'mysql2/promise';
import { portsOf, type ProductProcess, startEmbedded, temporaryFolder } from './product.js';

const ports = portsOf('sessions');
const folder = temporaryFolder('sessions');
const url = (path: string, port = ports.gateway) => `http://127.0.0.1:${port}${path}`;
const json = async (path: string) => (await fetch(url(path))).json() as Promise<Record<string, unknown>>;
const connect = (): Promise<Connection> => createConnection({ host: '127.0.0.1', port: ports.sql, user: 'root', password: 'root', database: 'test' });
const put = (toml: string) => fetch(url('/api/admin/config', ports.tiproxy), { method: 'PUT', body: toml });

describe('SQL sessions of every role in one process', () => {
  let server: MariadbServer;
  let product: ProductProcess;

  beforeAll(async () => {
    server = await startMariadb();
    product = await startEmbedded('sessions', folder.path, ['--proxy.workers=2', '--proxy.health-check-interval-ms=500']);
  }, 90_000);

  afterAll(async () => {
    expect(await product.stop()).toBe(0);
    await server.stop();
    folder.remove();
  }, 60_000);

  test('the SQL port is open and says what to set as long as nothing says where backends are', async () => {
    expect(product.output()).toContain(`:${ports.sql}`);
    await expect(connect()).rejects.toThrow('set proxy.backends');
    expect((await fetch(url('/readyz'))).status).toBe(200);
    expect((await fetch(url('/api/debug/health', ports.tiproxy))).status).toBe(200);
  });

  test('backends come with PUT /api/admin/config, and reach every worker', async () => {
    expect((await put(`[proxy]\nbackends = ["127.0.0.1:${server.port}"]`)).status).toBe(200);
    const client = await waitUntil(() => connect().catch(() => undefined), { what: 'a session', timeoutMs: 20_000 });
    expect((await client.query('SELECT 1 AS one'))[0]).toEqual([{ one: 1 }]);
    expect(await json('/api/v1/sessions')).toMatchObject({ total: 1, sessions: [{ id: client.threadId, user: 'root', backend: `127.0.0.1:${server.port}`, movable: false, why: [{ code: 'credential' }] }] });
    // Workers report how many they hold ten times a second.
    const [backend] = await waitUntil(async () => {
      const { backends } = (await json('/api/v1/backends')) as { backends: { sessions: number }[] };
      return backends[0]?.sessions === 1 ? backends : undefined;
    }, { what: 'the session counts at its backend' });
    expect(backend).toMatchObject({ id: `127.0.0.1:${server.port}`, kind: 'mariadb', healthy: true });
    expect((await fetch(url('/metrics'))).status).toBe(200);
    expect(await (await fetch(url('/metrics'))).text()).toMatch(/^tiproxy_server_connections 1$/m);

    expect((await put('[proxy]\nmax-connections = 1')).status).toBe(200);
    await waitUntil(() => connect().then((late) => late.end().then(() => false), (error: { errno: number }) => error.errno === 1040), { what: 'one more is refused with 1040', timeoutMs: 10_000 });
    expect((await put('[proxy]\nmax-connections = 0')).status).toBe(200);
    expect((await put('[proxy]\nmax-conections = 1')).status).toBe(400);
    await client.end();
  }, 60_000);

  test('a session is ended through the gateway', async () => {
    const client = await waitUntil(() => connect().catch(() => undefined), { what: 'a session', timeoutMs: 10_000 });
    client.on('error', () => {});
    expect((await fetch(url(`/api/v1/sessions/${client.threadId}`), { method: 'DELETE' })).status).toBe(200);
    await expect(client.query('SELECT 1')).rejects.toThrow();
    expect(await (await fetch(url(`/api/v1/sessions/${client.threadId}`))).json()).toEqual({ error: { code: 'NOT_FOUND', message: `there is no session ${client.threadId}` } });
  }, 30_000);
});
