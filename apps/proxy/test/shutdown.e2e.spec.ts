import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type MariadbServer, startMariadb } from '@binnacle/testing/mariadb-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { createConnection, type Connection } from 'mysql2/promise';
import { greets, startProxy, type ProxyProcess } from './proxy-process.js';

const connectTo = async ({ port }: ProxyProcess): Promise<Connection> => {
  const client = await createConnection({ host: '127.0.0.1', port, user: 'root', password: 'root', database: 'test' });
  client.on('error', () => {});
  return client;
};
const isGone = (client: Connection): Promise<boolean> => client.query('SELECT 1').then(() => false, () => true);

describe('the end of a proxy', () => {
  let server: MariadbServer;
  let proxy: ProxyProcess;

  beforeAll(async () => {
    server = await startMariadb();
    await server.sql('CREATE TABLE test.t (n INT)');
  }, 60_000);

  afterAll(() => server.stop(), 60_000);

  const start = async (...settings: string[]): Promise<void> => {
    proxy = await startProxy({ backends: [`127.0.0.1:${server.port}`], toml: settings.join('\n') });
  };

  test('takes nobody new, ends who is idle, and waits for who is in a transaction', async () => {
    await start('graceful-close-conn-timeout = 30');
    try {
      const [idle, busy] = [await connectTo(proxy), await connectTo(proxy)];
      await busy.query('BEGIN');
      await busy.query('INSERT INTO t VALUES (1)');
      const asleep = busy.query('SELECT SLEEP(1) AS slept');
      proxy.signal('SIGTERM');
      await waitUntil(async () => !(await greets(proxy.port)), { what: 'the port is closed' });
      await waitUntil(() => isGone(idle), { what: 'the idle one is gone' });
      expect((await asleep)[0]).toEqual([{ slept: 0 }]);
      await busy.query('INSERT INTO t VALUES (2)');
      await busy.query('COMMIT');
      expect(await server.sql('SELECT COUNT(*) FROM test.t')).toBe('2\n');
      await waitUntil(() => isGone(busy), { what: 'after its transaction it is gone too' });
      expect(await proxy.ended()).toBe(0);
      expect(proxy.output).toContain('"cut":0');
    } finally {
      await proxy.stop();
    }
  }, 60_000);

  test('cuts what is not done in time, with an error that says so', async () => {
    await start('graceful-close-conn-timeout = 1');
    try {
      const client = await connectTo(proxy);
      await client.query('BEGIN');
      await client.query('INSERT INTO t VALUES (3)');
      const query = client.query('SELECT SLEEP(60)').then(() => 'answered', (error: { errno?: number; code?: string }) => error.errno ?? error.code);
      proxy.signal('SIGTERM');
      expect(await query).toBe(1053);
      expect(await proxy.ended()).toBe(0);
      expect(proxy.output).toContain('"cut":1');
      expect(await server.sql('SELECT COUNT(*) FROM test.t WHERE n = 3')).toBe('0\n');
    } finally {
      await proxy.stop();
    }
  }, 60_000);

  test('while load balancers are to hear of it, it is not ready and takes connections all the same', async () => {
    await start('graceful-wait-before-shutdown = 3', 'graceful-close-conn-timeout = 1');
    try {
      expect((await proxy.api('GET', '/api/debug/health')).status).toBe(200);
      proxy.signal('SIGTERM');
      await waitUntil(async () => (await proxy.api('GET', '/readyz')).status === 503, { what: 'it is not ready' });
      expect((await proxy.api('GET', '/api/debug/health')).status).toBe(502);
      const late = await connectTo(proxy);
      expect((await late.query('SELECT 1 AS one'))[0]).toEqual([{ one: 1 }]);
      expect(await proxy.ended()).toBe(0);
    } finally {
      await proxy.stop();
    }
  }, 60_000);
});
