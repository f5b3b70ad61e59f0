import { afterEach, beforeAll, afterAll, describe, expect, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSecureContext, type SecureContext } from 'node:tls';
import { promisify } from 'node:util';
import { makeAuthority } from '@binnacle/testing/certificates';
import { createConnection, type Connection } from 'mysql2/promise';
import { dialBackend } from '../src/connection/backend-connection.js';
import { Credentials } from '../src/connection/credentials.js';
import { parseUsersFile } from '../src/connection/users-file.js';
import { LoginPort } from './login-port.js';
import { Sha2Server } from './sha2-server.js';

const run = promisify(execFile);
const password = 'secret of some length, longer than the scramble';
let folder: string;
let ca: Buffer;
let context: SecureContext;
let server: Sha2Server;
let port: LoginPort;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'binnacle-sha2-'));
  const authority = await makeAuthority(folder);
  const { certFile, keyFile } = await authority.issue('mysql');
  ca = await readFile(authority.caFile);
  context = createSecureContext({ cert: await readFile(certFile), key: await readFile(keyFile) });
});

afterAll(() => rm(folder, { recursive: true, force: true }));

afterEach(async () => {
  await port.close();
  await server.close();
});

async function start(clientTls: boolean, serverTls: boolean, credentials?: Credentials): Promise<void> {
  server = new Sha2Server(password, serverTls ? context : undefined);
  const backendPort = await server.listen();
  port = new LoginPort(backendPort, {
    dial: { tls: { mode: serverTls ? 'required' : 'off', verify: false } },
    ...(clientTls && { client: { tls: { context, required: false, requestCertificate: false } } }),
    ...(credentials && { credentials }),
  });
  await port.listen();
}

const connect = (clientTls: boolean, given = password): Promise<Connection> =>
  createConnection({ host: '127.0.0.1', port: port.port, user: 'app', password: given, ...(clientTls && { ssl: { ca } }) });

describe.each([
  ['plain to plain', false, false, 'full by RSA'],
  ['TLS to plain', true, false, 'full by RSA'],
  ['plain to TLS', false, true, 'full by TLS'],
  ['TLS to TLS', true, true, 'full by TLS'],
] as const)('%s', (_name, clientTls, serverTls, full) => {
  test('full at first, then fast, and wrong passwords are wrong', async () => {
    await start(clientTls, serverTls);
    for (let i = 0; i < 2; i++) {
      const connection = await connect(clientTls);
      await connection.ping();
      await connection.end();
    }
    await expect(connect(clientTls, 'wrong')).rejects.toMatchObject({ errno: 1045 });
    expect(server.logins).toEqual([full, 'fast', 'wrong']);
    expect(port.credential).toBeUndefined();
  });

  test('the command line client, whose replies another library makes', async () => {
    await start(clientTls, serverTls);
    const args = ['--no-defaults', '--protocol=tcp', '--host=127.0.0.1', `--port=${port.port}`, '--user=app', clientTls ? '--ssl' : '--skip-ssl', '-e', 'DO 1'];
    await run('mariadb', [...args, `--password=${password}`], { timeout: 20_000 });
    await run('mariadb', [...args, `--password=${password}`], { timeout: 20_000 });
    await expect(run('mariadb', [...args, '--password=wrong'], { timeout: 20_000 })).rejects.toThrow(/ERROR 1045/);
    expect(server.logins).toEqual([full, 'fast', 'wrong']);
  });

  test('what is seen of the password in full logs in again, if it is to be kept', async () => {
    await start(clientTls, serverTls, new Credentials({ users: new Map(), keep: true }));
    for (let i = 0; i < 2; i++) {
      const connection = await connect(clientTls);
      await connection.end();
      // Between two ends without TLS the password passes encrypted for the server, and the proxy cannot read it.
      expect(port.credential).toEqual(clientTls || serverTls ? { kind: 'password', password } : undefined);
    }
  });

  test('what the users file has is checked by the proxy, and logs in again where the server has forgotten', async () => {
    await start(clientTls, serverTls, new Credentials({ users: parseUsersFile(`[users]\napp = "${password}"`), keep: false }));
    const connection = await connect(clientTls);
    await connection.ping();
    const { credential, backend } = port.logins[0]!;
    expect(credential).toEqual({ kind: 'password', password });
    server.forget();
    const login = { user: 'app', database: '', collation: 45, attributes: [], capabilities: backend.capabilities, credential: credential!, tls: { mode: serverTls ? 'required' : 'off', verify: false } } as const;
    const again = await dialBackend(backend.backend, login, 10_000);
    again.close();
    await connection.changeUser({ user: 'app', password, database: '' });
    expect(port.changes).toMatchObject([{ user: 'app', credential: { kind: 'password', password } }]);
    await connection.end();
    expect(server.logins).toEqual([full, full, 'fast']);
  });
});

test('a secret is kept only as long as that is wanted', async () => {
  const sources = { users: new Map(), keep: true };
  await start(true, true, new Credentials(sources));
  await (await connect(true)).end();
  sources.keep = false;
  await (await connect(true)).end();
  expect(port.credential).toBeUndefined();
  sources.keep = true;
  await (await connect(true)).end();
  expect(port.credential).toBeUndefined();
  expect(server.logins).toEqual(['full by TLS', 'fast', 'fast']);
});

