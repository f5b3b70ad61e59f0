import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import { Capability } from '@binnacle/mysql-wire/capabilities';
import { Command } from '@binnacle/mysql-wire/command';
import { encodeErr } from '@binnacle/mysql-wire/err-packet';
import { Errors } from '@binnacle/mysql-wire/error-codes';
import { framePayload } from '@binnacle/mysql-wire/packet-header';
import { makeAuthority, type TestAuthority } from '@binnacle/testing/certificates';
import { startMariadb, type MariadbServer } from '@binnacle/testing/mariadb-server';
import type { Backend } from '../backends/backend.js';
import { dialBackend, type BackendConnection, type BackendLogin } from './backend-connection.js';
import { ConnectionLost } from './mysql-error.js';

const timeoutMs = 10_000;
let folder: string;
let authority: TestAuthority;
let server: MariadbServer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'binnacle-connection-'));
  authority = await makeAuthority(folder);
  const { certFile, keyFile } = await authority.issue('mariadb');
  server = await startMariadb({ args: [`--ssl-ca=${authority.caFile}`, `--ssl-cert=${certFile}`, `--ssl-key=${keyFile}`, '--proxy-protocol-networks=127.0.0.1', '--max-connections=20'] });
  const accounts = [
    "CREATE USER app@'%' IDENTIFIED BY 'pässword'; GRANT ALL ON *.* TO app@'%'",
    "CREATE USER nobody@'%'",
    "CREATE USER tlsonly@'%' IDENTIFIED BY 'secret' REQUIRE SSL",
    "INSTALL SONAME 'auth_ed25519'; CREATE USER ed@'%' IDENTIFIED VIA ed25519 USING PASSWORD('secret')",
  ];
  await server.sql(accounts.join('; '));
}, 60_000);

afterAll(async () => {
  await server.stop();
  await rm(folder, { recursive: true, force: true });
});

function backendAt(port: number): Backend {
  return {
    id: `127.0.0.1:${port}`, host: '127.0.0.1', port, cluster: 'default', kind: 'unknown', healthy: true, reason: '', draining: false, readOnly: false, group: '', labels: {},
  };
}

const defaults: BackendLogin = {
  user: 'app', database: 'test', collation: 45, attributes: [['program_name', 'spec']], capabilities: { capabilities: Capability.multiStatements, mariadbCapabilities: 0 },
  credential: { kind: 'password', password: 'pässword' }, tls: { mode: 'off', verify: false },
};

const dial = (login: Partial<BackendLogin> = {}): Promise<BackendConnection> => dialBackend(backendAt(server.port), { ...defaults, ...login }, timeoutMs);

const text = (rows: readonly (readonly (Buffer | null)[])[]): (string | undefined)[][] => rows.map((row) => row.map((value) => value?.toString()));

test('statements and other commands are answered whole, errors leave the connection as good as before', async () => {
  const connection = await dial();
  expect(connection).toMatchObject({ kind: 'mariadb', collation: 45, statusFlags: 2 });
  const { rows, columns } = await connection.query("SELECT CONNECTION_ID() AS id, NULL AS nothing, 'ä' AS text, DATABASE()", timeoutMs);
  expect(columns).toEqual(['id', 'nothing', 'text', 'DATABASE()']);
  expect(text(rows)).toEqual([[String(connection.threadId), undefined, 'ä', 'test']]);

  await expect(connection.query('SELECT nonsense', timeoutMs)).rejects.toMatchObject({ name: 'MysqlError', code: 1054, sqlState: '42S22' });
  const many = await connection.query('SELECT seq FROM seq_1_to_20000', timeoutMs);
  expect(many.rows.length).toBe(20_000);
  expect(many.rows.at(-1)![0]!.toString()).toBe('20000');

  const both = await connection.query("SELECT 1 AS a; SET @@session_track_schema=1; USE mysql; SELECT 2", timeoutMs);
  expect([both.columns, text(both.rows), both.changes]).toEqual([['a'], [['1']], [{ kind: 'schema', name: 'mysql' }]]);

  expect((await connection.command(Buffer.from([Command.ping]), timeoutMs)).ok?.affectedRows).toBe(0n);
  const { statement } = await connection.command(Buffer.from('\x16SELECT ?, ? FROM mysql.user'), timeoutMs);
  expect(statement).toMatchObject({ parameterCount: 2, columnCount: 2 });
  const close = Buffer.alloc(5);
  close[0] = Command.stmtClose;
  close.writeUInt32LE(statement!.id, 1);
  await connection.command(close, timeoutMs);
  expect((await connection.query("SHOW SESSION STATUS LIKE 'Com_stmt_close'", timeoutMs)).rows[0]![1]!.toString()).toBe('1');
  expect((await connection.command(Buffer.from([Command.statistics]), timeoutMs)).rows[0]![0]!.toString()).toMatch(/^Uptime/);
  await connection.query('BEGIN', timeoutMs);
  expect(connection.statusFlags & 1).toBe(1);
  connection.close();
});

test('an answer of more than a packet is put together', async () => {
  const connection = await dial();
  await connection.query('SET GLOBAL max_allowed_packet=67108864', timeoutMs);
  connection.close();
  const larger = await dial();
  const { rows } = await larger.query("SELECT REPEAT('x', 20000000), 'behind'", timeoutMs);
  expect([rows[0]![0]!.length, rows[0]![1]!.toString()]).toEqual([20_000_000, 'behind']);
  larger.close();
});

test.each(['zlib', 'zstd'] as const)('compressed by %s, where the server has it', async (compression) => {
  const connection = await dial({ compression });
  const statement = `SELECT '${'x'.repeat(100_000)}'`;
  for (let i = 0; i < 3; i++) expect((await connection.query(statement, timeoutMs)).rows[0]![0]!.length).toBe(100_000);
  const status = await connection.query("SHOW STATUS LIKE 'Compression'", timeoutMs);
  // MariaDB 10.11 has no zstd.
  expect(text(status.rows)).toEqual([['Compression', compression === 'zlib' ? 'ON' : 'OFF']]);
  if (compression === 'zlib') expect(connection.channel.bytesRead).toBeLessThan(10_000);
  connection.close();
});

test('TLS where it is asked for, with a certificate that is known', async () => {
  const cipher = async (connection: BackendConnection): Promise<string> => (await connection.query("SHOW STATUS LIKE 'Ssl_version'", timeoutMs)).rows[0]![1]!.toString();
  const plain = await dial();
  expect([await cipher(plain), plain.channel.secure]).toEqual(['', false]);
  plain.close();
  const context = createSecureContext({ ca: await readFile(authority.caFile) });
  const checked = await dial({ tls: { mode: 'required', context, verify: true }, user: 'tlsonly', credential: { kind: 'password', password: 'secret' }, database: '' });
  expect([await cipher(checked), checked.channel.secure]).toEqual(['TLSv1.3', true]);
  checked.close();
  const stranger = createSecureContext({});
  await expect(dial({ tls: { mode: 'required', context: stranger, verify: true } })).rejects.toThrow(/no TLS with 127.0.0.1:\d+: .*(certificate|issuer)/);
});

test('the source address that a PROXY header says is what the server sees', async () => {
  const proxyHeader = { proxied: true, source: { address: '203.0.113.7', port: 4711 }, destination: { address: '203.0.113.1', port: 6000 }, tlvs: [] };
  const connection = await dial({ proxyHeader });
  expect(text((await connection.query('SELECT USER()', timeoutMs)).rows)).toEqual([['app@203.0.113.7']]);
  connection.close();
});

test('users without a password and native hashes log in; what needs more says so', async () => {
  const empty = await dial({ user: 'nobody', credential: { kind: 'password', password: '' }, database: '' });
  empty.close();
  await expect(dial({ credential: { kind: 'password', password: 'wrong' } })).rejects.toMatchObject({ code: 1045, sqlState: '28000' });
  await expect(dial({ database: 'absent' })).rejects.toMatchObject({ code: 1049 });
  await expect(dial({ user: 'ed', credential: { kind: 'password', password: 'secret' }, database: '' })).rejects.toMatchObject({ code: 1251 });
  await expect(dial({ user: 'tlsonly', credential: { kind: 'password', password: 'secret' }, database: '' })).rejects.toMatchObject({ code: 1045 });
});

test('a full server says so', async () => {
  const connections: BackendConnection[] = [];
  const full = (async () => {
    for (;;) connections.push(await dial());
  })();
  await expect(full).rejects.toMatchObject({ name: 'MysqlError', code: 1040 });
  for (const connection of connections) connection.close();
});

async function scripted(greet: (write: (bytes: Buffer) => void) => void): Promise<{ port: number; server: Server }> {
  const listener = createServer((socket) => {
    socket.on('error', () => {}).resume();
    greet((bytes) => void socket.write(bytes));
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  return { port: (listener.address() as AddressInfo).port, server: listener };
}

test('a server that never greets, says nonsense, refuses at once or is not there', async () => {
  const silent = await scripted(() => {});
  await expect(dialBackend(backendAt(silent.port), defaults, 50)).rejects.toThrow(/did not (greet|let us in) within 50 ms/);
  silent.server.close();
  await expect(dialBackend(backendAt(silent.port), defaults, timeoutMs)).rejects.toThrow(/cannot be reached: .*ECONNREFUSED/);

  const nonsense = await scripted((write) => write(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')));
  await expect(dialBackend(backendAt(nonsense.port), defaults, timeoutMs)).rejects.toThrow(ConnectionLost);
  nonsense.server.close();

  const blocked = await scripted((write) => write(framePayload(encodeErr(Errors.hostIsBlocked, 'Host is blocked', false), 0)));
  await expect(dialBackend(backendAt(blocked.port), defaults, timeoutMs)).rejects.toMatchObject({ code: 1129, message: 'Host is blocked' });
  blocked.server.close();
});

test('a command that is not answered in time ends the connection, and so does a server that goes', async () => {
  const connection = await dial();
  await expect(connection.query('SELECT SLEEP(20)', 50)).rejects.toThrow(/did not answer within 50 ms/);
  expect(connection.channel.closed).toBe(true);
  await expect(connection.query('SELECT 1', 50)).rejects.toThrow(ConnectionLost);

  const killed = await dial();
  const sleeping = expect(killed.query('SELECT SLEEP(20)', timeoutMs)).rejects.toThrow();
  await server.sql(`KILL ${killed.threadId}`);
  await sleeping;
  await expect(killed.query('SELECT 1', timeoutMs)).rejects.toThrow(ConnectionLost);
});
