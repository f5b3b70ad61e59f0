import { systemClock } from '@binnacle/cluster-state/clock';
import { NodeConfig } from '@binnacle/node-kit/config';
import type { NodePart } from '@binnacle/node-kit/node-context';
import { makeAuthority, type IssuedCertificate, type TestAuthority } from '@binnacle/testing/certificates';
import { waitUntil } from '@binnacle/testing/wait-until';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { copyFile, mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import type { Server } from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { TlsMaterial } from './tls-material.js';

let folder: string;
let authority: TestAuthority;
let other: TestAuthority;
let first: IssuedCertificate;
let second: IssuedCertificate;
const closings: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'binnacle-tls-'));
  authority = await makeAuthority(await subfolder('ca'));
  other = await makeAuthority(await subfolder('other-ca'));
  first = await authority.issue('first');
  second = await authority.issue('second');
});
afterEach(async () => {
  for (const close of closings.splice(0)) await close();
});
afterAll(async () => rm(folder, { recursive: true, force: true }));

async function subfolder(name: string): Promise<string> {
  const path = join(folder, name);
  await mkdir(path, { recursive: true });
  return path;
}

interface Running {
  readonly port: number;
  readonly lines: string[];
  readonly server: Server;
}

/** A server on the files named; `lines` are what it logs. */
async function serve(gateway: Partial<NodeConfig['gateway']>): Promise<Running> {
  const lines: string[] = [];
  const parts: NodePart[] = [];
  const write = (_fields: unknown, line: string): void => void lines.push(line);
  const config = Object.assign(new NodeConfig(), { gateway: Object.assign(new NodeConfig().gateway, gateway) });
  const log = { info: write, warn: write, error: write };
  const material = new TlsMaterial({ config, log, clock: systemClock, addPart: (part: NodePart) => parts.push(part) } as never);
  const server = material.createServer((request, response) => {
    const socket = request.socket as TLSSocket;
    response.end(String(socket.getPeerCertificate?.().subject?.CN ?? 'nobody'));
  }, {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  for (const part of parts) await part.start?.();
  closings.push(async () => {
    for (const part of parts) await part.stop?.();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return { port: (server.address() as AddressInfo).port, lines, server };
}

/** The common name of the server on a new connection, and what it answers. */
async function ask(port: number, client?: IssuedCertificate, ca = authority.caFile): Promise<{ server: string; answer: string }> {
  const credentials = client ? { cert: await readFile(client.certFile), key: await readFile(client.keyFile) } : {};
  const options = { host: '127.0.0.1', port, ca: await readFile(ca), agent: false, ...credentials } as const;
  return new Promise((resolve, reject) => {
    const request = https.get(options, (response) => {
      const server = String((response.socket as TLSSocket).getPeerCertificate().subject.CN);
      let answer = '';
      response.on('data', (chunk: Buffer) => (answer += chunk.toString()));
      response.on('end', () => resolve({ server, answer }));
    });
    request.on('error', reject);
  });
}

async function install(certificate: IssuedCertificate, into: string): Promise<Partial<NodeConfig['gateway']>> {
  const names = { tlsCertFile: join(into, 'server.pem'), tlsKeyFile: join(into, 'server.key') };
  await copyFile(certificate.certFile, names.tlsCertFile);
  await copyFile(certificate.keyFile, names.tlsKeyFile);
  return names;
}

test('without files it makes a plain HTTP server', async () => {
  const { port } = await serve({});
  expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe('nobody');
});

test('new files count for new connections without a restart', async () => {
  const into = await subfolder('reload');
  const { port, lines } = await serve(await install(first, into));
  expect(await ask(port)).toEqual({ server: 'first', answer: 'nobody' });
  await install(second, into);
  await waitUntil(() => lines.length > 0, { what: 'the new files are taken' });
  expect(lines).toEqual(['TLS files changed: new connections use them']);
  expect(await ask(port)).toEqual({ server: 'second', answer: 'nobody' });
});

test('a folder that is exchanged as a whole, as Kubernetes mounts secrets, is noticed', async () => {
  const mount = await subfolder('mount');
  await install(first, await subfolder('mount/..1'));
  await install(second, await subfolder('mount/..2'));
  await symlink('..1', join(mount, '..data'));
  await symlink('..data/server.pem', join(mount, 'server.pem'));
  await symlink('..data/server.key', join(mount, 'server.key'));
  const { port, lines } = await serve({ tlsCertFile: join(mount, 'server.pem'), tlsKeyFile: join(mount, 'server.key') });
  await symlink('..2', join(mount, '..data_tmp'));
  await rename(join(mount, '..data_tmp'), join(mount, '..data'));
  await waitUntil(() => lines.length > 0, { what: 'the new files are taken' });
  expect((await ask(port)).server).toBe('second');
});

test('a broken file keeps the old one in use, is complained of, and is forgotten once it is mended', async () => {
  const into = await subfolder('broken');
  const names = await install(first, into);
  const { port, lines } = await serve(names);
  await writeFile(names.tlsCertFile as string, 'not a certificate');
  await waitUntil(() => lines.length > 0, { what: 'the complaint' });
  expect(lines).toEqual(['TLS files changed and cannot be used: the old ones stay']);
  expect((await ask(port)).server).toBe('first');
  await install(second, into);
  await waitUntil(() => lines.length > 1, { what: 'the mended files are taken' });
  expect((await ask(port)).server).toBe('second');
});

test('a certificate whose key has not arrived yet is not used', async () => {
  const into = await subfolder('half');
  const names = await install(first, into);
  const { port, lines } = await serve(names);
  await copyFile(second.certFile, names.tlsCertFile as string);
  await waitUntil(() => lines.length > 0, { what: 'the complaint' });
  expect((await ask(port)).server).toBe('first');
});

test('with a client authority a client of that authority is known by name, others get no connection', async () => {
  const into = await subfolder('mtls');
  const { port } = await serve({ ...(await install(first, into)), tlsCaFile: authority.caFile });
  expect(await ask(port, await authority.issue('tidb'))).toEqual({ server: 'first', answer: 'tidb' });
  await expect(ask(port)).rejects.toThrow(/certificate required|ECONNRESET|socket hang up/);
  await expect(ask(port, await other.issue('tidb'))).rejects.toThrow(/unknown ca|ECONNRESET|socket hang up|alert/i);
});

test('a new client authority counts without a restart', async () => {
  const into = await subfolder('mtls-reload');
  const caFile = join(into, 'ca.pem');
  await copyFile(authority.caFile, caFile);
  const { port, lines } = await serve({ ...(await install(first, into)), tlsCaFile: caFile });
  const [ours, theirs] = [await authority.issue('ours'), await other.issue('theirs')];
  expect((await ask(port, ours)).answer).toBe('ours');
  await copyFile(other.caFile, caFile);
  await waitUntil(() => lines.length > 0, { what: 'the new authority is taken' });
  expect((await ask(port, theirs)).answer).toBe('theirs');
  await expect(ask(port, ours)).rejects.toThrow();
});

test('files that cannot be used from the start are an error that names their keys', async () => {
  const into = await subfolder('refused');
  const names = await install(first, into);
  await copyFile(second.keyFile, names.tlsKeyFile as string);
  await expect(serve(names)).rejects.toThrow(/the files of gateway\.tls-cert-file.*cannot be used/);
  await expect(serve({ ...names, tlsKeyFile: '/nowhere/key.pem' })).rejects.toThrow(/ENOENT.*key\.pem/);
  await expect(serve({ tlsCertFile: first.certFile })).rejects.toThrow(/belong together/);
  await expect(serve({ tlsCaFile: authority.caFile })).rejects.toThrow(/needs gateway\.tls-cert-file/);
});
