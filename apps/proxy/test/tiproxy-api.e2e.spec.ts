import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { clusterSecretHeader, dialectHeader } from '@binnacle/contracts/internal-headers';
import { NodeConfig } from '@binnacle/node-kit/config';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { type RunningNode, startNode } from '@binnacle/node-kit/run-node';
import { waitUntil } from '@binnacle/testing/wait-until';
import { Module } from '@nestjs/common';
import { DebugController } from '../src/admin/debug.controller.js';
import { NamespacesController } from '../src/admin/namespaces.controller.js';
import { ProxyOperations } from '../src/admin/proxy-operations.js';
import { settingsOfNode } from '../src/settings/node-settings.js';
import { ProxySettings } from '../src/settings/proxy-settings.js';
import { Namespaces } from '../src/tenants/namespaces.js';

/* TiProxy's API as a proxy node serves it, with a stand-in for the sessions and backends behind it. */

const operations = { open: true, redistributed: 0, isOpen: () => operations.open, redistribute: async () => ++operations.redistributed, backendReadings: () => ({ '10.0.0.1:4000': { cpu: 0.5 } }) };

@Module({
  controllers: [NamespacesController, DebugController],
  providers: [
    Namespaces,
    { provide: ProxyOperations, useValue: operations },
    { provide: ProxySettings, useFactory: settingsOfNode, inject: [NodeContext] },
  ],
})
class AdminModule {}

let folder: string;
let node: RunningNode;

async function start(): Promise<void> {
  const config = new NodeConfig();
  config.dataDir = folder;
  config.log.level = 'silent';
  Object.assign(config.node, { id: 'p0', port: 0 });
  node = await startNode({ roles: ['proxy'], modules: [AdminModule], defaultPort: 0 }, config);
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'binnacle-admin-'));
  await start();
});
afterAll(async () => {
  await node.stop();
  rmSync(folder, { recursive: true });
});

async function ask(method: string, path: string, body?: unknown): Promise<{ status: number; type: string; text: string }> {
  const headers = { [clusterSecretHeader]: node.context.clusterSecret, [dialectHeader]: 'tiproxy', ...(body !== undefined && { 'content-type': 'application/x-www-form-urlencoded' }) };
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const response = await fetch(`http://${node.address}/api/${path}`, { method, headers, ...(body !== undefined && { body: text }) });
  return { status: response.status, type: response.headers.get('content-type') ?? '', text: await response.text() };
}

const done = { status: 200, type: 'application/json; charset=utf-8', text: '""' };

describe('namespaces', () => {
  const namespaces = (): Namespaces => node.app.get(Namespaces);
  const inEffect = (): string[] => namespaces().views().map(({ namespace }) => namespace);

  beforeEach(async () => {
    for (const name of namespaces().list().map(({ namespace }) => namespace)) await ask('DELETE', `admin/namespace/${name}`);
    await ask('POST', 'admin/namespace/commit');
  });

  test('there is one without anybody making it', async () => {
    const listed = JSON.parse((await ask('GET', 'admin/namespace')).text) as object[];
    expect(listed).toMatchObject([{ namespace: 'default', frontend: { user: '', security: {} }, backend: { instances: [], 'selector-type': '', security: {} } }]);
    expect((await ask('GET', 'admin/namespace/default')).status).toBe(200);
  });

  test("TiProxy's document is put, shown, committed and removed, and counts from commit to commit", async () => {
    const body = { namespace: 'a', frontend: { user: 'app_*', security: {} }, backend: { instances: ['10.0.0.1:4000'], 'selector-type': 'random', security: {} } };
    expect(await ask('PUT', 'admin/namespace/a', body)).toEqual(done);
    expect(JSON.parse((await ask('GET', 'admin/namespace/a')).text)).toMatchObject(body);
    expect(inEffect()).toEqual(['default']);
    expect(await ask('POST', 'admin/namespace/commit')).toEqual(done);
    expect(namespaces().views()[1]).toMatchObject({ namespace: 'a', users: ['app_*'], instances: ['10.0.0.1:4000'], cluster: 'namespace:a', role: 'writer' });
    expect(await ask('DELETE', 'admin/namespace/a')).toEqual(done);
    expect(inEffect()).toEqual(['default', 'a']);
    await ask('POST', 'admin/namespace/commit?namespace=a');
    expect(inEffect()).toEqual(['default']);
  });

  test('only those that are named are committed', async () => {
    for (const name of ['a', 'b', 'c']) await ask('PUT', `admin/namespace/${name}`, {});
    expect(await ask('POST', 'admin/namespace/commit?namespace=a&namespace=c')).toEqual(done);
    expect(inEffect()).toEqual(['default', 'a', 'c']);
    expect((await ask('POST', 'admin/namespace/commit?namespace=a&namespace=nobody')).status).toBe(404);
    expect(inEffect()).toEqual(['default', 'a', 'c']);
  });

  test('limits, networks, ports, a role and refused statements are taken beside what TiProxy has', async () => {
    const body = {
      frontend: { users: ['r1'], cidrs: ['10.0.0.0/8', '::1'], ports: [6001] },
      backend: { cluster: 'east', role: 'replica' },
      limits: { connections: 5, 'connections-per-user': 2, 'queries-per-second': 0.5, 'queries-burst': 3, 'concurrent-queries': 4, 'queue-max': 6, 'queue-wait-ms': 700 },
      'refuse-digests': ['a'.repeat(64)],
    };
    expect(await ask('PUT', 'admin/namespace/reports', body)).toEqual(done);
    await ask('POST', 'admin/namespace/commit');
    expect(namespaces().views()[1]).toEqual({
      namespace: 'reports',
      users: ['r1'],
      cidrs: ['10.0.0.0/8', '::1'],
      ports: [6001],
      cluster: 'east',
      instances: [],
      role: 'replica',
      limits: { connections: 5, connectionsPerUser: 2, queriesPerSecond: 0.5, queriesBurst: 3, concurrentQueries: 4, queueMax: 6, queueWaitMs: 700 },
      refuseDigests: ['a'.repeat(64)],
    });
  });

  test.each<[unknown, string]>([
    ['{"namespace": ', 'bad namespace json'],
    ['[]', 'bad namespace json'],
    [{ namespace: 'b' }, 'the namespace in the body is "b", and "a" in the path'],
    [{ limits: { connection: 5 } }, '`limits.connection` is not known; did you mean "connections"?'],
    [{ frontends: {} }, '`frontends` is not known; did you mean "frontend"?'],
    [{ limits: 5 }, '`limits` must be an object'],
    [{ limits: { connections: '5' } }, 'limits.connections must be an integer number'],
    [{ limits: { 'queue-wait-ms': 60_001 } }, 'limits.queue-wait-ms must not be greater than 60000'],
    [{ backend: { instances: ['10.0.0.1'] } }, 'each value of backend.instances must be host:port'],
    [{ backend: { instances: ['a:1'], cluster: 'b' } }, 'backend.cluster and backend.instances are both given: leave one out'],
    [{ backend: { role: 'leader' } }, 'backend.role must be one of'],
    [{ frontend: { cidrs: ['10.0.0.0/33'] } }, 'each value of frontend.cidrs must be a network'],
    [{ frontend: { ports: [0] } }, 'each value of frontend.ports must be a port'],
    [{ 'refuse-digests': ['select 1'] }, 'each value of refuse-digests must be a digest'],
    ['{"__proto__": {"x": 1}}', '`__proto__` is not known'],
    ['{"frontend": null}', '`frontend` must be an object'],
  ])('%j is refused and changes nothing', async (body, reason) => {
    const answer = await ask('PUT', 'admin/namespace/a', body);
    expect(answer).toMatchObject({ status: 400, type: 'application/json; charset=utf-8' });
    expect(JSON.parse(answer.text)).toContain(reason);
    expect((await ask('GET', 'admin/namespace/a')).status).toBe(404);
  });

  test('a name that no namespace can have, and one that there is not', async () => {
    expect((await ask('PUT', `admin/namespace/${encodeURIComponent('a b')}`, {})).status).toBe(400);
    expect((await ask('PUT', `admin/namespace/${'x'.repeat(65)}`, {})).status).toBe(400);
    expect(await ask('DELETE', 'admin/namespace/nobody')).toMatchObject({ status: 404, text: JSON.stringify('there is no namespace "nobody"') });
  });

  test('more than cluster state can hold is refused', async () => {
    const users = Array.from({ length: 900 }, (_, at) => `${'u'.repeat(120)}${at}`);
    let status = 200;
    for (let at = 0; at < 20 && status === 200; at++) status = (await ask('PUT', `admin/namespace/n${at}`, { frontend: { users } })).status;
    expect(status).toBe(422);
  });

  test('they are there again after a restart', async () => {
    await ask('PUT', 'admin/namespace/kept', { limits: { connections: 3 } });
    await ask('POST', 'admin/namespace/commit');
    await node.stop();
    await start();
    expect(namespaces().views()[1]).toMatchObject({ namespace: 'kept', limits: { connections: 3 } });
  });
});

describe('health', () => {
  test('is 200 while the port takes connections, and 502 when it does not or is told to say so', async () => {
    const healthy = await ask('GET', 'debug/health');
    expect(healthy).toMatchObject({ status: 200, type: expect.stringContaining('application/json') });
    expect(JSON.parse(healthy.text)).toEqual({ config_checksum: expect.any(Number) });
    expect(await ask('PUT', 'debug/health')).toEqual(done);
    expect((await ask('GET', 'debug/health')).status).toBe(502);
    expect(await ask('DELETE', 'debug/health')).toEqual(done);
    expect((await ask('GET', 'debug/health')).status).toBe(200);
    operations.open = false;
    expect((await ask('GET', 'debug/health')).status).toBe(502);
    operations.open = true;
  });

  test('its checksum follows the configuration, and the settings what was put', async () => {
    const checksum = async (): Promise<unknown> => JSON.parse((await ask('GET', 'debug/health')).text);
    const before = await checksum();
    await node.context.settings.update((current) => Object.assign(current, { proxy: { 'proxy.max-connections': 77 } }));
    await waitUntil(() => node.app.get(ProxySettings).current.proxy.maxConnections === 77);
    expect(await checksum()).not.toEqual(before);
  });
});

test('sessions are redistributed, and what was read of the backends is shown', async () => {
  expect(await ask('POST', 'debug/redirect')).toEqual(done);
  expect(operations.redistributed).toBe(1);
  expect(await ask('GET', 'backend/metrics')).toEqual({ status: 200, type: 'application/json; charset=utf-8', text: '{"10.0.0.1:4000":{"cpu":0.5}}' });
});
