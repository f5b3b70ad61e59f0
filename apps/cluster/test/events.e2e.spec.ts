import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { clusterSecretHeader } from '@binnacle/contracts/internal-headers';
import { type RedisServer, startRedis } from '@binnacle/testing/redis-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { ClusterModule } from '../src/cluster.module.js';
import { clusterSecret, StorageStandIn, TestNode } from './nodes.js';

/** Reads a stream of server-sent events, on a connection of its own that ends with it. */
class Subscriber {
  text = '';
  ended = false;

  private constructor(readonly response: IncomingMessage) {
    response.setEncoding('utf8').on('data', (chunk: string) => (this.text += chunk));
    response.on('error', () => undefined);
    response.once('close', () => (this.ended = true));
  }

  static async open(node: TestNode, lastEventId?: string): Promise<Subscriber> {
    const headers = { [clusterSecretHeader]: clusterSecret, ...(lastEventId !== undefined && { 'last-event-id': lastEventId }) };
    const outgoing = request(`http://${node.running.address}/api/v1/cluster/events`, { headers, agent: false }).end();
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
    expect(response.statusCode).toBe(200);
    expect(response.headers['content-type']).toBe('text/event-stream; charset=utf-8');
    const subscriber = new Subscriber(response);
    await subscriber.until(/^retry: /m);
    return subscriber;
  }

  until(pattern: RegExp, timeoutMs = 30_000): Promise<unknown> {
    return waitUntil(() => pattern.test(this.text), { what: `${pattern} in ${this.text}`, timeoutMs });
  }

  ids(): string[] {
    return [...this.text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => id ?? '');
  }

  close(): void {
    this.response.destroy();
  }
}

describe('events of a cluster on Redis', () => {
  let redis: RedisServer;
  let c0: TestNode;
  let c1: TestNode;

  const onRedis = (config: { redis: { url: string } }) => void (config.redis.url = redis.url);

  beforeAll(async () => {
    redis = await startRedis({ appendOnly: true });
    c0 = await TestNode.start('c0', 'cluster', ClusterModule, onRedis);
    c1 = await TestNode.start('c1', 'cluster', ClusterModule, onRedis);
    await waitUntil(() => c0.context.directory.byId('c1')?.state === 'running');
  });

  afterAll(async () => {
    await Promise.all([c0.stop(), c1.stop()]);
    await redis.stop();
  });

  test('a node joins, takes its leases, stops and leaves; the settings change: each is told, with growing ids', async () => {
    const subscriber = await Subscriber.open(c0);
    const storage = await TestNode.start('s0', 'storage', StorageStandIn, onRedis);
    await subscriber.until(/event: node-joined\ndata: .*"node":"s0","roles":\["storage"\]/);
    await subscriber.until(/event: lease-changed\ndata: .*"lease":"leader","term":1,"owner":"s0","before":null/);
    await c1.context.settings.update((settings) => ({ ...settings, healthyReadLag: 77 }));
    await subscriber.until(/event: settings-changed\ndata: .*"changed":{"healthy-read-lag":77}/);
    await storage.stop();
    await subscriber.until(/event: lease-changed\ndata: .*"lease":"leader","term":1,"owner":null,"before":"s0"/);
    await subscriber.until(/event: node-left\ndata: .*"node":"s0"/);
    const ids = subscriber.ids().map(Number);
    expect(ids).toEqual(ids.toSorted((a, b) => a - b));
    expect(new Set(ids).size).toBe(ids.length);
    subscriber.close();
  });

  test('who comes back with the last id it saw misses nothing, on another node as well', async () => {
    const first = await Subscriber.open(c0);
    await c0.context.settings.update((settings) => ({ ...settings, cacheNumEntries: 1 }));
    await first.until(/"cache-num-entries":1}/);
    first.close();
    const lastSeen = first.ids().at(-1);
    await c0.context.settings.update((settings) => ({ ...settings, cacheNumEntries: 2 }));
    for (const node of [c0, c1]) {
      const again = await Subscriber.open(node, lastSeen);
      await again.until(/"cache-num-entries":2}/);
      if (node === c0) expect(again.text).not.toContain('"cache-num-entries":1}');
      expect(again.text).not.toContain('event: gap');
      again.close();
    }
  });

  test('an id from long ago is answered with the gap first', async () => {
    const live = await Subscriber.open(c0);
    await c0.context.settings.update((settings) => ({ ...settings, cacheNumEntries: 3 }));
    await live.until(/"cache-num-entries":3}/);
    live.close();
    const late = await Subscriber.open(c0, '1');
    await late.until(/"cache-num-entries":3}/);
    expect(late.text).toMatch(/event: gap\ndata: .*\/api\/v1\/cluster/);
    expect(late.text.indexOf('event: gap')).toBeLessThan(late.text.indexOf('event: settings-changed'));
    late.close();
  });

  test('the cluster state goes away and comes back: told, and no node is said to have left meanwhile', async () => {
    const subscriber = await Subscriber.open(c0);
    await redis.kill9();
    await subscriber.until(/event: cluster-state-lost\ndata: .*"reason":"/);
    await redis.restart();
    await subscriber.until(/event: cluster-state-back/);
    expect(subscriber.text.slice(0, subscriber.text.indexOf('cluster-state-back'))).not.toContain('node-left');
    subscriber.close();
  });

  test('a node that stops ends its streams at once', async () => {
    const node = await TestNode.start('c2', 'cluster', ClusterModule, onRedis);
    const subscriber = await Subscriber.open(node);
    const startedAt = performance.now();
    await node.stop();
    await waitUntil(() => subscriber.ended);
    expect(performance.now() - startedAt).toBeLessThan(10_000);
  });
});
