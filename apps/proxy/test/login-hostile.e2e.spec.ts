import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, createSecureContext, type SecureContext } from 'node:tls';
import { nativePassword, nativeReply, nativeStage1 } from '@binnacle/mysql-wire/auth/native-password';
import { decodeAuthSwitch } from '@binnacle/mysql-wire/auth-packets';
import { Capability } from '@binnacle/mysql-wire/capabilities';
import { Command } from '@binnacle/mysql-wire/command';
import { encodeErr } from '@binnacle/mysql-wire/err-packet';
import { Errors } from '@binnacle/mysql-wire/error-codes';
import { encodeHandshakeResponse, encodeSslRequest, type HandshakeResponse } from '@binnacle/mysql-wire/handshake';
import { framePayload } from '@binnacle/mysql-wire/packet-header';
import { encodeProxyHeader, type ProxyHeader } from '@binnacle/mysql-wire/proxy-protocol';
import { makeAuthority } from '@binnacle/testing/certificates';
import { startMariadb, type MariadbServer } from '@binnacle/testing/mariadb-server';
import { seededRandom } from '@binnacle/testing/seeded-random';
import { waitUntil } from '@binnacle/testing/wait-until';
import { createConnection } from 'mysql2/promise';
import { LoginPort, type LoginPortOptions } from './login-port.js';
import { RawSocket } from './raw-socket.js';

let folder: string;
let context: SecureContext;
let server: MariadbServer;
let port: LoginPort;
const raws: RawSocket[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'binnacle-hostile-'));
  const { certFile, keyFile } = await (await makeAuthority(folder)).issue('proxy');
  context = createSecureContext({ cert: await readFile(certFile), key: await readFile(keyFile) });
  server = await startMariadb({ args: ['--proxy-protocol-networks=127.0.0.1', '--max-connections=10'] });
  await server.sql("CREATE USER app@'%' IDENTIFIED BY 'secret'; GRANT ALL ON *.* TO app@'%'; CREATE USER empty@'%'");
}, 60_000);

afterAll(async () => {
  await server.stop();
  await rm(folder, { recursive: true, force: true });
});

afterEach(async () => {
  for (const raw of raws.splice(0)) raw.socket.destroy();
  await port.close();
});

async function open(options: LoginPortOptions = {}): Promise<void> {
  port = new LoginPort(server.port, options);
  await port.listen();
}

function raw(): RawSocket {
  const socket = new RawSocket(port.port);
  raws.push(socket);
  return socket;
}

const capabilities = Capability.mysql | Capability.protocol41 | Capability.secureConnection | Capability.pluginAuth | Capability.pluginAuthLenenc | Capability.transactions | Capability.connectAttributes;
const response: HandshakeResponse = {
  capabilities, mariadbCapabilities: 0, packetBytesMax: 1 << 24, collation: 45, user: 'app', authResponse: Buffer.alloc(0), database: undefined, authPlugin: nativePassword, attributes: [['a', 'b']], zstdLevel: undefined,
};
const login = (changes: Partial<HandshakeResponse> = {}): Buffer => framePayload(encodeHandshakeResponse({ ...response, ...changes }), 1);

/** The reply to the backend's question. */
function reply(question: Buffer): Buffer {
  const { plugin, data } = decodeAuthSwitch(question);
  expect(plugin).toBe(nativePassword);
  return framePayload(nativeReply(nativeStage1('secret'), data), 3);
}

async function stillServes(): Promise<void> {
  const connection = await createConnection({ host: '127.0.0.1', port: port.port, user: 'app', password: 'secret' });
  await connection.ping();
  await connection.end();
}

const backendConnections = async (): Promise<number> => Number(await server.sql("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER <> 'root' AND COMMAND <> 'Binlog Dump'"));

test('a login in single bytes', async () => {
  await open();
  const client = raw();
  await client.handshake();
  await client.byteByByte(login());
  await client.byteByByte(reply(await client.payload()));
  expect(await client.packet()).toMatchObject({ sequenceId: 4, payload: Buffer.from([0, 0, 0, 2, 0, 0, 0]) });
  await client.byteByByte(framePayload(Buffer.from([Command.ping]), 0));
  expect((await client.payload())[0]).toBe(0);
});

test('commands that come with the last packet of the login are answered', async () => {
  await open();
  const client = raw();
  await client.handshake();
  client.write(login());
  const ping = framePayload(Buffer.from([Command.ping]), 0);
  client.write(Buffer.concat([reply(await client.payload()), ping, ping, ping.subarray(0, 2)]));
  for (let i = 0; i < 3; i++) expect((await client.payload())[0]).toBe(0);
  client.write(ping.subarray(2));
  expect((await client.payload())[0]).toBe(0);
});

describe('what is no login', () => {
  test('a wrong sequence id', async () => {
    await open();
    const client = raw();
    await client.handshake();
    const wrong = login();
    wrong[3] = 5;
    client.write(wrong);
    expect(await client.refusal()).toEqual({ code: 1156, sqlState: '08S01', message: 'Got packets out of order' });
    const second = raw();
    await second.handshake();
    second.write(login());
    const answer = reply(await second.payload());
    answer[3] = 0;
    second.write(answer);
    expect(await second.refusal()).toMatchObject({ code: 1156 });
  });

  test('a response of 16 MB is refused by its header', async () => {
    await open();
    const client = raw();
    await client.handshake();
    client.write(Buffer.from([0xff, 0xff, 0xff, 1, 0]));
    expect(await client.refusal()).toMatchObject({ code: 1153, sqlState: '08S01' });
    const attributes = Array.from({ length: 60 }, (_, i) => [`name${i}`, 'x'.repeat(1_000)] as const);
    const second = raw();
    await second.handshake();
    second.write(login({ attributes }));
    second.write(reply(await second.payload()));
    expect((await second.payload())[0]).toBe(0);
  });

  test('nonsense, an empty packet, a client from before 4.1', async () => {
    await open();
    for (const payload of [Buffer.from('GET / HTTP/1.1\r\n\r\n'), Buffer.alloc(0), Buffer.from([0x85, 0xa6, 0, 0, 0, 0x61, 0])]) {
      const client = raw();
      await client.handshake();
      client.write(framePayload(payload, 1));
      expect(await client.refusal()).toMatchObject({ code: 1043, sqlState: '08S01', message: 'Bad handshake' });
    }
    await stillServes();
  });

  test('a client that cannot be asked for the right reply', async () => {
    await open();
    const client = raw();
    await client.handshake();
    client.write(login({ capabilities: capabilities & ~(Capability.pluginAuth | Capability.pluginAuthLenenc) }));
    expect(await client.refusal()).toMatchObject({ code: 1251, sqlState: '08004' });
  });

  test('a client that stalls, before and within every packet', async () => {
    await open({ loginTimeoutMs: 200 });
    const silent = raw();
    await silent.handshake();
    const half = raw();
    await half.handshake();
    half.write(login().subarray(0, 40));
    for (const client of [silent, half]) expect(await client.refusal()).toMatchObject({ code: 1159, message: 'no login within 200 ms' });
    const late = raw();
    await late.handshake();
    late.write(login());
    reply(await late.payload());
    expect((await late.refusal()).message).toMatch(/^no login at 127.0.0.1:\d+ within 200 ms$/);
    await waitUntil(async () => (await backendConnections()) === 0, { what: 'the backend is left alone' });
  });
});

describe('TLS', () => {
  const request = framePayload(encodeSslRequest({ ...response, capabilities: capabilities | Capability.ssl }), 1);
  const offered = { client: { tls: { context: undefined as unknown as SecureContext, required: false, requestCertificate: false } } };
  const openTls = (required = false, loginTimeoutMs = 10_000): Promise<void> => open({ client: { tls: { ...offered.client.tls, context, required } }, loginTimeoutMs });

  test('asked for where it is not offered, and not asked for where it is required', async () => {
    await open();
    const client = raw();
    expect((await client.handshake()).capabilities & Capability.ssl).toBe(0);
    client.write(request);
    expect(await client.refusal()).toMatchObject({ code: 1043 });
    await port.close();

    await openTls(true);
    const plain = raw();
    expect((await plain.handshake()).capabilities & Capability.ssl).not.toBe(0);
    plain.write(login());
    expect(await plain.refusal()).toMatchObject({ code: 3159, sqlState: 'HY000' });
  });

  test('a hello in one write with the request, or in single bytes', async () => {
    await openTls();
    for (const together of [true, false]) {
      const client = raw();
      await client.handshake();
      const { socket } = client;
      socket.removeAllListeners('data');
      const { client: near, far } = await relay();
      let begun = false;
      far.on('data', (chunk: Buffer) => {
        if (together) socket.write(begun ? chunk : Buffer.concat([request, chunk]));
        else void client.byteByByte(begun ? chunk : Buffer.concat([request, chunk]));
        begun = true;
      });
      socket.on('data', (chunk: Buffer) => far.write(chunk));
      const secured = connectTls({ socket: near, rejectUnauthorized: false });
      await new Promise<void>((resolve, reject) => secured.once('secureConnect', resolve).once('error', reject));
      secured.write(framePayload(encodeHandshakeResponse({ ...response, capabilities: capabilities | Capability.ssl, user: 'empty' }), 2));
      const question = await new Promise<Buffer>((resolve) => secured.once('data', resolve));
      expect(question[3]).toBe(3);
      secured.write(framePayload(Buffer.alloc(0), 4));
      const ok = await new Promise<Buffer>((resolve) => secured.once('data', resolve));
      expect([ok[3], ok[4]]).toEqual([5, 0]);
      secured.destroy();
      far.destroy();
    }
  });

  test('nonsense instead of a hello, silence, and going away', async () => {
    await openTls(false, 300);
    for (const bytes of [Buffer.from('no hello at all, and long enough to be looked at'), Buffer.alloc(0)]) {
      const client = raw();
      await client.handshake();
      client.write(Buffer.concat([request, bytes]));
      // An alert at most.
      await new Promise<void>((resolve) => client.socket.once('close', () => resolve()));
    }
    const gone = raw();
    await gone.handshake();
    gone.write(request);
    gone.socket.end();
    await new Promise<void>((resolve) => gone.socket.once('close', () => resolve()));
    expect(port.errors.length).toBe(3);
  });
});

/** Two ends of a connection, to have a TLS client's bytes pass through one's hands. */
async function relay(): Promise<{ client: Socket; far: Socket }> {
  const { connect } = await import('node:net');
  const listener = createServer();
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const accepted = new Promise<Socket>((resolve) => listener.once('connection', resolve));
  const client = connect({ host: '127.0.0.1', port: (listener.address() as AddressInfo).port });
  const far = await accepted;
  far.on('error', () => {});
  client.on('error', () => {});
  listener.close();
  return { client, far };
}

describe('PROXY headers', () => {
  const header: ProxyHeader = { proxied: true, source: { address: '203.0.113.9', port: 1234 }, destination: { address: '203.0.113.1', port: 3306 }, tlvs: [{ type: 0xea, value: Buffer.from('x') }] };

  test('in single bytes, before the greeting; the client is who it says', async () => {
    await open({ client: { proxyProtocol: true } });
    const client = raw();
    await client.byteByByte(encodeProxyHeader(header));
    await client.handshake();
    client.write(login({ user: 'empty' }));
    await client.payload();
    client.write(framePayload(Buffer.alloc(0), 3));
    expect((await client.payload())[0]).toBe(0);
    expect(port.logins[0]!.client).toMatchObject({ address: '203.0.113.9', remotePort: 1234, port: port.port });
    const own = raw();
    own.write(encodeProxyHeader({ ...header, proxied: false }));
    await own.handshake();
    own.write(login({ user: 'empty' }));
    await own.payload();
    own.write(framePayload(Buffer.alloc(0), 3));
    expect((await own.payload())[0]).toBe(0);
    expect(port.logins[1]!.client.address).toBe('127.0.0.1');
  });

  test('version 1, nonsense, one that is too long, half of one: nothing is said', async () => {
    await open({ client: { proxyProtocol: true }, loginTimeoutMs: 300 });
    const tooLong = encodeProxyHeader({ ...header, tlvs: [{ type: 1, value: Buffer.alloc(9_000) }] });
    const said = [Buffer.from('PROXY TCP4 203.0.113.9 203.0.113.1 1234 3306\r\n'), login(), tooLong, encodeProxyHeader(header).subarray(0, 20), Buffer.alloc(0)];
    for (const bytes of said) {
      const client = raw();
      if (bytes.length > 0) client.write(bytes);
      expect(await client.packet()).toBeUndefined();
    }
    await waitUntil(() => port.errors.length === said.length, { what: 'all are known' });
    expect(port.errors.map(({ message }) => message)).toEqual([
      expect.stringMatching(/version 1 is not spoken here/), expect.stringMatching(/a PROXY protocol header/), expect.stringMatching(/at most 8192 bytes/), 'no login within 300 ms', 'no login within 300 ms',
    ]);
  });
});

describe('backends', () => {
  async function scripted(serve: (socket: Socket) => void): Promise<{ port: number; close: () => void }> {
    const listener = createServer((socket) => {
      socket.on('error', () => {}).resume();
      serve(socket);
    });
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
    return { port: (listener.address() as AddressInfo).port, close: () => listener.close() };
  }

  async function openTo(backendPort: number, loginTimeoutMs = 10_000): Promise<RawSocket> {
    port = new LoginPort(backendPort, { loginTimeoutMs });
    await port.listen(server.port);
    const client = raw();
    await client.handshake();
    client.write(login());
    return client;
  }

  test('one that accepts and never greets', async () => {
    const silent = await scripted(() => {});
    const client = await openTo(silent.port, 200);
    expect((await client.refusal()).message).toMatch(/(^no login at .*|did not greet) within \d+ ms$/);
    silent.close();
  });

  test('one that is full, blocks us, is not there, or goes in the middle', async () => {
    const full = await scripted((socket) => socket.end(framePayload(encodeErr(Errors.tooManyConnections, 'Too many connections', false), 0)));
    const refused = await openTo(full.port);
    expect(await refused.refusal()).toEqual({ code: 1040, sqlState: '08004', message: 'Too many connections' });
    expect(port.errors).toMatchObject([{ name: 'LoginError', retryable: true }]);
    full.close();
    await port.close();
    const absent = await openTo(full.port);
    expect(await absent.refusal()).toMatchObject({ code: 1105, message: expect.stringMatching(/cannot be reached/) as unknown });
    await port.close();
    const goes = await scripted((socket) => socket.end(Buffer.from([80, 0, 0, 0, 10])));
    const cut = await openTo(goes.port);
    expect(await cut.refusal()).toMatchObject({ code: 1105 });
    goes.close();
  });

  test('a real one that is full', async () => {
    await open();
    const clients = await Promise.all(Array.from({ length: 10 }, async () => createConnection({ host: '127.0.0.1', port: port.port, user: 'empty' })));
    await expect(createConnection({ host: '127.0.0.1', port: port.port, user: 'empty' })).rejects.toMatchObject({ errno: 1040, sqlState: '08004' });
    for (const client of clients) await client.end();
    await waitUntil(async () => (await backendConnections()) === 0, { what: 'all have gone' });
  });
});

test('clients that go at every byte of their login leave nothing behind', async () => {
  await open();
  const bytes = login();
  for (let sent = 0; sent <= bytes.length; sent += 7) {
    const client = raw();
    await client.handshake();
    client.write(bytes.subarray(0, sent));
    if (sent % 2 === 0) client.socket.end();
    else client.socket.destroy();
  }
  for (const how of ['end', 'destroy'] as const) {
    const client = raw();
    await client.handshake();
    client.write(bytes);
    await client.payload();
    client.socket[how]();
  }
  await waitUntil(async () => (await backendConnections()) === 0, { what: 'the backend is left alone' });
  await waitUntil(() => port.open === 0, { what: 'all sockets are closed' });
  expect(port.logins.length).toBe(0);
  await stillServes();
});

/** Logins that were refused count here; those that were interrupted count against the host, and block it after 100. */
const refusedLogins = async (): Promise<number> => Number((await server.sql("SHOW GLOBAL STATUS LIKE 'Access_denied_errors'")).split(/\s+/)[1]);

test('logins that clients leave, or are silent in, are refused by the server and not interrupted', async () => {
  await open({ loginTimeoutMs: 300 });
  const before = await refusedLogins();
  for (const user of ['app', 'stranger']) {
    for (const silent of [false, true]) {
      const client = raw();
      await client.handshake();
      client.write(login({ user }));
      await client.payload();
      if (!silent) client.socket.destroy();
    }
  }
  await waitUntil(() => port.errors.length === 4, { what: 'all logins have failed' });
  await waitUntil(async () => (await refusedLogins()) === before + 4, { what: 'the server has refused them' });
  await waitUntil(async () => (await backendConnections()) === 0, { what: 'no connection is left' });
});

test('a client that leaves in the middle of COM_CHANGE_USER is refused by the server too', async () => {
  await open();
  const client = raw();
  await client.handshake();
  client.write(login());
  client.write(reply(await client.payload()));
  await client.payload();
  const before = await refusedLogins();
  client.write(framePayload(Buffer.from(`\x11stranger\0\0\0\x2d\0${nativePassword}\0\0`, 'latin1'), 0));
  expect((await client.payload())[0]).toBe(0xfe);
  client.socket.destroy();
  await waitUntil(async () => (await refusedLogins()) === before + 1, { what: 'the server has refused it' });
  await waitUntil(() => port.sessions.size === 0, { what: 'its session is over' });
  await waitUntil(async () => (await backendConnections()) === 0, { what: 'no connection is left' });
});

test('mutated logins end in an answer or an end, and the next client comes in', async () => {
  await open({ loginTimeoutMs: 500 });
  const random = seededRandom(7);
  const good = login({ user: 'empty' });
  const attempts = Array.from({ length: 300 }, async () => {
    const bytes = Buffer.from(good);
    for (let changes = 1 + random.below(4); changes > 0; changes--) bytes[3 + random.below(bytes.length - 3)] = random.below(256);
    const client = raw();
    await client.handshake();
    client.write(bytes);
    client.write(framePayload(Buffer.alloc(0), 3));
    client.socket.end();
    while ((await client.packet()) !== undefined);
  });
  await Promise.all(attempts);
  await waitUntil(() => port.open === 0, { what: 'all sockets are closed' });
  await stillServes();
});
