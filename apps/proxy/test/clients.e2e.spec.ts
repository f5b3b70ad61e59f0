import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TlsConfig } from '@binnacle/node-kit/proxy-config';
import { makeAuthority } from '@binnacle/testing/certificates';
import { type MariadbServer, startMariadb } from '@binnacle/testing/mariadb-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { createConnection as createMariadbConnection } from 'mariadb';
import { mysqlCli, ProxyNode } from './proxy-node.js';

describe('clients through a proxy node', () => {
  let server: MariadbServer;
  let proxy: ProxyNode;

  beforeAll(async () => {
    server = await startMariadb();
    await server.sql('CREATE TABLE test.t (id INT PRIMARY KEY, name VARCHAR(20)); INSERT INTO test.t VALUES (1, "one"), (2, "two")');
    proxy = await ProxyNode.start({ proxy: { backends: [`127.0.0.1:${server.port}`] } });
    await proxy.healthy(1);
  }, 60_000);

  afterAll(async () => {
    await proxy.stop();
    await server.stop();
  }, 60_000);

  test('mysql2 reads, writes, prepares and is listed as a session', async () => {
    const client = await proxy.connect();
    const [rows] = await client.query('SELECT id, name FROM t ORDER BY id');
    expect(rows).toEqual([{ id: 1, name: 'one' }, { id: 2, name: 'two' }]);
    const [prepared] = await client.execute('SELECT name FROM t WHERE id = ?', [2]);
    expect(prepared).toEqual([{ name: 'two' }]);
    const [session] = await proxy.sessions();
    expect(session).toMatchObject({ id: client.threadId, node: 'n0', worker: 0, user: 'root', namespace: 'default', backend: `127.0.0.1:${server.port}`, phase: 'idle', database: 'test' });
    expect(client.threadId).toBeGreaterThanOrEqual(2 ** 31);
    await client.end();
    await waitUntil(async () => (await proxy.ask('GET', `/api/v1/sessions/${session!.id}`)).status === 404, { what: 'it is gone' });
  });

  test('the mariadb client runs a batch and streams', async () => {
    const client = await createMariadbConnection({ host: '127.0.0.1', port: proxy.port, user: 'root', password: 'root', database: 'test' });
    await client.batch('INSERT INTO t VALUES (?, ?)', [[10, 'ten'], [11, 'eleven']]);
    expect(await client.query('SELECT COUNT(*) AS n FROM t WHERE id >= 10')).toEqual([{ n: 2n }]);
    await client.end();
  });

  test('the mysql command line', async () => {
    expect(await mysqlCli(proxy.port, 'SELECT name FROM test.t WHERE id=1; SELECT 2')).toBe('one\n2\n');
    await expect(mysqlCli(proxy.port, 'SELECT 1', ['--user=nobody'])).rejects.toThrow(/1045/);
  });

  test('an end by the API is an error for the client', async () => {
    const client = await proxy.connect();
    const ended = new Promise<Error>((resolve) => client.on('error', resolve));
    expect(await proxy.ask('DELETE', `/api/v1/sessions/${client.threadId}`)).toMatchObject({ status: 200, body: { closed: true } });
    await ended;
    await waitUntil(async () => (await proxy.ask('DELETE', `/api/v1/sessions/${client.threadId}`)).status === 404, { what: 'it is gone' });
  });

  test('TLS that is required is waited for, and nobody gets in plain where it cannot be had', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'binnacle-proxy-tls-'));
    const authority = await makeAuthority(folder);
    const { certFile: cert, keyFile: key } = await authority.issue('proxy');
    const secured = await ProxyNode.start({ proxy: { backends: [`127.0.0.1:${server.port}`] }, security: { serverTls: Object.assign(new TlsConfig(), { cert, key }) } });
    try {
      await secured.healthy(1);
      const readsOne = async (ssl?: { ca: Buffer }): Promise<unknown> => {
        const client = await secured.connect(ssl && { ssl });
        const [rows] = await client.query('SELECT name FROM t WHERE id = 1');
        await client.end();
        return rows;
      };
      const ssl = { ca: readFileSync(authority.caFile) };
      expect(await readsOne()).toEqual([{ name: 'one' }]);
      await secured.configure({ security: { 'require-client-tls': true } });
      await expect(readsOne()).rejects.toMatchObject({ errno: 3159, sqlState: 'HY000' });
      expect(await readsOne(ssl)).toEqual([{ name: 'one' }]);
      await secured.configure({ security: { 'require-client-tls': false } });
      expect(await readsOne()).toEqual([{ name: 'one' }]);

      await proxy.configure({ security: { 'require-client-tls': true } });
      await expect(proxy.connect()).rejects.toMatchObject({ errno: 3159, message: expect.stringContaining('security.server-tls.cert') });
    } finally {
      await proxy.configure({ security: { 'require-client-tls': false } });
      await secured.stop();
      rmSync(folder, { recursive: true, force: true });
    }
  }, 30_000);

  test('is not asked nonsense', async () => {
    expect((await proxy.ask('GET', '/api/v1/sessions?limit=0')).status).toBe(400);
    expect((await proxy.ask('GET', '/api/v1/sessions?movable=maybe')).status).toBe(400);
    expect((await proxy.ask('GET', '/api/v1/sessions/x')).status).toBe(404);
    expect((await proxy.ask('POST', '/api/v1/sessions/5/migrate', { to: 5 })).status).toBe(400);
    expect((await proxy.ask('POST', '/api/v1/backends/nowhere:1/drain')).status).toBe(404);
  });
});

test('without a backend a client is told what to set, and the node is ready', async () => {
  const proxy = await ProxyNode.start();
  await expect(proxy.connect()).rejects.toThrow(/No available backend: none is known: set proxy\.backends/);
  expect((await proxy.ask('GET', '/readyz')).status).toBe(200);
  await proxy.stop();
}, 30_000);

test('with backends that are down a client is told why, and the node is not ready', async () => {
  const proxy = await ProxyNode.start({ proxy: { backends: ['127.0.0.1:1'], healthCheckRetries: 0 } });
  await expect(proxy.connect()).rejects.toThrow(/No available backend: none of 1 can take this session \(127\.0\.0\.1:1: .*ECONNREFUSED/);
  const ready = await proxy.ask('GET', '/readyz?verbose');
  expect(ready.status).toBe(503);
  expect(ready.text).toContain('[-]sql_proxy fail: none of 1 backends takes sessions');
  expect((await proxy.ask('GET', '/api/debug/health')).status).toBe(502);
  await proxy.stop();
}, 30_000);
