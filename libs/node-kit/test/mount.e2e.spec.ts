import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { Module } from '@nestjs/common';
import { startRedis, type RedisServer } from '@binnacle/testing/redis-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import fastify from 'fastify';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AgentClient } from '../src/agent-client.js';
import { mountNodeKit } from '../src/mount.js';
import { startNode, type RunningNode } from '../src/run-node.js';
import { ask, askAsNode, clusterSecret, testConfig } from './testable-node.js';

@Module({})
class NothingModule {}

let redis: RedisServer;
let other: RunningNode;
beforeAll(async () => (redis = await startRedis()));
afterAll(async () => redis.stop());
beforeEach(async () => {
  other = await startNode({ roles: ['gateway'], modules: [NothingModule], defaultPort: 7401 }, testConfig((config) => (config.redis.url = redis.url)));
});
afterEach(async () => other.stop());

function runExample(file: string) {
  const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));
  const child = spawn(process.execPath, ['--import', new URL('./fixtures/typescript-hooks.mjs', import.meta.url).href, path(`../examples/${file}`)], {
    env: {
      ...process.env,
      NODE_OPTIONS: '',
      PORT: '0',
      BINNACLE_DATA_DIR: mkdtempSync(join(tmpdir(), 'binnacle-orders-')),
      BINNACLE_REDIS_URL: redis.url,
      BINNACLE_NODE_CLUSTER_SECRET: clusterSecret,
      // Long enough for what the test asks a service that stops.
      BINNACLE_NODE_DRAIN_DELAY_MS: '3000',
      BINNACLE_HEALTH_EVENT_LOOP_DELAY_MS_MAX: '60000',
      BINNACLE_HEALTH_DISK_FREE_PERCENT_MIN: '0',
      BINNACLE_HEALTH_MEMORY_FREE_PERCENT_MIN: '0',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += String(chunk)));
  process.once('exit', () => child.kill('SIGKILL'));
  return { child, ended: once(child, 'close').then(([code]) => code as number | null), output: () => output };
}

describe.each(['orders-service.ts', 'orders-service.nest.ts'])("a user's own service: examples/%s", (file) => {
  test('is in the registry, answers health and metrics, can be asked as a target, keeps its routes open, and leaves in order', async () => {
    const service = runExample(file);
    const record = await waitUntil(() => other.context.directory.byRole('orders').find(({ state }) => state === 'running'), {
      what: `the service is in the registry: ${service.output()}`,
    });
    const at = `${record.host}:${record.port}`;
    expect(JSON.parse((await ask(at, '/orders')).text)).toEqual([{ id: 1, total: 42 }]);
    expect((await ask(at, '/livez')).text).toBe('ok\n');
    expect((await ask(at, '/readyz')).text).toBe('ok\n');
    const metrics = (await ask(at, '/metrics')).text;
    expect(metrics).toContain('binnacle_http_request_duration_seconds_count{route="/orders",method="GET",status="2xx"} 1');
    expect(metrics).toMatch(/binnacle_build_info\{.*roles="orders"\} 1/);
    expect((await ask(at, '/healthcheck')).status).toBe(401);
    expect(JSON.parse((await askAsNode(at, '/healthcheck')).text)).toMatchObject({ failed: [] });
    expect(JSON.parse((await askAsNode(at, '/metrics.json')).text)).toHaveProperty('system_cpu_active_percentage');

    service.child.kill('SIGTERM');
    await waitUntil(() => other.context.directory.byId(record.id)?.state === 'stopping');
    expect((await ask(at, '/readyz')).status).toBe(503);
    // Whoever has not heard yet is served all the same.
    expect((await ask(at, '/orders')).status).toBe(200);
    expect(await service.ended).toBe(0);
    await waitUntil(() => other.context.directory.byId(record.id) === undefined);
  });
});

test('the service is a target for agents of other nodes', async () => {
  const app = fastify();
  const node = await mountNodeKit(app, { role: 'orders', config: testConfig((config) => (config.redis.url = redis.url)) });
  await app.listen({ port: 0 });
  const record = await waitUntil(() => other.context.directory.byId(node.id));
  const asking = fastify();
  const agents = new AgentClient(await mountNodeKit(asking, { role: 'asking', config: testConfig() }));
  await asking.listen({ port: 0 });
  expect(await agents.request(record, { method: 'GET', path: '/tiflash/store-status', timeoutMs: 5_000 })).toEqual({ status: 200, body: 'Running' });
  await Promise.all([app.close(), asking.close()]);
});

test("the service's own errors and hooks stay as they are", async () => {
  const app = fastify();
  app.setErrorHandler((_error, _request, reply) => reply.code(418).send('mine'));
  app.get('/broken', async () => {
    throw new Error('x');
  });
  await mountNodeKit(app, { role: 'orders', config: testConfig() });
  const at = new URL(await app.listen({ port: 0, host: '127.0.0.1' })).host;
  expect((await ask(at, '/broken')).text).toBe('mine');
  expect((await ask(at, '/nowhere')).status).toBe(404);
  expect((await askAsNode(at, '/agent/v1/leases/x/resign', { method: 'POST', body: '{' })).status).toBe(400);
  await app.close();
});

test('closing with a callback and twice is closing once, and a service that never listened closes too', async () => {
  const app = fastify();
  const node = await mountNodeKit(app, { role: 'orders', config: testConfig() });
  await new Promise<void>((resolve) => {
    void app.close();
    app.close(() => resolve());
  });
  expect(node.lifecycle.status()).toBe('Terminated');
});

test('a role that is no name is refused', async () => {
  await expect(mountNodeKit(fastify(), { role: 'My Orders', config: testConfig() })).rejects.toThrow('role "My Orders"');
});

test('docs/node-kit.md shows the example that runs here', () => {
  const page = readFileSync(new URL('../../../docs/node-kit.md', import.meta.url), 'utf8');
  const example = readFileSync(new URL('../examples/orders-service.ts', import.meta.url), 'utf8');
  expect(page).toContain(`\`\`\`ts\n${example}\`\`\``);
});
