import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { clusterSecretHeader } from '@binnacle/contracts/internal-headers';
import { NodeConfig } from '@binnacle/node-kit/config';
import { type RunningNode, startNode } from '@binnacle/node-kit/run-node';
import { type RedisServer, startRedis } from '@binnacle/testing/redis-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { HealthModule } from '../src/health.module.js';

const clusterSecret = 'the-secret-of-these-tests';

interface DeepCheck {
  status: number;
  ok: string[];
  failed: string[];
}

type Answer = { readonly status: number; readonly body: unknown } | 'hangs';

/** Stands for another node: answers `/healthcheck` as told, or accepts and never answers. */
class OtherNode {
  asked = 0;
  readonly secrets = new Set<unknown>();

  private constructor(readonly server: Server) {}

  static async start(answer: Answer): Promise<OtherNode> {
    const node = new OtherNode(createServer());
    node.server.on('request', (request, response) => {
      node.asked += 1;
      node.secrets.add(request.headers[clusterSecretHeader]);
      if (answer === 'hangs') return;
      response.writeHead(answer.status, { 'content-type': 'application/json' }).end(JSON.stringify(answer.body));
    });
    node.server.listen(0, '127.0.0.1');
    await once(node.server, 'listening');
    return node;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }
}

/** Under the timeout of an operation on Redis, and enough for a healthy node on a busy machine. */
const checkDeadlineMs = 1_500;
const slackMs = 3_000;

describe('a health node on Redis', () => {
  let redis: RedisServer;
  let health: RunningNode;
  let folder: string;
  const others: OtherNode[] = [];

  async function start(redisUrl: string, checkCacheMs = 60_000): Promise<RunningNode> {
    const config = new NodeConfig();
    config.dataDir = folder = mkdtempSync(join(tmpdir(), 'binnacle-health-'));
    Object.assign(config.node, { id: 'h0', port: 0, clusterSecret, drainDelayMs: 0 });
    Object.assign(config.health, { checkDeadlineMs, checkCacheMs, eventLoopDelayMsMax: 60_000, diskFreePercentMin: 0, memoryFreePercentMin: 0 });
    config.redis.url = redisUrl;
    config.log.level = 'silent';
    return startNode({ roles: ['health'], modules: [HealthModule], defaultPort: 0 }, config);
  }

  async function startAnew(redisUrl: string, checkCacheMs?: number): Promise<void> {
    await health.stop();
    rmSync(folder, { recursive: true, force: true });
    health = await start(redisUrl, checkCacheMs);
  }

  const get = (path: string) => fetch(`http://${health.address}${path}`, { headers: { [clusterSecretHeader]: clusterSecret } });
  const deepcheck = async (): Promise<DeepCheck> => {
    const response = await get('/deepcheck');
    return { status: response.status, ...((await response.json()) as { ok: string[]; failed: string[] }) };
  };
  const healthOf = async (query = '') => {
    const response = await get(`/health${query}`);
    return [response.status, await response.json()];
  };

  /** Puts a node into the registry and waits until the health node knows of it. */
  async function register(facts: Partial<NodeRecord>): Promise<NodeRecord> {
    const own = health.context.directory.byId('h0');
    const record = { ...own!, id: 's0', incarnation: 'i', roles: ['storage'], ...facts };
    await health.context.state.heartbeat(record, 60_000);
    await waitUntil(() => {
      const known = health.context.directory.byId(record.id);
      return known?.resourceError === record.resourceError && known?.appliedRevision === record.appliedRevision && known.state === record.state;
    });
    return record;
  }

  async function other(answer: Answer, id: string): Promise<OtherNode> {
    const node = await OtherNode.start(answer);
    others.push(node);
    await register({ id, incarnation: id, port: node.port });
    return node;
  }

  const healthy = { status: 200, body: { ok: ['disk: 50 % free'], failed: [] } };

  beforeEach(async () => {
    redis = await startRedis({ appendOnly: true });
    health = await start(redis.url);
    await waitUntil(() => health.context.directory.byId('h0')?.state === 'running');
  });

  afterEach(async () => {
    await health.stop();
    await Promise.all(others.splice(0).map((node) => node.stop()));
    await redis.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  describe('deepcheck', () => {
    test('is 200 with a line for the cluster state and for every node, itself included', async () => {
      const node = await other(healthy, 's0');
      expect(await deepcheck()).toEqual({
        status: 200,
        ok: ['cluster state: redis answers', 'node h0: healthy in itself', 'node s0: healthy in itself'],
        failed: [],
      });
      expect([...node.secrets]).toEqual([clusterSecret]);
      const response = await get('/deepcheck');
      expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8');
      expect(response.headers.get('cache-control')).toContain('no-store');
    });

    test('is 500 with what a node says is wrong with it, and with a node that cannot be reached', async () => {
      await other({ status: 500, body: { ok: [], failed: ['disk: 1.0 % free, at least 5 % wanted'] } }, 's0');
      await register({ id: 's1', incarnation: 's1', port: 1 });
      const { status, failed } = await deepcheck();
      expect(status).toBe(500);
      expect(failed).toEqual([
        'node s0: disk: 1.0 % free, at least 5 % wanted',
        expect.stringMatching(/^node s1: node s1 cannot be asked: (ECONNREFUSED|other side closed|bad port)/),
      ]);
      expect((await get('/healthcheck')).status).toBe(200);
    });

    test('a node that accepts and never answers has failed within the deadline, and holds up nobody else', async () => {
      await other('hangs', 's0');
      const startedAt = performance.now();
      const { status, ok, failed } = await deepcheck();
      expect(performance.now() - startedAt).toBeLessThan(checkDeadlineMs + slackMs);
      expect({ status, failed }).toEqual({ status: 500, failed: [`node s0: no answer within ${checkDeadlineMs} ms`] });
      expect(ok).toContain('node h0: healthy in itself');
    });

    test('100 polls at once and 100 more ask a node once', async () => {
      const node = await other(healthy, 's0');
      await Promise.all(Array.from({ length: 100 }, deepcheck));
      for (let poll = 0; poll < 100; poll++) await deepcheck();
      expect(node.asked).toBe(1);
    });

    test('a node that comes is checked, one that goes or stops is not', async () => {
      await other('hangs', 's0');
      expect((await deepcheck()).failed).toHaveLength(1);
      await register({ id: 's0', incarnation: 's0', port: 1, state: 'stopping' });
      expect(await deepcheck()).toMatchObject({ status: 200, failed: [] });
      await health.context.state.deregister('s0', 's0');
      await waitUntil(() => health.context.directory.byId('s0') === undefined);
      expect((await deepcheck()).ok).toHaveLength(2);
    });
  });

  describe('health', () => {
    test('is 503 without a storage node, 200 with one that is caught up', async () => {
      expect(await healthOf()).toEqual([503, { ok: false }]);
      await register({});
      expect(await healthOf()).toEqual([200, { ok: true }]);
    });

    test('is 503 when every storage node lags, and of a named node by its own lag', async () => {
      const { context } = health;
      await context.settings.update((settings) => ({ ...settings, healthyReadLag: 0 }));
      await register({ id: 'behind', incarnation: 'behind', appliedRevision: 0 });
      expect(await healthOf()).toEqual([503, { ok: false }]);
      await register({ id: 'level', incarnation: 'level', appliedRevision: context.settings.appliedRevision() });
      expect(await healthOf()).toEqual([200, { ok: true }]);
      expect(await healthOf('?node=behind')).toEqual([503, { ok: false }]);
      expect(await healthOf('?node=level')).toEqual([200, { ok: true }]);
      expect((await get('/health?node=nobody')).status).toBe(404);
      expect((await get('/health?node=level&node=behind')).status).toBe(400);
    });

    test('tells the shortage of a storage node and stays 200; another node is no matter of it', async () => {
      await register({ id: 'g0', incarnation: 'g0', roles: ['gateway'], resourceError: 'OUT_OF_MEMORY' });
      await register({});
      expect(await healthOf()).toEqual([200, { ok: true }]);
      await register({ resourceError: 'OUT_OF_DISK' });
      expect(await healthOf()).toEqual([200, { ok: true, resource_error: 'OUT_OF_DISK' }]);
    });
  });

  test('Redis killed: deepcheck fails, healthcheck, liveness and health by the last view do not; it heals by itself', async () => {
    await startAnew(redis.url, 0);
    await waitUntil(() => health.context.directory.byId('h0')?.state === 'running');
    await register({});
    await redis.kill9();
    const { status, failed } = await deepcheck();
    expect(status).toBe(500);
    expect(failed.some((line) => line.startsWith('cluster state: '))).toBe(true);
    expect((await get('/healthcheck')).status).toBe(200);
    expect((await get('/livez')).status).toBe(200);
    expect(await healthOf()).toEqual([200, { ok: true }]);
    await redis.restart();
    await waitUntil(async () => (await deepcheck()).ok.includes('cluster state: redis answers'));
  });

  test('Redis that hangs fails deepcheck within the deadline', async () => {
    redis.pause();
    const startedAt = performance.now();
    const { failed } = await deepcheck();
    expect(performance.now() - startedAt).toBeLessThan(checkDeadlineMs + slackMs);
    expect(failed).toEqual([`cluster state: no answer within ${checkDeadlineMs} ms`]);
    redis.resume();
  });

  test('a cluster state that was never seen: health 503, deepcheck 500, healthcheck and liveness 200', async () => {
    await startAnew('redis://127.0.0.1:1');
    expect(await healthOf()).toEqual([503, { ok: false }]);
    expect((await deepcheck()).status).toBe(500);
    expect((await get('/healthcheck')).status).toBe(200);
    expect((await get('/livez')).status).toBe(200);
  });
});
