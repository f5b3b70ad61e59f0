import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { statementDigest } from '@binnacle/mysql-wire/digest';
import { type MariadbServer, startMariadb } from '@binnacle/testing/mariadb-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { encodeChangeUser } from '@binnacle/mysql-wire/handshake';
import type { Connection } from 'mysql2/promise';
import type { BackendConnection } from '../src/connection/backend-connection.js';
import { connect } from './moving-sessions.js';
import { mysqlCli, ProxyNode } from './proxy-node.js';

describe.each([1, 2])('limits as clients meet them, with %d worker processes', (workers) => {
  let server: MariadbServer;
  let proxy: ProxyNode;
  const open: Connection[] = [];

  const connect = async (): Promise<Connection> => {
    const client = await proxy.connect();
    open.push(client);
    return client;
  };
  /** Number and SQLSTATE of what the client is told, or undefined. */
  const error = (attempt: Promise<unknown>): Promise<unknown> => attempt.then(() => undefined, ({ errno, sqlState }: { errno: number; sqlState: string }) => [errno, sqlState]);
  const limit = (limits: object, rest: object = {}): Promise<void> => proxy.namespace('default', { limits, ...rest });

  beforeAll(async () => {
    server = await startMariadb();
    proxy = await ProxyNode.start({ proxy: { backends: [`127.0.0.1:${server.port}`], workers } });
    await proxy.healthy(1);
  }, 60_000);
  afterEach(async () => {
    for (const client of open.splice(0)) client.destroy();
    await limit({});
    await proxy.configure({ proxy: { 'max-connections': 0 } });
    await waitUntil(async () => (await proxy.sessions()).length === 0);
  });
  afterAll(async () => {
    await proxy.stop();
    await server.stop();
  }, 60_000);

  test('of the node: 1040, until somebody goes or the limit does', async () => {
    await proxy.configure({ proxy: { 'max-connections': 2 } });
    // A worker hears of it, and of the others' sessions, within a report.
    await waitUntil(async () => {
      const refused = await error(connect());
      // In the place of the greeting an error has no SQLSTATE.
      return refused !== undefined && (expect(refused).toEqual([1040, '']), true);
    });
    expect((await proxy.sessions()).length).toBeLessThanOrEqual(workers === 1 ? 2 : 4);
    await proxy.configure({ proxy: { 'max-connections': 0 } });
    await waitUntil(async () => (await error(connect())) === undefined);
    expect(await proxy.metrics()).toMatch(/tiproxy_server_reject_connection_total\{type="max_connections"\} [1-9]/);
  });

  test('of a namespace: 1040 and 1203', async () => {
    await limit({ 'connections-per-user': 2 });
    await waitUntil(async () => {
      const refused = await error(connect());
      return refused !== undefined && (expect(refused).toEqual([1203, '42000']), true);
    });
    await limit({ connections: 1 });
    await waitUntil(async () => {
      const refused = await error(connect());
      return refused !== undefined && (expect(refused).toEqual([1040, '08004']), true);
    });
  });

  test('of statements at the same time: they wait in line, and 1226 when it is full or they waited too long', async () => {
    await limit({ 'concurrent-queries': 1, 'queue-max': 1, 'queue-wait-ms': 300 });
    const clients = [await connect(), await connect(), await connect(), await connect(), await connect()];
    await waitUntil(async () => (await Promise.all(clients.map((client) => error(client.query('SELECT SLEEP(0.6)'))))).filter((each) => JSON.stringify(each) === '[1226,"42000"]').length >= (workers === 1 ? 4 : 2));
    await limit({ 'concurrent-queries': 1, 'queue-max': 10, 'queue-wait-ms': 20_000 });
    expect(await Promise.all(clients.map((client) => error(client.query('SELECT SLEEP(0.05)'))))).toEqual(clients.map(() => undefined));
    expect(await proxy.metrics()).toMatch(/binnacle_proxy_refused_total\{namespace="default",reason="concurrent-queries"\} [1-9]/);
  });

  test('of statements a second: they take as long as the rate says', async () => {
    await limit({ 'queries-per-second': 20, 'queries-burst': 1, 'queue-wait-ms': 20_000 });
    const client = await connect();
    await waitUntil(async () => {
      const startedAtMs = performance.now();
      for (let count = 0; count < 10; count++) await client.query('DO 1');
      return performance.now() - startedAtMs >= 440;
    });
  });

  test('a statement on the refuse list is told 1148, prepared or not, and others go on in the same session', async () => {
    const { digest } = statementDigest('SELECT 5 + 5', { ansiQuotes: false, noBackslashEscapes: false });
    const client = await connect();
    await limit({}, { 'refuse-digests': [digest] });
    await waitUntil(async () => JSON.stringify(await error(client.query('select 1 + 2'))) === '[1148,"42000"]');
    expect(await error(client.execute('SELECT 7 + 8'))).toEqual([1148, '42000']);
    for (const text of ['(SELECT 3 + 4)', `${' '.repeat(70_000)}SELECT 5 + 6`]) expect(await error(client.query(text))).toEqual([1148, '42000']);
    const [rows] = await client.query('SELECT 1 + 1 AS two, 3');
    expect(rows).toEqual([{ two: 2, 3: 3 }]);
    const several = await proxy.connect({ multipleStatements: true });
    open.push(several);
    expect(await error(several.query('DO 1; SELECT 3 + 4'))).toEqual([1148, '42000']);
    await expect(mysqlCli(proxy.port, 'SELECT 1; SELECT 5 /* no */ + 5')).rejects.toThrow(/1148 \(42000\).*refuse list of namespace 'default'/);
  });
});

describe('a change of the user', () => {
  let server: MariadbServer;
  let proxy: ProxyNode;

  beforeAll(async () => {
    server = await startMariadb();
    await server.sql("CREATE USER other@'%' IDENTIFIED BY 'other', third@'%' IDENTIFIED BY 'third'");
    proxy = await ProxyNode.start({ proxy: { backends: [`127.0.0.1:${server.port}`], keepCredentials: true } });
    await proxy.healthy(1);
  }, 60_000);
  afterEach(() => waitUntil(async () => (await proxy.sessions()).length === 0));
  afterAll(async () => {
    await proxy.stop();
    await server.stop();
  }, 60_000);

  /** Without an answer to what the server would ask. */
  const change = (client: BackendConnection, user: string) =>
    client.command(encodeChangeUser({ user, authResponse: Buffer.alloc(0), database: '', collation: 45, authPlugin: 'mysql_native_password', attributes: [] }, client.capabilities.capabilities), 10_000);

  test('leads into the namespace of that user, whose limits and lists hold from then on', async () => {
    const { digest } = statementDigest('SELECT 5 + 5', { ansiQuotes: false, noBackslashEscapes: false });
    await proxy.namespace('others', { frontend: { users: ['other'] }, limits: { connections: 1 }, 'refuse-digests': [digest] });
    const [client, second] = [await proxy.connect({ database: '' }), await connect(proxy.port)];
    const namespaces = async (): Promise<unknown> => (await proxy.sessions()).map(({ user, namespace }) => `${user} ${namespace}`).sort();
    await client.changeUser({ user: 'other', password: 'other', database: '' });
    await waitUntil(async () => JSON.stringify(await namespaces()) === '["other others","root default"]');
    await expect(client.query('SELECT 1 + 2')).rejects.toMatchObject({ errno: 1148 });
    await expect(change(second, 'other')).rejects.toMatchObject({ code: 1040 });
    expect((await second.query('SELECT CURRENT_USER() LIKE \'root%\'', 10_000)).rows[0]![0]!.toString()).toBe('1');
    // His own place is no hindrance.
    await client.changeUser({ user: 'other', password: 'other', database: '' });
    await client.changeUser({ user: 'third', password: 'third', database: '' });
    expect(await namespaces()).toEqual(['root default', 'third default']);
    await client.query('SELECT 1 + 2');
    await client.changeUser({ user: 'other', password: 'other', database: '' });
    await client.end();
    await waitUntil(async () => (await proxy.metrics()).includes('binnacle_proxy_namespace_connections{namespace="others"} 0'));
    second.close();
  });

  test('that the server refuses leaves the session as the server does: reset, and followed from its beginning', async () => {
    const client = await proxy.connect();
    const value = async (text: string): Promise<unknown> => Object.values(((await client.query(text))[0] as object[])[0]!)[0];
    const was = await value('SELECT @@lock_wait_timeout');
    await client.query("SET SESSION lock_wait_timeout = 77, sql_mode = 'ANSI_QUOTES'");
    await expect(client.changeUser({ user: 'third', password: 'wrong', database: 'mysql' })).rejects.toMatchObject({ errno: 1045 });
    expect([await value('SELECT @@lock_wait_timeout'), await value('SELECT DATABASE()')]).toEqual([was, 'test']);
    expect(await value('SELECT @@sql_mode')).not.toContain('ANSI_QUOTES');
    expect(await value('SELECT @@session_track_system_variables')).toBe('*');
    expect((await proxy.sessions()).map(({ why }) => why)).toEqual([[]]);
    await client.end();
  });

  test('is refused where the namespace of that user is served by other backends', async () => {
    await proxy.namespace('readers', { frontend: { users: ['third'] }, backend: { role: 'replica' } });
    await proxy.namespace('elsewhere', { frontend: { users: ['other'] }, backend: { instances: ['127.0.0.1:1'] } });
    const client = await connect(proxy.port);
    await expect(change(client, 'third')).rejects.toMatchObject({ code: 1105, message: expect.stringContaining("namespace 'readers'") });
    await expect(change(client, 'other')).rejects.toMatchObject({ code: 1105, message: expect.stringContaining('connect anew') });
    expect((await client.query('SELECT CURRENT_USER() LIKE \'root%\'', 10_000)).rows[0]![0]!.toString()).toBe('1');
    client.close();
  });
});

describe('what is measured of interactions, over HTTP', () => {
  let server: MariadbServer;
  let proxy: ProxyNode;

  beforeAll(async () => {
    server = await startMariadb();
    proxy = await ProxyNode.start({ proxy: { backends: [`127.0.0.1:${server.port}`] } });
    await proxy.healthy(1);
  }, 60_000);
  afterAll(async () => {
    await proxy.stop();
    await server.stop();
  }, 60_000);

  test('begins with a change of the configuration and ends with one, for sessions that are there', async () => {
    const client = await proxy.connect();
    const labels = `backend="127.0.0.1:${server.port}"`;
    const count = async (rest: string): Promise<number> => Number(new RegExp(`interaction_duration_seconds_count\\{${labels},${rest}\\} (\\d+)`).exec(await proxy.metrics())?.[1] ?? 0);
    await client.query('SELECT 1');
    expect(await proxy.metrics()).not.toContain('interaction_duration_seconds_count{');
    await proxy.configure({ advance: { 'query-interaction-metrics': true, 'query-interaction-user-patterns': 'ro?t' } });
    await client.query('SELECT 1');
    await client.query('UPDATE test.nothing SET a = 1').catch(() => undefined);
    await client.execute('SELECT ?', [1]);
    await client.ping();
    expect(await count('cmd_type="Query",sql_type="select"')).toBe(1);
    expect(await count('cmd_type="Query",sql_type="update"')).toBe(1);
    expect(await count('cmd_type="StmtExecute",sql_type="other"')).toBe(1);
    expect(await count('cmd_type="Ping",sql_type="other"')).toBe(1);
    await proxy.configure({ advance: { 'query-interaction-user-patterns': 'somebody' } });
    await client.query('SELECT 1');
    expect(await count('cmd_type="Query",sql_type="select"')).toBe(1);
    await client.end();
  });

  test('every command, byte and packet is counted for its backend', async () => {
    const client = await proxy.connect();
    await client.query('SELECT REPEAT("x", 100000) AS x');
    await client.execute('SELECT ?', [1]);
    await client.end();
    const value = async (name: string): Promise<number> => Number(new RegExp(`^${name}\\{[^}]*\\} (\\d+)$`, 'm').exec(await proxy.metrics())?.[1]);
    expect(await value('tiproxy_traffic_inbound_bytes')).toBeGreaterThan(100_000);
    expect(await value('tiproxy_traffic_outbound_packets')).toBeGreaterThanOrEqual(3);
    expect(await proxy.metrics()).toMatch(/session_query_total\{[^}]*cmd_type="StmtPrepare"\} \d+\n/);
    await waitUntil(async () => (await proxy.metrics()).includes('\ntiproxy_server_connections 0\n'));
    expect(await proxy.metrics()).toMatch(/tiproxy_server_disconnection_total\{type="success"\} [12]\n/);
    expect(await proxy.metrics()).toMatch(/tiproxy_balance_b_score\{backend="[^"]+",factor="status"\} 0\n/);
  });
});
