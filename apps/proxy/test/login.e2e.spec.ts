import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSecureContext, type SecureContext } from 'node:tls';
import { promisify } from 'node:util';
import { queryObjects } from 'node:v8';
import { nativeStage1 } from '@binnacle/mysql-wire/auth/native-password';
import { makeAuthority } from '@binnacle/testing/certificates';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { startMariadb, type MariadbServer } from '@binnacle/testing/mariadb-server';
import * as mariadb from 'mariadb';
import { createConnection, type Connection, type ConnectionOptions } from 'mysql2/promise';
import { startScriptedTidb } from '@binnacle/testing/scripted-tidb';
import pino from 'pino';
import { dialBackend } from '../src/connection/backend-connection.js';
import { Credentials } from '../src/connection/credentials.js';
import { PacketPort } from '../src/connection/packet-port.js';
import { StoredHashes } from '../src/connection/stored-hashes.js';
import { parseUsersFile } from '../src/connection/users-file.js';
import { LoginPort, type LoginPortOptions } from './login-port.js';
import { backendAt } from './relayed-sessions.js';

const run = promisify(execFile);
let folder: string;
let caFile: string;
let serverTls: SecureContext;
let server: MariadbServer;
const ports: LoginPort[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'binnacle-login-'));
  const authority = await makeAuthority(folder);
  caFile = authority.caFile;
  const { certFile, keyFile } = await authority.issue('mariadb');
  serverTls = createSecureContext({ cert: await readFile(certFile), key: await readFile(keyFile) });
  server = await startMariadb({ args: [`--ssl-ca=${caFile}`, `--ssl-cert=${certFile}`, `--ssl-key=${keyFile}`, '--proxy-protocol-networks=127.0.0.1'] });
  const statements = [
    "CREATE USER app@'%' IDENTIFIED BY 'pässword'; GRANT ALL ON *.* TO app@'%'",
    "CREATE USER other@'%' IDENTIFIED BY 'native'; GRANT ALL ON test.* TO other@'%'",
    "CREATE USER empty@'%'; GRANT ALL ON test.* TO empty@'%'",
    "INSTALL SONAME 'auth_ed25519'; CREATE USER ed@'%' IDENTIFIED VIA ed25519 USING PASSWORD('edpass'); GRANT ALL ON test.* TO ed@'%'",
    "CREATE USER either@'%' IDENTIFIED VIA ed25519 USING PASSWORD('edpass') OR mysql_native_password USING PASSWORD('native'); GRANT ALL ON test.* TO either@'%'",
  ];
  await server.sql(statements.join('; '));
}, 60_000);

afterAll(async () => {
  await server.stop();
  await rm(folder, { recursive: true, force: true });
});

afterEach(async () => {
  for (const port of ports.splice(0)) await port.close();
});

async function open(options: LoginPortOptions = {}): Promise<LoginPort> {
  const port = new LoginPort(server.port, options);
  ports.push(port);
  await port.listen();
  return port;
}

const tls = (): LoginPortOptions['client'] => ({ tls: { context: serverTls, required: false, requestCertificate: false } });

async function mysql2(port: LoginPort, options: ConnectionOptions = {}): Promise<Connection> {
  return createConnection({ host: '127.0.0.1', port: port.port, user: 'app', password: 'pässword', database: 'test', ...options });
}

async function one(connection: Connection, sql: string): Promise<unknown> {
  const [rows] = await connection.query({ sql, rowsAsArray: true });
  return (rows as unknown[][])[0]![0];
}

async function cli(port: LoginPort, ...args: string[]): Promise<string> {
  const { stdout } = await run('mariadb', ['--no-defaults', '--protocol=tcp', '--host=127.0.0.1', `--port=${port.port}`, '--batch', '--skip-column-names', ...args], { timeout: 20_000 });
  return stdout;
}

describe.each([
  ['plain to plain', false, 'off'],
  ['TLS to plain', true, 'off'],
  ['plain to TLS', false, 'required'],
  ['TLS to TLS', true, 'required'],
] as const)('%s', (_name, clientTls, mode) => {
  const options = (): LoginPortOptions => ({ ...(clientTls && { client: tls()! }), dial: { tls: { mode, verify: false } } });

  test('mysql2, native', async () => {
    const port = await open(options());
    const connection = await mysql2(port, clientTls ? { ssl: { ca: await readFile(caFile) } } : {});
    expect(await one(connection, 'SELECT DATABASE()')).toBe('test');
    expect(await one(connection, "SELECT VARIABLE_VALUE <> '' FROM information_schema.session_status WHERE VARIABLE_NAME='Ssl_cipher'")).toBe(mode === 'required' ? 1 : 0);
    expect(port.logins[0]!.client.tls).toBe(clientTls);
    expect(port.credential).toBeUndefined();
    await connection.end();
  });

  test('the command line client, native and ed25519', async () => {
    const port = await open(options());
    const ssl = clientTls ? [`--ssl-ca=${caFile}`] : ['--skip-ssl'];
    expect(await cli(port, '--user=app', '--password=pässword', ...ssl, '-e', 'SELECT 1; SELECT REPEAT("x", 3)')).toBe('1\nxxx\n');
    expect(await cli(port, '--user=ed', '--password=edpass', ...ssl, '-e', 'SELECT CURRENT_USER()')).toBe('ed@%\n');
    expect(await cli(port, '--user=either', '--password=native', ...ssl, '-e', 'SELECT CURRENT_USER()')).toBe('either@%\n');
    await expect(cli(port, '--user=ed', '--password=wrong', ...ssl, '-e', 'SELECT 1')).rejects.toThrow(/ERROR 1045 \(28000\): Access denied for user 'ed'@/);
  });

  test('the mariadb client, native and ed25519', async () => {
    const port = await open(options());
    const ssl = clientTls ? { ssl: { ca: await readFile(caFile, 'utf8') } } : {};
    for (const [user, password] of [['app', 'pässword'], ['ed', 'edpass']]) {
      const connection = await mariadb.createConnection({ host: '127.0.0.1', port: port.port, user: user!, password: password!, connectTimeout: 20_000, ...ssl });
      expect(await connection.query('SELECT SESSION_USER() LIKE ? AS me', [`${user}@%`])).toEqual([{ me: 1 }]);
      await connection.end();
    }
  });
});

test('compressed to the client, to the backend, and both', async () => {
  for (const [toClient, toBackend] of [[true, undefined], [false, 'zlib'], [true, 'zlib']] as const) {
    const port = await open(toBackend && { dial: { compression: toBackend } });
    const connection = await mysql2(port, { compress: toClient });
    const warnings = jest.spyOn(console, 'error').mockImplementation(() => {});
    for (const length of [10, 100_000, 3_000_000]) expect(await one(connection, `SELECT CONCAT('${'ä'.repeat(length)}')`)).toBe('ä'.repeat(length));
    expect(await one(connection, "SELECT VARIABLE_VALUE FROM information_schema.session_status WHERE VARIABLE_NAME='Compression'")).toBe(toBackend ? 'ON' : 'OFF');
    const [prepared] = await connection.execute('SELECT ? AS v', ['x'.repeat(100_000)]);
    expect(prepared).toEqual([{ v: 'x'.repeat(100_000) }]);
    await connection.end();
    // mysql2 says there what is wrong with sequence ids.
    expect(warnings).not.toHaveBeenCalled();
    warnings.mockRestore();
    expect(await cli(port, '--user=app', '--password=pässword', ...(toClient ? ['--compress'] : []), '-e', 'SELECT LENGTH(REPEAT("y", 1000000)); SELECT 2')).toBe('1000000\n2\n');
  }
});

test('errors of the backend come as the backend says them', async () => {
  const port = await open();
  await expect(mysql2(port, { password: 'wrong' })).rejects.toMatchObject({ errno: 1045, sqlState: '28000', message: expect.stringMatching(/Access denied for user 'app'@.*using password: YES/) as unknown });
  await expect(mysql2(port, { user: 'stranger' })).rejects.toMatchObject({ errno: 1045 });
  await expect(mysql2(port, { database: 'absent' })).rejects.toMatchObject({ errno: 1049, sqlState: '42000', message: "Unknown database 'absent'" });
  await expect(mysql2(port, { user: 'empty', password: '', database: 'mysql' })).rejects.toMatchObject({ errno: 1044 });
});

test('a user without a password comes in, and can be logged in again', async () => {
  const port = await open();
  const connection = await mysql2(port, { user: 'empty', password: '' });
  expect(await one(connection, 'SELECT CURRENT_USER()')).toBe('empty@%');
  expect(port.credential).toEqual({ kind: 'password', password: '' });
  await connection.end();
});

function usersFile(text: string): Credentials {
  return new Credentials({ users: parseUsersFile(text), keep: false });
}

test('what the users file has logs a session in again: a password, or the hash and what the client sent', async () => {
  const hash = await server.sql("SELECT PASSWORD('pässword')");
  const account = { user: 'app', database: '', collation: 45, attributes: [], capabilities: { capabilities: 0, mariadbCapabilities: 0 }, tls: { mode: 'off', verify: false } } as const;
  const expected = [{ kind: 'password', password: 'pässword' }, { kind: 'native', stage1: nativeStage1('pässword') }];
  for (const [index, secret] of ['pässword', hash.trim()].entries()) {
    const port = await open({ credentials: usersFile(`[users]\napp = "${secret}"`) });
    const connection = await mysql2(port);
    expect(port.credential).toEqual(expected[index]);
    await connection.end();
    const again = await dialBackend(backendAt(server.port), { ...account, credential: port.credential! }, 10_000);
    again.close();
    // The one who does not know the password gains nothing by its being in the file.
    await expect(mysql2(port, { password: 'wrong' })).rejects.toMatchObject({ errno: 1045 });
    await expect(mysql2(port, { password: '' })).rejects.toMatchObject({ errno: 1045 });
  }
});

test('where secrets are to be kept, the hash that the backend stores makes one of what the client sent', async () => {
  const clock = new FakeClock();
  const account = { user: 'root', password: 'root' };
  const hashes = new StoredHashes(() => ({ ...account, dial: { tls: { mode: 'off', verify: false } } }), clock, pino({ level: 'silent' }));
  const port = await open({ credentials: new Credentials({ users: new Map(), keep: true, storedHashes: (backend, user) => hashes.of(backend, user) }) });
  await (await mysql2(port)).end();
  expect(port.credential).toEqual({ kind: 'native', stage1: nativeStage1('pässword') });
  await (await mysql2(port, { user: 'other', password: 'native' })).end();
  expect(port.credential).toEqual({ kind: 'native', stage1: nativeStage1('native') });
  await expect(mysql2(port, { password: 'wrong' })).rejects.toMatchObject({ errno: 1045 });

  await server.sql("CREATE USER \"o'\\\\x\"@'%' IDENTIFIED BY 'quoted'");
  await (await mysql2(port, { user: "o'\\x", password: 'quoted', database: 'information_schema' })).end();
  expect(port.credential).toEqual({ kind: 'native', stage1: nativeStage1('quoted') });

  await clock.advance(60_000);
  account.user = 'empty';
  account.password = '';
  await (await mysql2(port)).end();
  expect(port.credential).toBeUndefined();
});

test('a file that is out of date, or an account of another plugin, is no hindrance', async () => {
  const stale = await open({ credentials: usersFile('[users]\napp = "old"') });
  await (await mysql2(stale)).end();
  expect(stale.credential).toBeUndefined();
  await expect(mysql2(stale, { password: 'old' })).rejects.toMatchObject({ errno: 1045 });

  const ed = await open({ credentials: usersFile('[users]\ned = "edpass"') });
  expect(await cli(ed, '--user=ed', '--password=edpass', '-e', 'SELECT CURRENT_USER()')).toBe('ed@%\n');
  expect(ed.credential).toBeUndefined();
});

test.each([[false, undefined], [true, undefined], [false, 'zlib'], [true, 'zlib']] as const)('a change of the user: client compressed %s, backend %s', async (compress, compression) => {
  const port = await open({ credentials: usersFile('[users]\napp = "pässword"'), dial: { compression } });
  const connection = await mysql2(port, { user: 'empty', password: '', compress });
  await connection.changeUser({ user: 'app', password: 'pässword', database: 'mysql' });
  expect(await one(connection, "SELECT CONCAT(CURRENT_USER(), ' ', DATABASE())")).toBe('app@% mysql');
  expect(port.changes).toMatchObject([{ user: 'app', database: 'mysql', credential: { kind: 'password', password: 'pässword' } }]);
  await connection.changeUser({ user: 'other', password: 'native', database: 'test' });
  expect(await one(connection, 'SELECT CURRENT_USER()')).toBe('other@%');
  expect(port.changes[1]).toMatchObject({ user: 'other', database: 'test', credential: undefined });
  await connection.end();
  expect(port.errors).toEqual([]);
});

test('a change of the user to a wrong one is refused as the backend says', async () => {
  const port = await open();
  const connection = await mysql2(port);
  await expect(connection.changeUser({ user: 'other', password: 'wrong', database: 'test' })).rejects.toMatchObject({ errno: 1045 });
  expect(port.changes).toEqual(['refused']);
  connection.destroy();
  const second = await mariadb.createConnection({ host: '127.0.0.1', port: port.port, user: 'app', password: 'pässword', database: 'test', connectTimeout: 20_000 });
  await second.changeUser({ user: 'ed', password: 'edpass', database: 'test' });
  expect(await second.query('SELECT CURRENT_USER() AS me')).toEqual([{ me: 'ed@%' }]);
  await second.end();
  expect(port.errors).toEqual([]);
});

test('TiDB, which can do less: by the client, by its tokens', async () => {
  const tidb = await startScriptedTidb();
  const port = new LoginPort(tidb.port);
  ports.push(port);
  await port.listen();
  const connection = await mysql2(port, { user: 'root', password: 'root' });
  expect(await one(connection, 'SELECT DATABASE()')).toBe('test');
  await expect(mysql2(port, { user: 'root', password: 'wrong' })).rejects.toMatchObject({ errno: 1045 });
  const { backend } = port.logins[0]!;
  expect(backend).toMatchObject({ kind: 'tidb', statusFlags: 2 });
  const token = Buffer.from(tidb.token('root')!);
  expect(token.length).toBeGreaterThan(255);
  const account = { user: 'root', database: 'elsewhere', collation: 45, attributes: [], capabilities: port.logins[0]!.client.capabilities, tls: { mode: 'off', verify: false } } as const;
  const again = await dialBackend(backend.backend, { ...account, credential: { kind: 'tidb-token', token } }, 10_000);
  expect((await again.query('SELECT DATABASE()', 10_000)).rows[0]![0]!.toString()).toBe('elsewhere');
  again.close();
  await connection.end();
  await tidb.stop();
});

test('of a login that is done nothing is left but the session', async () => {
  const port = await open({ client: tls()!, credentials: usersFile('[users]\napp = "pässword"') });
  const connections: Connection[] = [];
  for (const user of ['app', 'empty', 'app']) {
    connections.push(await mysql2(port, { ...(user === 'empty' && { user, password: '' }), ...(connections.length === 2 && { ssl: { ca: await readFile(caFile) } }) }));
  }
  await connections[0]!.changeUser({ user: 'app', password: 'pässword', database: 'test' });
  port.logins.length = 0;
  // All that a login is made of holds one of these.
  expect(queryObjects(PacketPort)).toBe(0);
  for (const connection of connections) expect(await one(connection, 'SELECT 1')).toBe(1);
  for (const connection of connections) await connection.end();
});
