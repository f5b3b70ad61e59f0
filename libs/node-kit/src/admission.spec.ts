import { expect, test } from '@jest/globals';
import { ClusterStateUnavailable, type Availability, type ClusterState, type NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { openClusterState } from '@binnacle/cluster-state/open-cluster-state';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Admission } from './admission.js';
import { NodeConfig } from './config.js';

const quietMs = 5_000;

/** A real state that several nodes share, and that the test can take away or make forget. */
async function shared() {
  const clock = new FakeClock();
  const open = (): Promise<ClusterState> =>
    openClusterState({ redis: new NodeConfig().redis, dataDir: mkdtempSync(join(tmpdir(), 'binnacle-admission-')), clock });
  let store = await open();
  let away = false;
  const listeners = new Set<(availability: Availability) => void>();
  const lines: string[] = [];
  const state = new Proxy({} as ClusterState, {
    get: (_target, name) => {
      if (name === 'kind') return 'redis';
      if (name === 'onAvailabilityChange') return (listener: () => void) => (listeners.add(listener), () => listeners.delete(listener));
      if (away) return () => Promise.reject(new ClusterStateUnavailable('away'));
      return (store[name as keyof ClusterState] as () => unknown).bind(store);
    },
  });
  const write = (line: string): void => void lines.push(line);
  return {
    clock,
    lines,
    node: (clusterSecret: string) => new Admission({ state, clock, log: { warn: write, error: write } as never, clusterSecret, quietMs }),
    register: (id: string) => store.heartbeat({ ...record, id }, 60_000),
    leave: (id: string) => store.deregister(id, record.incarnation),
    forget: async () => (store = await open()),
    goAway: () => (away = true),
    comeBack: () => {
      away = false;
      for (const listener of listeners) listener({ available: true, sinceMs: 0, reason: '' });
    },
    stored: async () => (await store.readDocument('cluster-secret-check')).document?.value,
  };
}

const record: NodeRecord = {
  id: '',
  incarnation: 'one',
  roles: ['storage'],
  host: '127.0.0.1',
  port: 1,
  state: 'running',
  version: '0.0.0',
  startedAtMs: 0,
  appliedRevision: 0,
  outstandingRequests: 0,
  eventLoopDelayMs: 0,
  labels: {},
};

test('nodes with the secret of the first one are admitted, one with another is not, and is told what to set', async () => {
  const cluster = await shared();
  const [first, second, other] = [cluster.node('secret-of-the-cluster'), cluster.node('secret-of-the-cluster'), cluster.node('another-secret-altogether')];
  await first.ask();
  await cluster.register('first');
  await second.ask();
  expect([first.admitted(), second.admitted()]).toEqual([true, true]);
  await expect(other.ask()).rejects.toThrow(/secret of this node is not the one of the cluster: set node\.cluster-secret \(BINNACLE_NODE_CLUSTER_SECRET/);
  expect([other.admitted(), other.obstacle()]).toEqual([false, expect.stringContaining('BINNACLE_NODE_CLUSTER_SECRET')]);
  expect(await cluster.stored()).toMatch(/^[0-9a-f]{64}$/);
});

test('with no node registered, now and after the wait, a new secret becomes that of the cluster; the old one is refused then', async () => {
  const cluster = await shared();
  await cluster.node('secret-of-the-cluster').ask();
  const rotated = cluster.node('another-secret-altogether');
  const asked = rotated.ask();
  await cluster.clock.advance(quietMs - 1);
  expect(rotated.admitted()).toBe(false);
  await cluster.clock.advance(1);
  await asked;
  expect(rotated.admitted()).toBe(true);
  await cluster.register('rotated');
  await expect(cluster.node('secret-of-the-cluster').ask()).rejects.toThrow('not the one of the cluster');
});

test('a registry that is empty for a moment only, as after Redis was away, gives nobody a new secret', async () => {
  const cluster = await shared();
  await cluster.node('secret-of-the-cluster').ask();
  const asked = expect(cluster.node('another-secret-altogether').ask()).rejects.toThrow('not the one of the cluster');
  await cluster.clock.advance(quietMs / 2);
  await cluster.register('back-again');
  await cluster.clock.advance(quietMs);
  await asked;
});

test('of two nodes that come with different new secrets at once, one is admitted', async () => {
  const cluster = await shared();
  await cluster.node('secret-of-the-cluster').ask();
  const nodes = [cluster.node('the-second-secret-of-it'), cluster.node('the-third-secret-of-it')];
  const asked = nodes.map(async (node, index) => {
    await node.ask();
    await cluster.register(`node-${index}`);
  });
  const results = Promise.allSettled(asked);
  await cluster.clock.advance(quietMs * 4);
  expect((await results).map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
});

test('while cluster state is away nothing is decided; once it is back the node is admitted by itself', async () => {
  const cluster = await shared();
  cluster.goAway();
  const node = cluster.node('secret-of-the-cluster');
  await node.ask();
  const admitted: string[] = [];
  node.follow(() => admitted.push('now'));
  await cluster.clock.advance(10_000);
  expect([node.admitted(), admitted, node.obstacle()]).toEqual([false, [], 'the cluster secret is not compared yet']);
  cluster.comeBack();
  await cluster.clock.advance(0);
  expect([node.admitted(), admitted, node.obstacle()]).toEqual([true, ['now'], '']);
});

test('a node with another secret that started while it was away stays out, and says so once', async () => {
  const cluster = await shared();
  await cluster.node('secret-of-the-cluster').ask();
  await cluster.register('first');
  cluster.goAway();
  const node = cluster.node('another-secret-altogether');
  await node.ask();
  node.follow(() => cluster.lines.push('admitted'));
  for (let round = 0; round < 2; round++) {
    cluster.comeBack();
    await cluster.clock.advance(60_000);
  }
  expect(cluster.lines).toEqual([expect.stringMatching(/not the one of the cluster: set node\.cluster-secret/)]);
  expect(cluster.lines.join('')).not.toContain('altogether');
  expect(cluster.clock.timerCount()).toBe(0);
});

test('a store that lost its memory hears of the secret again from those who run', async () => {
  const cluster = await shared();
  const node = cluster.node('secret-of-the-cluster');
  await node.ask();
  const before = await cluster.stored();
  node.follow(() => cluster.lines.push('admitted again'));
  await cluster.forget();
  cluster.comeBack();
  await cluster.clock.advance(0);
  expect(await cluster.stored()).toBe(before);
  expect(cluster.lines).toEqual([]);
});

test('a node that stops leaves no timer behind', async () => {
  const cluster = await shared();
  cluster.goAway();
  const node = cluster.node('secret-of-the-cluster');
  node.follow(() => undefined);
  await cluster.clock.advance(0);
  expect(cluster.clock.timerCount()).toBe(1);
  node.stop();
  cluster.comeBack();
  await cluster.clock.advance(0);
  expect(cluster.clock.timerCount()).toBe(0);
  expect(node.admitted()).toBe(false);
});
