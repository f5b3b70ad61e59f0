import { NodeConfig, type GatewayConfig } from '@binnacle/node-kit/config';
import { startNode, type RunningNode } from '@binnacle/node-kit/run-node';
import { makeAuthority, type IssuedCertificate } from '@binnacle/testing/certificates';
import { startRedis, type RedisServer } from '@binnacle/testing/redis-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { Client } from 'typesense';
import { failuresAtOnceMax } from '../src/failed-attempts.js';
import { GatewayModule } from '../src/gateway.module.js';

/* Who may do what, through the public listeners of two gateways that share a real Redis. */

const bootstrap = 'bootstrap-key-of-the-policy-test';
const withinMs = 5_000;
let folder: string;
let redis: RedisServer;
let first: Gateway;
let second: Gateway;
const gateways: Gateway[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'binnacle-policy-'));
  redis = await startRedis();
  [first, second] = await Promise.all([startGateway('first', { apiKey: bootstrap }), startGateway('second', { apiKey: bootstrap })]);
});
afterAll(async () => {
  await Promise.all(gateways.map(({ node }) => node.stop()));
  await redis.stop();
  await rm(folder, { recursive: true, force: true });
});

type ListenerName = 'gateway' | 'tiflash' | 'tiproxy' | 'gostatsd' | 'typesense';

interface Gateway {
  readonly node: RunningNode;
  readonly logged: () => string;
  readonly port: (listener: ListenerName) => number;
}

function configOf(id: string, gateway: Partial<GatewayConfig>, prefix: string): NodeConfig {
  const config = new NodeConfig();
  config.dataDir = join(folder, id);
  config.redis.url = redis.url;
  config.redis.prefix = prefix;
  Object.assign(config.node, { id, port: 0, clusterSecret: 'secret-of-the-policy-test', drainDelayMs: 0 });
  Object.assign(config.gateway, { port: 0, tiflashPort: 0, tiproxyPort: 0, gostatsdPort: 0, typesensePort: 0 }, gateway);
  return config;
}

async function startGateway(id: string, gateway: Partial<GatewayConfig>, prefix = 'policy'): Promise<Gateway> {
  const lines: string[] = [];
  const logDestination = new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(chunk.toString());
      done();
    },
  });
  const config = configOf(id, gateway, prefix);
  const node = await startNode({ roles: ['gateway'], modules: [GatewayModule], defaultPort: 0 }, config, { logDestination });
  const started = { node, logged: () => lines.join(''), port: (listener: ListenerName) => Number(node.context.labels[`${listener}-port`]) };
  gateways.push(started);
  return started;
}

interface Ask {
  readonly method?: string;
  readonly listener?: ListenerName;
  readonly key?: string;
  readonly body?: unknown;
  /** The address to come from: all of 127.0.0.0/8 is this machine. */
  readonly from?: string;
  readonly tls?: https.RequestOptions;
}

interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
}

async function ask(gateway: Gateway, path: string, { method = 'GET', listener = 'gateway', key = bootstrap, body, from, tls }: Ask = {}): Promise<Answer> {
  const headers = key === '' ? {} : { 'x-typesense-api-key': key };
  const options = { host: '127.0.0.1', port: gateway.port(listener), path, method, headers, agent: false, ...(from && { localAddress: from }), ...tls };
  return new Promise((resolve, reject) => {
    const request = (tls ? https : http).request(options, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.on('end', () => resolve({ status: response.statusCode as number, headers: response.headers, text }));
    });
    request.on('error', reject);
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

async function makeKey(actions: string[]): Promise<{ id: number; value: string }> {
  const made = await ask(first, '/keys', { method: 'POST', listener: 'typesense', body: { actions } });
  expect(made.status).toBe(201);
  return JSON.parse(made.text) as { id: number; value: string };
}

/** Waits for what another gateway must do at once, which on a busy machine is more than a second. */
async function soon(condition: () => Promise<boolean>, what: string): Promise<void> {
  await waitUntil(condition, { what, timeoutMs: withinMs });
}

describe('keys', () => {
  test('a key with one scope can do just that, on every gateway and every listener', async () => {
    const { value } = await makeKey(['stats.json:list']);
    await soon(async () => (await ask(second, '/stats.json', { key: value })).status === 200, 'the second gateway knows the key');
    for (const listener of ['gateway', 'typesense'] as const) expect((await ask(first, '/stats.json', { key: value, listener })).status).toBe(200);
    for (const [path, listener] of [['/config', 'typesense'], ['/keys', 'typesense'], ['/tiflash/store-status', 'tiflash'], ['/api/v1/routes', 'gateway']] as const) {
      expect((await ask(first, path, { key: value, listener })).status).toBe(401);
    }
    expect((await ask(first, '/config', { method: 'POST', key: value, body: { 'skip-writes': true } })).status).toBe(401);
    expect(first.node.context.settings.value().skipWrites).toBe(false);
  });

  test('a revoked key is refused by the other gateway soon', async () => {
    const { id, value } = await makeKey(['debug:list']);
    await soon(async () => (await ask(second, '/debug', { key: value })).status === 200, 'the second gateway knows the key');
    expect((await ask(first, `/keys/${id}`, { method: 'DELETE' })).status).toBe(200);
    expect((await ask(first, '/debug', { key: value })).status).toBe(401);
    await soon(async () => (await ask(second, '/debug', { key: value, from: '127.0.0.9' })).status === 401, 'the second gateway refuses it');
  });

  test('the typesense client makes, lists and deletes keys, and works with what it was given', async () => {
    const clientWith = (apiKey: string): Client => new Client({ nodes: [{ host: '127.0.0.1', port: first.port('typesense'), protocol: 'http' }], apiKey });
    const admin = clientWith(bootstrap);
    const made = await admin.keys().create({ description: 'monitoring', actions: ['debug:list'], collections: ['*'] });
    expect(await clientWith(made.value as string).debug.retrieve()).toMatchObject({ state: 4 });
    await expect(clientWith(made.value as string).keys().retrieve()).rejects.toMatchObject({ httpStatus: 401 });
    const { keys } = await admin.keys().retrieve();
    expect(keys.find((key) => key.id === made.id)).toMatchObject({ description: 'monitoring', value_prefix: made.value?.slice(0, 4) });
    expect(await admin.keys(made.id as number).delete()).toEqual({ id: made.id });
  });

  test.each([
    ['typesense', '/debug', '{"message": "Forbidden - a valid `x-typesense-api-key` header must be sent."}'],
    ['tiflash', '/tiflash/store-status', 'The API key is not known.'],
    ['tiproxy', '/api/admin/config/', '"The API key is not known."'],
    ['gostatsd', '/expvar', 'The API key is not known.'],
    ['gateway', '/api/v1/routes', '{"error":{"code":"UNAUTHENTICATED","message":"The API key is not known."}}'],
  ] as const)('a wrong key is 401 on the %s listener, in its form', async (listener, path, body) => {
    expect(await ask(first, path, { listener, key: 'wrong', from: '127.0.0.8' })).toMatchObject({ status: 401, text: body });
  });

  test('probes need no key', async () => {
    for (const path of ['/livez', '/readyz', '/tiflash/livez', '/tifash/readyz']) expect((await ask(first, path, { key: '' })).status).toBe(200);
  });

  test('who tries too many keys waits, and nobody else does', async () => {
    const from = '127.0.0.66';
    for (let attempt = 0; attempt < failuresAtOnceMax; attempt++) expect((await ask(first, '/debug', { key: `guess-${attempt}`, from })).status).toBe(401);
    const refused = await ask(first, '/debug', { from });
    expect(refused.status).toBe(429);
    expect(Number(refused.headers['retry-after'])).toBeGreaterThanOrEqual(1);
    expect((await ask(first, '/debug')).status).toBe(200);
    expect((await ask(second, '/debug', { from })).status).toBe(200);
  });
});

describe('configuration', () => {
  test('a change is in force on both gateways soon', async () => {
    const answer = await ask(first, '/config', { method: 'POST', listener: 'typesense', body: { 'log-slow-searches-time-ms': 123 } });
    expect(answer).toMatchObject({ status: 201, text: '{"success":true}' });
    const shown = async (gateway: Gateway): Promise<unknown> => (JSON.parse((await ask(gateway, '/config')).text) as Record<string, unknown>)['log-slow-searches-time-ms'];
    expect(await shown(first)).toBe(123);
    await soon(async () => (await shown(second)) === 123, 'the second gateway has the change');
    expect((await ask(second, '/api/admin/config/', { listener: 'tiproxy' })).text).toContain('log-slow-searches-time-ms = 123\n');
  });

  test('a change with one wrong key changes nothing anywhere', async () => {
    const body = { 'healthy-read-lag': 1, 'healthy-write-lag': 'x' };
    expect(await ask(first, '/config', { method: 'POST', body })).toMatchObject({ status: 400 });
    const { version, revision } = await documentOf('settings');
    await ask(first, '/config', { method: 'POST', body: { ...body, 'no-such-key': 1 } });
    expect(await documentOf('settings')).toEqual({ version, revision });
    expect(first.node.context.settings.value().healthyReadLag).toBe(1_000);
  });

  async function documentOf(key: string): Promise<{ version: number | undefined; revision: number }> {
    const { document, revision } = await first.node.context.state.readDocument(key);
    return { version: document?.version, revision };
  }
});

test('the slow request log is switched on and off while gateways run, and never shows a key', async () => {
  const marked = (mark: string): Promise<Answer> => ask(second, `/debug?x-typesense-api-key=${bootstrap}&mark=${mark}`, { key: '' });
  const slowLines = (): string[] => second.logged().split('\n').filter((line) => line.includes('SLOW REQUEST'));
  await marked('before');
  expect(slowLines()).toEqual([]);
  await ask(first, '/config', { method: 'POST', body: { 'log-slow-requests-time-ms': 0 } });
  await waitUntil(() => second.node.context.settings.value().logSlowRequestsTimeMs === 0, { what: 'the change', timeoutMs: withinMs });
  await marked('during');
  await waitUntil(() => slowLines().length > 0, { what: 'the line' });
  expect(slowLines()[0]).toMatch(/SLOW REQUEST \(\d+ ms\) 127\.0\.0\.1 GET \/debug\?mark=during/);
  await ask(first, '/config', { method: 'POST', body: { 'log-slow-requests-time-ms': -1 } });
  await waitUntil(() => second.node.context.settings.value().logSlowRequestsTimeMs === -1, { what: 'the change', timeoutMs: withinMs });
  const count = slowLines().length;
  await marked('after');
  expect(slowLines()).toHaveLength(count);
  expect(second.logged() + first.logged()).not.toContain(bootstrap);
});

describe('binds', () => {
  test('a gateway that others can reach does not start without a key or mTLS, and says what to set', async () => {
    const starting = startGateway('open', { host: '0.0.0.0' }, 'binds');
    await expect(starting).rejects.toThrow(/gateway\.host is 0\.0\.0\.0.*set gateway\.api-key \(BINNACLE_GATEWAY_API_KEY/s);
  });

  test('a stored key is enough', async () => {
    const maker = await startGateway('maker', { host: '127.0.0.1', apiKey: bootstrap }, 'stored');
    const made = await ask(maker, '/keys', { method: 'POST', body: { actions: ['debug:list'] } });
    const { value } = JSON.parse(made.text) as { value: string };
    const reachable = await startGateway('reachable', { host: '0.0.0.0' }, 'stored');
    expect((await ask(reachable, '/debug', { key: value })).status).toBe(200);
    expect((await ask(reachable, '/debug', { key: '' })).status).toBe(401);
  });
});

describe('client certificates', () => {
  let gateway: Gateway;
  let credentials: (certificate?: IssuedCertificate) => Promise<https.RequestOptions>;
  let tidb: IssuedCertificate;
  let mallory: IssuedCertificate;

  beforeAll(async () => {
    const authority = await makeAuthority(folder);
    const server = await authority.issue('gateway');
    [tidb, mallory] = [await authority.issue('tidb'), await authority.issue('mallory')];
    credentials = async (certificate) => ({
      ca: await readFile(authority.caFile),
      ...(certificate && { cert: await readFile(certificate.certFile), key: await readFile(certificate.keyFile) }),
    });
    const files = { tlsCertFile: server.certFile, tlsKeyFile: server.keyFile, tlsCaFile: authority.caFile };
    gateway = await startGateway('mtls', { ...files, certAllowedCn: ['tidb'], host: '0.0.0.0', apiKey: bootstrap }, 'mtls');
  });

  test('an allowed name is let in without a key, another gets 403 but for the exempt paths', async () => {
    const statusOf = async (path: string, certificate: IssuedCertificate, key = ''): Promise<number> =>
      (await ask(gateway, path, { listener: 'tiflash', key, tls: await credentials(certificate) })).status;
    expect(await statusOf('/tiflash/store-status', tidb)).toBe(200);
    expect(await ask(gateway, '/tiflash/store-status', { listener: 'tiflash', key: '', tls: await credentials(mallory) })).toMatchObject({ status: 403, text: 'certificate role error' });
    expect(await statusOf('/metrics', mallory)).toBe(200);
    expect(await statusOf('/status', mallory)).toBe(200);
    expect(await statusOf('/tiflash/store-status', mallory, bootstrap)).toBe(200);
    expect(await statusOf('/tiflash/store-status', mallory, 'wrong')).toBe(401);
  });

  test('without a certificate there is no connection, with or without a key', async () => {
    await expect(ask(gateway, '/livez', { tls: await credentials() })).rejects.toThrow(/certificate required|ECONNRESET|socket hang up/);
  });
});
