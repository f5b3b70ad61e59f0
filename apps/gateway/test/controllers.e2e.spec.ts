import { clusterSecretHeader, dialectHeader } from '@binnacle/contracts/internal-headers';
import { routes } from '@binnacle/contracts/routes';
import { NodeConfig } from '@binnacle/node-kit/config';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { startNode, type RunningNode } from '@binnacle/node-kit/run-node';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Module } from '@nestjs/common';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ApiKeys } from '../src/api-keys.js';
import { ApiStatistics } from '../src/api-statistics.js';
import { ConfigController } from '../src/config.controller.js';
import { KeysController } from '../src/keys.controller.js';
import { RoutesController } from '../src/routes.controller.js';
import { StatisticsController } from '../src/statistics.controller.js';

/* The gateway's own API as a node serves it, without the public listeners in front. */

@Module({ controllers: [ConfigController, KeysController, RoutesController, StatisticsController], providers: [ApiKeys, ApiStatistics] })
class ControllersModule {}

const clusterSecret = 'a secret of the test cluster'.replaceAll(' ', '-');
let folder: string;
let node: RunningNode;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'binnacle-controllers-'));
  const config = new NodeConfig();
  config.dataDir = folder;
  config.log.level = 'silent';
  Object.assign(config.node, { port: 0, clusterSecret });
  node = await startNode({ roles: ['gateway'], modules: [ControllersModule], defaultPort: 0 }, config);
});
afterAll(async () => {
  await node.stop();
  await rm(folder, { recursive: true, force: true });
});

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly text: string;
}

async function ask(method: string, path: string, options: { body?: string; type?: string; dialect?: string; accept?: string } = {}): Promise<Answer> {
  const headers: Record<string, string> = { [clusterSecretHeader]: clusterSecret, [dialectHeader]: options.dialect ?? 'typesense' };
  if (options.type !== undefined) headers['content-type'] = options.type;
  if (options.accept !== undefined) headers['accept'] = options.accept;
  const response = await fetch(`http://${node.address}${path}`, { method, headers, ...(options.body !== undefined && { body: options.body }) });
  return { status: response.status, type: response.headers.get('content-type') ?? '', text: await response.text() };
}

function settings(): ReturnType<NodeContext['settings']['value']> {
  return node.context.settings.value();
}

const json = 'application/json';
const form = 'application/x-www-form-urlencoded';

describe('/config', () => {
  test.each([json, form, 'text/plain', 'application/octet-stream'])('takes JSON that is declared as %s', async (type) => {
    const ms = Math.floor(Math.random() * 1_000_000);
    const answer = await ask('POST', '/config', { body: JSON.stringify({ 'log-slow-searches-time-ms': ms }), type });
    expect(answer).toEqual({ status: 201, type: 'application/json; charset=utf-8', text: '{"success":true}' });
    expect(settings().logSlowSearchesTimeMs).toBe(ms);
  });

  test.each([
    ['{"log-slow-requests-time-ms": ', json],
    ['', json],
    ['[]', json],
    ['2000', json],
    ['not json', form],
    ['', form],
    ['{"a": {"__proto__": 1}, ', 'text/plain'],
  ])('%j as %s is bad JSON', async (body, type) => {
    expect(await ask('POST', '/config', { body, type })).toMatchObject({ status: 400, text: '{"message": "Bad JSON."}' });
  });

  test('is atomic: one wrong key and nothing changes', async () => {
    const before = settings();
    const answer = await ask('POST', '/config', { body: '{"skip-writes": true, "healthy-read-lag": "many"}', type: json });
    expect(answer).toMatchObject({ status: 400, text: '{"message":"Configuration `healthy-read-lag` must be an integer."}' });
    const unknown = await ask('POST', '/config', { body: '{"skip-writes": true, "healthy-read-lags": 5}', type: json });
    expect(JSON.parse(unknown.text)).toEqual({ message: 'Configuration `healthy-read-lags` is not known; did you mean "healthy-read-lag"?' });
    expect(settings()).toEqual(before);
  });

  test('shows what counts', async () => {
    await ask('POST', '/config', { body: '{"cache-num-entries": 7}', type: json });
    expect(JSON.parse((await ask('GET', '/config')).text)).toMatchObject({ 'cache-num-entries': 7, 'skip-writes': false });
  });
});

describe('/api/admin/config', () => {
  test('is TOML, and JSON for whoever asks for it', async () => {
    await ask('POST', '/config', { body: '{"cache-num-entries": 8}', type: json });
    const toml = await ask('GET', '/api/admin/config');
    expect(toml).toMatchObject({ status: 200, type: expect.stringContaining('application/toml') });
    expect(toml.text).toContain('cache-num-entries = 8\n');
    expect(JSON.parse((await ask('GET', '/api/admin/config?format=json')).text)).toMatchObject({ 'cache-num-entries': 8 });
    expect((await ask('GET', '/api/admin/config', { accept: 'application/json' })).type).toContain(json);
  });

  test.each([form, 'application/toml'])('merges TOML that is declared as %s', async (type) => {
    await ask('POST', '/config', { body: '{"cache-num-entries": 9, "healthy-read-lag": 5}', type: json });
    const answer = await ask('PUT', '/api/admin/config', { body: '# fewer\nhealthy-read-lag = 4\n', type, dialect: 'tiproxy' });
    expect(answer).toMatchObject({ status: 200, text: '""' });
    expect(settings()).toMatchObject({ cacheNumEntries: 9, healthyReadLag: 4 });
  });

  test("merges TiProxy's sections, as TOML and as JSON, with the settings of today; all of it or nothing", async () => {
    const put = (body: string, type = form): Promise<Answer> => ask('PUT', '/api/admin/config', { body, type, dialect: 'tiproxy' });
    expect(await put('advance.query-interaction-metrics = true\nhealthy-read-lag = 3\n[proxy]\nmax-connections = 12')).toMatchObject({ status: 200, text: '""' });
    expect(await put('{"proxy": {"graceful-close-conn-timeout": 4}, "labels": {"zone": "east"}}', json)).toMatchObject({ status: 200 });
    expect(settings()).toMatchObject({ healthyReadLag: 3, proxy: { 'proxy.max-connections': 12, 'proxy.graceful-close-conn-timeout': 4, 'advance.query-interaction-metrics': true } });
    expect(await put('healthy-read-lag = 2\n[proxy]\nmax-connections = "many"')).toMatchObject({ status: 400 });
    expect(await put('{"proxy": ', json)).toMatchObject({ status: 400 });
    expect(settings().healthyReadLag).toBe(3);
    const shown = JSON.parse((await ask('GET', '/api/admin/config?format=json')).text) as Record<string, unknown>;
    expect(shown).toMatchObject({ 'healthy-read-lag': 3, proxy: { 'max-connections': 12, 'graceful-close-conn-timeout': 4 }, labels: { zone: 'east' }, advance: { 'query-interaction-metrics': true } });
    const toml = (await ask('GET', '/api/admin/config')).text;
    expect(toml).toContain('max-connections = 12\n');
    expect(await put(toml)).toMatchObject({ status: 200 });
    expect(JSON.parse((await ask('GET', '/api/admin/config?format=json')).text)).toEqual(shown);
  });

  test('refuses unknown keys, unknown tables and what is no TOML', async () => {
    const put = (body: string): Promise<Answer> => ask('PUT', '/api/admin/config', { body, type: form, dialect: 'tiproxy' });
    expect(await put('skip-write = true')).toMatchObject({ status: 400, text: JSON.stringify('Configuration `skip-write` is not known; did you mean "skip-writes"?') });
    expect(await put('[proxy]\nmax-conections = 5')).toMatchObject({ status: 400, text: JSON.stringify('Configuration `proxy.max-conections` is not known; did you mean "proxy.max-connections"?') });
    expect(await put('[proxi]\nx = 5')).toMatchObject({ status: 400, text: JSON.stringify('Configuration `proxi` is not known; did you mean "proxy"?') });
    expect(await put('skip-writes = true\nhealthy-read-lag = = 5')).toMatchObject({ status: 400, text: '"Bad TOML in line 2, column 20."' });
    expect(await put('healthy-read-lag = inf')).toMatchObject({ status: 400 });
    expect(settings().skipWrites).toBe(false);
  });
});

describe('/keys', () => {
  test('makes, lists, shows and revokes a key as Typesense does', async () => {
    const body = JSON.stringify({ description: 'd', actions: ['metrics.json:list'], collections: ['*'], expires_at: 1_924_992_000 });
    const made = await ask('POST', '/keys', { body, type: json });
    expect(made.status).toBe(201);
    const { id, value, ...rest } = JSON.parse(made.text) as { id: number; value: string };
    const facts = { description: 'd', actions: ['metrics.json:list'], collections: ['*'], expires_at: 1_924_992_000 };
    expect(rest).toEqual(facts);
    const shown = { id, ...facts, value_prefix: value.slice(0, 4) };
    expect(JSON.parse((await ask('GET', '/keys')).text)).toEqual({ keys: [shown] });
    expect(JSON.parse((await ask('GET', `/keys/${id}`)).text)).toEqual(shown);
    expect(await ask('DELETE', `/keys/${id}`)).toMatchObject({ status: 200, text: JSON.stringify({ id }) });
    expect(await ask('DELETE', `/keys/${id}`)).toMatchObject({ status: 404, text: '{"message":"Not found."}' });
    expect(await ask('GET', `/keys/${id}`)).toMatchObject({ status: 404, text: '{"message":"Not found."}' });
  });

  test('refuses what is no key, and ids that are no number', async () => {
    expect(await ask('POST', '/keys', { body: '{}', type: json })).toMatchObject({ status: 400, text: '{"message":"Could not find a `actions` key."}' });
    for (const id of ['x', '-1', '1.5', '99999999999', '..%2f']) expect((await ask('GET', `/keys/${id}`)).status).toBe(400);
  });
});

test('/stats.json has the form of Typesense', async () => {
  expect(JSON.parse((await ask('GET', '/stats.json')).text)).toMatchObject({ latency_ms: {}, requests_per_second: {}, total_requests_per_second: 0 });
});

test('/api/v1/routes lists every row with its state, and the OpenAPI document every path', async () => {
  const listed = JSON.parse((await ask('GET', '/api/v1/routes')).text) as { routes: { path: string; state: string }[] };
  expect(listed.routes).toHaveLength(routes.length);
  expect(listed.routes).toContainEqual(expect.objectContaining({ method: 'POST', path: '/keys', action: 'keys:create', target: { kind: 'role', role: 'gateway' } }));
  const document = JSON.parse((await ask('GET', '/api/v1/openapi.json')).text) as { openapi: string; paths: Record<string, unknown> };
  expect(document.openapi).toBe('3.1.0');
  expect(document.paths).toHaveProperty('/keys/{id}');
});
