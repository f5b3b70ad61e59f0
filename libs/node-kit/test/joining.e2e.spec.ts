import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Injectable, Module } from '@nestjs/common';
import { Candidacy } from '@binnacle/cluster-state/candidacy';
import { systemClock } from '@binnacle/cluster-state/clock';
import type { ClusterState } from '@binnacle/cluster-state/cluster-state';
import { openClusterState } from '@binnacle/cluster-state/open-cluster-state';
import { startRedis, type RedisServer } from '@binnacle/testing/redis-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import fastify from 'fastify';
import { ConfigError } from '../src/config-error.js';
import type { NodeConfig } from '../src/config.js';
import { mountNodeKit } from '../src/mount.js';
import { NodeContext } from '../src/node-context.js';
import { startNode, type RunningNode } from '../src/run-node.js';
import { ask, testConfig } from './testable-node.js';

/* Who may join a cluster, seen from a real Redis. */

const startedIds: string[] = [];

@Injectable()
class Leader {
  constructor(node: NodeContext) {
    node.addPart({
      name: 'leader',
      // Comes after the registration.
      start: async () => void startedIds.push(node.id),
      join: async () => {
        const campaign = new Candidacy(node.state, node.clock, { lease: 'leader', candidate: node.candidate(), ttlMs: 1_000 });
        node.candidacies.set('leader', campaign);
        campaign.start();
      },
      stop: async () => node.candidacies.get('leader')?.stop(),
    });
  }
}

@Injectable()
class Refused {
  constructor(node: NodeContext) {
    node.addPart({ name: 'refused', check: () => Promise.reject(new ConfigError(['set this, not that'])), start: () => Promise.reject(new Error('started')) });
  }
}

@Module({ providers: [Leader] })
class LeaderModule {}

@Module({ providers: [Leader, Refused] })
class RefusedModule {}

@Module({})
class NothingModule {}

let redis: RedisServer;
beforeAll(async () => (redis = await startRedis()));
afterAll(async () => redis.stop());

function config(prefix: string, change: (config: NodeConfig) => void = () => {}): NodeConfig {
  return testConfig((made) => {
    made.redis.url = redis.url;
    made.redis.prefix = prefix;
    made.redis.timeoutMs = 2_000;
    // More than a start may keep this process, in which all nodes of a test are, from sending heartbeats.
    made.node.heartbeatTtlMs = 2_000;
    made.log.level = 'info';
    made.log.format = 'json';
    change(made);
  });
}

function start(made: NodeConfig, lines: string[] = [], module = LeaderModule): Promise<RunningNode> {
  const logDestination = { write: (line: string) => void lines.push(line) };
  return startNode({ roles: ['storage'], modules: [module], defaultPort: 0 }, made, { logDestination });
}

function beAnother(made: NodeConfig): void {
  made.node.clusterSecret = 'another-secret-altogether';
  made.log.level = 'silent';
}

function observer(prefix: string): Promise<ClusterState> {
  const { redis: settings, dataDir } = config(prefix);
  return openClusterState({ redis: settings, dataDir, clock: systemClock });
}

test('a node with another cluster secret does not start, and has neither registered nor stood for a lease', async () => {
  const first = await start(config('refused'));
  const state = await observer('refused');
  startedIds.length = 0;
  const wrong = start(config('refused', beAnother));
  await expect(wrong).rejects.toThrow(ConfigError);
  await expect(wrong).rejects.toThrow(/set node\.cluster-secret \(BINNACLE_NODE_CLUSTER_SECRET/);
  expect((await state.nodes()).map(({ id }) => id)).toEqual([first.context.id]);
  expect(startedIds).toEqual([]);
  expect((await state.lease('leader'))?.waiting).toEqual([]);
  await Promise.all([first.stop(), state.close()]);
});

test('a service with another cluster secret is not mounted', async () => {
  const first = await start(config('mounted'));
  const service = fastify();
  const mounted = mountNodeKit(service, { role: 'orders', config: config('mounted', beAnother) });
  await expect(mounted).rejects.toThrow(/set node\.cluster-secret/);
  await Promise.all([first.stop(), service.close()]);
});

test('after every node has stopped the cluster takes a new secret', async () => {
  await (await start(config('rotated'))).stop();
  const node = await start(config('rotated', beAnother));
  await waitUntil(() => node.context.candidacies.get('leader')?.isOwner());
  await expect(start(config('rotated'))).rejects.toThrow(/set node\.cluster-secret/);
  await node.stop();
});

test('nodes that start without Redis compare before they join: one with another secret stays out, unready, and says so', async () => {
  const own = await startRedis({ appendOnly: true });
  const made = (clusterSecret: string): NodeConfig =>
    config('late', (change) => {
      change.redis.url = own.url;
      change.node.clusterSecret = clusterSecret;
    });
  await (await start(made('secret-of-the-cluster'))).stop();
  await own.kill9();
  const lines: string[] = [];
  const right = await start(made('secret-of-the-cluster'));
  const wrong = await start(made('another-secret-altogether'), lines);
  await own.restart();
  await waitUntil(() => right.context.candidacies.get('leader')?.isOwner(), { what: 'the right one joins by itself' });
  await waitUntil(() => lines.some((line) => line.includes('set node.cluster-secret')), { what: 'the wrong one says what to set' });
  expect(wrong.context.directory.all().map(({ id }) => id)).toEqual([right.context.id]);
  expect(wrong.context.candidacies.size).toBe(0);
  const readiness = await ask(wrong.address, '/readyz?verbose');
  expect([readiness.status, readiness.text]).toEqual([503, expect.stringContaining('[-]cluster_state fail: the cluster secret of this node is not')]);
  expect((await ask(right.address, '/readyz')).status).toBe(200);
  await Promise.all([right.stop(), wrong.stop()]);
  await own.stop();
});

test('what a part checks keeps the node from registering, and its start does not run', async () => {
  const lines: string[] = [];
  await expect(start(config('checked'), lines, RefusedModule)).rejects.toThrow(new ConfigError(['set this, not that']));
  const state = await observer('checked');
  expect(await state.nodes()).toEqual([]);
  expect(await state.leases()).toEqual([]);
  // Nothing of it is the cluster's secret either.
  expect((await state.readDocument('cluster-secret-check')).document).toBeUndefined();
  await state.close();
});

test('a line about another node names that one; its own id has a name of its own', async () => {
  const lines: string[] = [];
  const node = await start(config('lines'), lines, NothingModule);
  node.context.log.warn({ node: 'the-other' }, 'did not answer');
  const line = lines.find((each) => each.includes('did not answer')) ?? '';
  expect(JSON.parse(line)).toMatchObject({ nodeId: node.context.id, node: 'the-other' });
  expect(line.match(/"node":/g)).toHaveLength(1);
  await node.stop();
});

test('two processes with one id are told of each other and of the key', async () => {
  const [lines, otherLines] = [[], []] as [string[], string[]];
  const beOne = (made: NodeConfig): void => void (made.node.id = 'one-and-the-same');
  const [node, other] = [await start(config('twice', beOne), lines, NothingModule), await start(config('twice', beOne), otherLines, NothingModule)];
  const warning = (address: string): RegExp => new RegExp(`another process, at ${address}, has the id .*node\\.id \\(BINNACLE_NODE_ID\\)`);
  await waitUntil(() => lines.some((line) => warning(other.address).test(line)) && otherLines.some((line) => warning(node.address).test(line)), {
    what: 'both say so',
  });
  await Promise.all([node.stop(), other.stop()]);
});
