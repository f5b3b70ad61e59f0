import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSecureContext, type SecureContext } from 'node:tls';
import { clearPassword } from '@binnacle/mysql-wire/auth/clear-password';
import { nativePassword } from '@binnacle/mysql-wire/auth/native-password';
import { newScramble } from '@binnacle/mysql-wire/auth/scramble';
import { encodeAuthSwitch } from '@binnacle/mysql-wire/auth-packets';
import { Capability } from '@binnacle/mysql-wire/capabilities';
import { Command } from '@binnacle/mysql-wire/command';
import { decodeHandshakeResponse, encodeHandshake, isSslRequest } from '@binnacle/mysql-wire/handshake';
import { encodeOk } from '@binnacle/mysql-wire/ok-packet';
import { makeAuthority, type IssuedCertificate } from '@binnacle/testing/certificates';
import { startMariadb, type MariadbServer } from '@binnacle/testing/mariadb-server';
import { createConnection } from 'mysql2/promise';
import { type BackendConnection, dialBackend } from '../src/connection/backend-connection.js';
import { Credentials } from '../src/connection/credentials.js';
import { PacketPort } from '../src/connection/packet-port.js';
import { PlainChannel } from '../src/connection/plain-channel.js';
import { TlsChannel } from '../src/connection/tls-channel.js';
import { LoginPort, type LoginPortOptions } from './login-port.js';
import { backendAt } from './relayed-sessions.js';
import { WireClient } from './wire-client.js';

let folder: string;
let caFile: string;
let issued: IssuedCertificate;
let foreign: IssuedCertificate;
let context: SecureContext;
let server: MariadbServer;
const closers: (() => Promise<void> | void)[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'binnacle-plugins-'));
  const authority = await makeAuthority(folder);
  caFile = authority.caFile;
  issued = await authority.issue('proxy');
  const other = await mkdtemp(join(folder, 'other-'));
  foreign = await (await makeAuthority(other)).issue('stranger');
  context = createSecureContext({ cert: await readFile(issued.certFile), key: await readFile(issued.keyFile), ca: await readFile(caFile) });
  server = await startMariadb({ args: ['--local-infile=1', '--max-allowed-packet=64M'] });
  await server.sql("CREATE USER app@'%' IDENTIFIED BY 'secret'; GRANT ALL ON *.* TO app@'%'; CREATE TABLE test.lines (id INT, text VARCHAR(200))");
}, 60_000);

afterAll(async () => {
  await server.stop();
  await rm(folder, { recursive: true, force: true });
});

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function open(backendPort: number, options: LoginPortOptions = {}): Promise<LoginPort> {
  const port = new LoginPort(backendPort, options);
  closers.push(() => port.close());
  await port.listen();
  return port;
}

const clientTls = (requestCertificate = false): LoginPortOptions['client'] => ({ tls: { context, required: false, requestCertificate } });

/** The command line client, answering further questions from what it is given. */
async function cli(port: LoginPort, args: string[], answers = ''): Promise<string> {
  const child = spawn('mariadb', ['--no-defaults', '--protocol=tcp', '--host=127.0.0.1', `--port=${port.port}`, '--batch', '--skip-column-names', ...args], { timeout: 20_000 });
  let [out, error] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (error += chunk.toString()));
  child.stdin.end(answers);
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(error);
  return out;
}

/** A server that wants one plugin's reply, to several questions, and keeps it. Who answers with nothing is sent away. */
async function asking(plugin: string, tls: boolean, [first, ...further]: readonly string[] = [''], changePlugin = plugin): Promise<{ port: number; replies: string[] }> {
  const replies: string[] = [];
  const offered = Capability.mysql | Capability.protocol41 | Capability.secureConnection | Capability.pluginAuth | Capability.pluginAuthLenenc | Capability.transactions | Capability.connectWithDatabase;
  const capabilities = (offered | (tls ? Capability.ssl : 0)) >>> 0;
  const serve = async (plain: PlainChannel): Promise<void> => {
    let packets = new PacketPort(plain, 'the client', 1_048_576);
    packets.write(encodeHandshake({ serverVersion: '5.7.44', connectionId: 1, scramble: newScramble(), collation: 45, statusFlags: 2, authPlugin: nativePassword, capabilities, mariadbCapabilities: 0 }));
    let payload = await packets.read();
    if (isSslRequest(payload)) {
      const { sequenceId } = packets;
      packets = new PacketPort(await TlsChannel.accept(plain, Buffer.from(packets.release()), { context, requestCertificate: false }), 'the client', 1_048_576);
      packets.sequenceId = sequenceId;
      payload = await packets.read();
    }
    const ask = async (question: Buffer): Promise<void> => {
      packets.write(question);
      const reply = await packets.read();
      if (reply.length === 0) throw new Error('no reply');
      replies.push(reply.toString());
    };
    const response = decodeHandshakeResponse(payload);
    await ask(encodeAuthSwitch({ plugin, data: Buffer.from(first!) }));
    for (const question of further) await ask(Buffer.from(question));
    packets.write(encodeOk({}, response.capabilities));
    for (;;) {
      packets.sequenceId = 0;
      payload = await packets.read();
      if (payload[0] === Command.quit) return plain.destroy();
      if (payload[0] === Command.changeUser) await ask(encodeAuthSwitch({ plugin: changePlugin, data: newScramble() }));
      packets.write(encodeOk({}, response.capabilities));
    }
  };
  const listener = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket) => {
    const channel = PlainChannel.accepted(socket);
    serve(channel).catch(() => channel.destroy());
  });
  await new Promise<void>((resolve) => listener.listen(0, '0.0.0.0', resolve));
  closers.push(() => new Promise<void>((resolve) => listener.close(() => resolve())));
  return { port: (listener.address() as AddressInfo).port, replies };
}

test('a dialogue of several questions passes', async () => {
  const backend = await asking('dialog', false, ['\x04Password:', '\x02And who are you?', '\x03Are you sure?']);
  const port = await open(backend.port);
  await cli(port, ['--user=app', '--password=secret', '-e', 'DO 1'], 'me\nyes, of course\n');
  expect(backend.replies).toEqual(['secret\0', 'me\0', 'yes, of course\0']);
  expect(port.credential).toBeUndefined();
});

test('a clear password passes over TLS at both ends, never where the client alone has it, and is kept if that is wanted', async () => {
  const args = ['--user=app', '--password=secret', '--ssl', '-e', 'DO 1'];
  for (const tls of [true, false]) {
    const backend = await asking(clearPassword, tls);
    const port = await open(backend.port, { client: clientTls()!, dial: { tls: { mode: 'preferred', verify: false } }, credentials: new Credentials({ users: new Map(), keep: true }) });
    if (tls) {
      await cli(port, args);
      expect(port.credential).toEqual({ kind: 'password', password: 'secret' });
    } else await expect(cli(port, args)).rejects.toThrow(/ERROR 3159 .*'mysql_clear_password' needs TLS between proxy and server too/);
    expect(backend.replies).toEqual(tls ? ['secret\0'] : []);
  }
});

test('a change of the user that the proxy refuses leaves no server behind that takes the next command for a password', async () => {
  const backend = await asking(nativePassword, false, ['x'.repeat(20)], clearPassword);
  const port = await open(backend.port, { client: clientTls()! });
  const connection = await createConnection({ host: '127.0.0.1', port: port.port, user: 'app', password: 'secret', ssl: { ca: await readFile(caFile) } });
  await expect(connection.changeUser({ user: 'other', password: 'other' })).rejects.toMatchObject({ errno: 3159 });
  await expect(connection.ping()).rejects.toThrow();
  expect(backend.replies.length).toBe(1);
});

test('the proxy tells a clear password itself only where it knows who hears it', async () => {
  const backend = await asking(clearPassword, true);
  const withCa = createSecureContext({ ca: await readFile(caFile) });
  const account = { user: 'app', database: '', collation: 45, attributes: [], capabilities: { capabilities: 0, mariadbCapabilities: 0 }, credential: { kind: 'password', password: 'secret' } } as const;
  const dial = (host: string, verify: boolean): Promise<BackendConnection> =>
    dialBackend({ ...backendAt(backend.port), host }, { ...account, tls: { mode: 'required', context: withCa, verify } }, 10_000);
  await expect(dial('127.0.0.1', false)).rejects.toMatchObject({ code: 1251 });
  // The certificate is for 127.0.0.1.
  await expect(dial('127.0.0.2', true)).rejects.toThrow(/no TLS with .*127\.0\.0\.2 is not in the cert's list/);
  expect(backend.replies).toEqual([]);
  (await dial('127.0.0.1', true)).close();
  expect(backend.replies).toEqual(['secret\0']);
});

test('clients have to have a certificate where one is asked for', async () => {
  const port = await open(server.port, { client: clientTls(true)! });
  const connect = async (certificate?: IssuedCertificate): Promise<void> => {
    const own = certificate && { cert: await readFile(certificate.certFile), key: await readFile(certificate.keyFile) };
    const connection = await createConnection({ host: '127.0.0.1', port: port.port, user: 'app', password: 'secret', ssl: { ca: await readFile(caFile), ...own } });
    await connection.ping();
    await connection.end();
  };
  await connect(issued);
  await expect(connect()).rejects.toThrow();
  await expect(connect(foreign)).rejects.toThrow();
  expect(port.logins.length).toBe(1);
});

test('zstd from a client, and to a backend: a proxy behind a proxy', async () => {
  const inner = await open(server.port);
  const outer = await open(inner.port, { dial: { compression: 'zstd' } });
  const client = await WireClient.login({ port: outer.port, user: 'app', password: 'secret', capabilities: Capability.zstdCompression | Capability.deprecateEof | Capability.sessionTrack });
  for (const length of [1, 5_000, 2_000_000]) {
    const payloads = await client.send(Command.query, `SELECT CONCAT('${'x'.repeat(length)}', REPEAT('y', ${length}))`);
    expect(payloads.some((payload) => payload.length > 2 * length)).toBe(true);
  }
  expect(outer.logins[0]!.client.channel.bytesRead).toBeLessThan(20_000);
  expect(inner.logins[0]!.client.channel.bytesRead).toBeLessThan(20_000);
  client.close();
});

test('files, and packets of more than 16 MB, over compression at either end', async () => {
  const file = join(folder, 'lines.tsv');
  const line = (i: number): string => `${i}\t${createHash('sha256').update(String(i)).digest('hex').repeat(2)}\n`;
  await writeFile(file, Array.from({ length: 36_000 }, (_, i) => line(i)).join(''));
  for (const [toClient, compression] of [[false, 'zlib'], [true, 'zlib'], [true, undefined]] as const) {
    const port = await open(server.port, { dial: { compression } });
    const args = ['--user=app', '--password=secret', '--local-infile=1', ...(toClient ? ['--compress'] : [])];
    const load = `TRUNCATE test.lines; LOAD DATA LOCAL INFILE '${file}' INTO TABLE test.lines; SELECT COUNT(*), SUM(LENGTH(text)), MAX(id) FROM test.lines`;
    expect(await cli(port, [...args, '-e', load])).toBe('36000\t4608000\t35999\n');
    const connection = await createConnection({ host: '127.0.0.1', port: port.port, user: 'app', password: 'secret', compress: toClient });
    const big = 'z'.repeat(20_000_000);
    const [rows] = await connection.query({ sql: 'SELECT ? AS big, 1 AS one', values: [big] });
    expect((rows as { big: string }[])[0]!.big === big).toBe(true);
    await connection.ping();
    await connection.end();
  }
}, 60_000);
