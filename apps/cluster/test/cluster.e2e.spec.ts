import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Candidacy } from '@binnacle/cluster-state/candidacy';
import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { type RedisServer, startRedis } from '@binnacle/testing/redis-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { ClusterModule } from '../src/cluster.module.js';
import { StorageStandIn, TestNode } from './nodes.js';

interface View {
  clusterState: { kind: string; available: boolean; reason: string };
  committedRevision: number;
  nodes: { id: string; roles: string[]; state: string; address: string; lag: number; startedAt: string }[];
  leases: { name: string; term: number; owner: { nodeId: string; address: string } | null; remainingMs: number }[];
}

describe.each(['redis', 'embedded'] as const)('a cluster node alone on %s state', (kind) => {
  let redis: RedisServer | undefined;
  let cluster: TestNode;

  beforeAll(async () => {
    redis = kind === 'redis' ? await startRedis() : undefined;
    cluster = await TestNode.start('c0', 'cluster', ClusterModule, (config) => (config.redis.url = redis?.url ?? ''));
  });

  afterAll(async () => {
    await cluster.stop();
    await redis?.stop();
  });

  test('shows itself and the kind of its cluster state', async () => {
    // Its own entry reaches it by the registry, like everybody else's.
    const view = await waitUntil(async () => {
      const shown = await cluster.json<View>('/api/v1/cluster');
      return shown.nodes[0]?.state === 'running' ? shown : undefined;
    });
    expect(view.clusterState).toMatchObject({ kind, available: true, reason: '' });
    expect(view.nodes).toMatchObject([{ id: 'c0', roles: ['cluster'], state: 'running', address: cluster.running.address, lag: 0 }]);
    expect(Date.parse(view.nodes[0]?.startedAt ?? '')).toBeLessThanOrEqual(Date.now());
    expect(view.leases).toEqual([]);
  });

  test('a lease that nobody ever held is unknown, whatever it is called', async () => {
    for (const name of ['leader', 'leader:history', '..', '%00', 'x'.repeat(200)]) {
      const response = await cluster.fetch(`/api/v1/leases/${encodeURIComponent(name)}/history`);
      expect(response.status).toBe(404);
      expect(response.headers.get('content-type')).toContain('application/json');
    }
    expect((await cluster.fetch('/api/v1/leases/leader/history?limit=0')).status).toBe(400);
  });

  test('without a storage node there is no owner, and nobody to vote for', async () => {
    expect(await cluster.json('/tiflash/remote/owner/info')).toEqual({ status: 'NoLeader', owner_id: '' });
    expect(await cluster.json('/tiflash/remote/owner/resign')).toEqual({ message: "This node is not the remote gc owner, can't be resigned." });
    expect(await cluster.json('/operations/vote', { method: 'POST' })).toEqual({ success: false, error: 'there is no storage node' });
  });
});

const leaseMs = 2_000;
/** For a busy machine. */
const slackMs = 5_000;

describe('two storage nodes and two cluster nodes on Redis', () => {
  let redis: RedisServer;
  let nodes: TestNode[];
  let s0: TestNode;
  let s1: TestNode;
  let c0: TestNode;
  let c1: TestNode;

  const start = (id: string, role: 'storage' | 'cluster') =>
    TestNode.start(id, role, role === 'storage' ? StorageStandIn : ClusterModule, (config) => {
      config.redis.url = redis.url;
      if (role === 'storage') config.storage.modes = ['write'];
    });
  const lease = async (name: string) => (await c0.context.state.lease(name)) ?? { owner: undefined, term: 0 };
  const leader = async () => (await lease('leader')).owner?.nodeId;
  const vote = (from: TestNode, query = '') => from.json<{ success: boolean; error?: string }>(`/operations/vote${query}`, { method: 'POST' });
  const other = (id: string | undefined) => (id === 's0' ? 's1' : 's0');

  beforeAll(async () => {
    redis = await startRedis();
    s0 = await start('s0', 'storage');
    s1 = await start('s1', 'storage');
    c0 = await start('c0', 'cluster');
    c1 = await start('c1', 'cluster');
    nodes = [s0, s1, c0, c1];
    await waitUntil(async () => (await leader()) !== undefined && (await lease('remote-gc')).owner !== undefined);
    for (const each of [c0, c1]) {
      await waitUntil(() => each.context.directory.all().filter((node) => node.state === 'running').length === 4, { what: 'four running nodes' });
    }
  });

  afterAll(async () => {
    await Promise.all(nodes.map((node) => node.stop()));
    await redis.stop();
  });

  describe('a vote', () => {
    test('makes the named node the leader, in the next term, and answers once the store says so', async () => {
      const before = await lease('leader');
      const target = other(before.owner?.nodeId);
      expect(await vote(c0, `?node=${target}`)).toEqual({ success: true });
      const after = await lease('leader');
      expect(after.owner?.nodeId).toBe(target);
      expect(after.term).toBe(before.term + 1);
      await waitUntil(async () => (await (target === 's0' ? s0 : s1).json('/debug')).state === 1);
      expect(await (target === 's0' ? s1 : s0).json('/debug')).toMatchObject({ state: 4 });
    });

    test('without a name takes the other one', async () => {
      const before = await leader();
      expect(await vote(c1)).toEqual({ success: true });
      expect(await leader()).toBe(other(before));
    });

    test('for the leader, a node of another role or an unknown one is false, and says why', async () => {
      const current = await leader();
      expect(await vote(c0, `?node=${current}`)).toEqual({ success: false, error: `node ${current} is the leader already` });
      expect((await vote(c0, '?node=c1')).error).toContain('no storage node');
      expect((await vote(c0, '?node=nobody')).error).toContain('storage nodes: s0, s1');
      expect((await c0.fetch('/operations/vote?node=a%20b', { method: 'POST' })).status).toBe(400);
      expect(await leader()).toBe(current);
    });

    test('for a node that is not caught up is false; once the allowed lag is wider it is not', async () => {
      const laggard: NodeRecord = { ...s0.context.directory.byId('s0')!, id: 's9', incarnation: 'x', appliedRevision: 0 };
      await c0.context.settings.update((settings) => ({ ...settings, healthyWriteLag: 0 }));
      await c0.context.state.heartbeat(laggard, 60_000);
      await waitUntil(() => c0.context.directory.byId('s9') !== undefined);
      expect((await vote(c0, '?node=s9')).error).toMatch(/^node s9 is not caught up: [1-9]\d* revisions behind, at most 0 allowed$/);
      await c0.context.state.deregister('s9', 'x');
      await c0.context.settings.update((settings) => ({ ...settings, healthyWriteLag: 500 }));
      await waitUntil(() => c0.context.directory.byId('s9') === undefined);
    });

    test('a POST as SDKs send it, with a JSON body or an empty one, is a vote', async () => {
      const init = { method: 'POST', headers: { 'content-type': 'application/json' } };
      expect(await c0.json('/operations/vote?node=nobody', { ...init, body: '{}' })).toMatchObject({ success: false });
      expect(await c0.json('/operations/vote?node=nobody', init)).toMatchObject({ success: false });
    });

    test('votes at once, on two nodes and for two targets: who is told true did become the leader, and terms go up by one', async () => {
      const termBefore = (await lease('leader')).term;
      const targets = ['s0', 's1', 's0', 's1', 's0', 's1'];
      const answers = await Promise.all(targets.map((target, index) => vote(index % 3 === 0 ? c0 : c1, `?node=${target}`)));
      const tenures = (await c0.context.state.leaseHistory('leader', 100)).filter(({ term }) => term > termBefore);
      expect(answers.some(({ success }) => success)).toBe(true);
      for (const [index, { success, error }] of answers.entries()) {
        if (success) expect(tenures.map(({ owner }) => owner.nodeId)).toContain(targets[index]);
        else expect(error).toMatch(/./);
      }
      expect(tenures.map(({ term }) => term)).toEqual(tenures.map((_, index) => termBefore + tenures.length - index));
      await waitUntil(async () => (await leader()) !== undefined);
    });

    test('a second vote on the same node while one is running is told so', async () => {
      const both = await Promise.all([vote(c0), vote(c0)]);
      expect(both).toContainEqual({ success: false, error: 'another vote is under way' });
    });
  });

  describe('the remote gc owner', () => {
    const info = (query = '') => c0.json<{ status: string; owner_id: string }>(`/tiflash/remote/owner/info${query}`);

    test('is told with its address, and each node says for itself whether it is the owner', async () => {
      const { owner } = await lease('remote-gc');
      const address = (owner?.nodeId === 's0' ? s0 : s1).running.address;
      expect(await info()).toEqual({ status: 'IsOwner', owner_id: address });
      expect(await info(`?node=${owner?.nodeId}`)).toEqual({ status: 'IsOwner', owner_id: address });
      expect(await info(`?node=${other(owner?.nodeId)}`)).toEqual({ status: 'NotOwner', owner_id: address });
    });

    test('a node that is not the owner cannot be resigned; the owner can, and the other one takes over at once', async () => {
      const before = await lease('remote-gc');
      const resign = (query = '') => c0.json(`/tiflash/remote/owner/resign${query}`);
      expect(await resign(`?node=${other(before.owner?.nodeId)}`)).toEqual({ message: "This node is not the remote gc owner, can't be resigned." });
      expect((await lease('remote-gc')).term).toBe(before.term);

      expect(await resign()).toEqual({ message: 'Done' });
      await waitUntil(async () => (await lease('remote-gc')).owner?.nodeId === other(before.owner?.nodeId), { timeoutMs: 5_000 });
      const { tenures } = await c0.json<{ tenures: { term: number; endReason?: string; endedAt?: string }[] }>('/api/v1/leases/remote-gc/history');
      expect(tenures[0]).not.toHaveProperty('endedAt');
      expect(tenures[1]).toMatchObject({ term: before.term, endReason: 'resigned', owner: { nodeId: before.owner?.nodeId } });
    });

    test('a node in the wrong role answers 200 with its mode, and says so in a header', async () => {
      const compute = await TestNode.start('compute', 'storage', StorageStandIn, (config) => {
        config.redis.url = redis.url;
        config.storage.modes = ['compute'];
      });
      await waitUntil(() => c0.context.directory.byId('compute') !== undefined);
      const ofCompute = await c0.fetch('/tiflash/remote/owner/info?node=compute');
      expect([ofCompute.status, ofCompute.headers.get('x-binnacle-role')]).toEqual([200, 'Compute']);
      expect(await ofCompute.json()).toEqual({ message: 'can not get gc owner, disagg_mode=Compute' });
      expect(await c0.json('/tiflash/remote/owner/resign?node=compute')).toEqual({ message: 'can not resign gc owner, disagg_mode=Compute' });
      const ofCluster = await c0.fetch('/tiflash/remote/owner/info?node=c1');
      expect([await ofCluster.json(), ofCluster.headers.get('x-binnacle-role')]).toEqual([{ message: 'can not get gc owner, disagg_mode=None' }, 'None']);
      expect((await c0.fetch('/tiflash/remote/owner/info')).headers.has('x-binnacle-role')).toBe(false);
      expect((await c0.fetch('/tiflash/remote/owner/info?node=nobody')).status).toBe(404);
      await compute.stop();
    });
  });

  test('history has every tenure newest first, terms one apart, as many as asked for', async () => {
    const { name, tenures } = await c0.json<{ name: string; tenures: { term: number; acquiredAt: string; endedAt?: string; endReason?: string }[] }>(
      '/api/v1/leases/leader/history',
    );
    expect(name).toBe('leader');
    expect(tenures.map(({ term }) => term)).toEqual(tenures.map((_, index) => (tenures[0]?.term ?? 0) - index));
    expect(tenures.slice(1).every(({ endReason }) => endReason === 'handed over')).toBe(true);
    for (const [index, { acquiredAt }] of tenures.slice(0, -1).entries()) {
      expect(Date.parse(acquiredAt)).toBeGreaterThanOrEqual(Date.parse(tenures[index + 1]?.endedAt ?? ''));
    }
    expect((await c0.json<{ tenures: unknown[] }>('/api/v1/leases/leader/history?limit=2')).tenures).toHaveLength(2);
  });

  test('every answer but probes and metrics needs the cluster secret', async () => {
    for (const path of ['/api/v1/cluster', '/api/v1/leases', '/api/v1/cluster/events', '/tiflash/remote/owner/info']) {
      expect((await fetch(`http://${c0.running.address}${path}`)).status).toBe(401);
    }
  });

  test('a leader that is gone and cannot be asked: the vote waits for the end of its lease, and true is the truth', async () => {
    // A node that crashed: its record and its lease are there, its port is closed.
    await vote(c0, `?node=s1`);
    await Promise.all([s0, s1].map((node) => node.context.candidacies.get('leader')?.stop()));
    const dead = { nodeId: 's8', incarnation: 'dead', address: '127.0.0.1:1' };
    expect(await c0.context.state.campaign({ lease: 'leader', candidate: dead, ttlMs: 60_000, termFloor: 0 })).toMatchObject({ held: true });
    await c0.context.state.heartbeat({ ...s0.context.directory.byId('s0')!, id: 's8', incarnation: 'dead', port: 1 }, 60_000);
    await waitUntil(() => c0.context.directory.byId('s8') !== undefined);
    const successor = await start('s2', 'storage');
    nodes.push(successor);
    await waitUntil(() => c0.context.directory.byId('s2')?.state === 'running');
    const termBefore = (await lease('leader')).term;
    // Its last sign of life.
    expect(await c0.context.state.campaign({ lease: 'leader', candidate: dead, ttlMs: leaseMs, termFloor: 0 })).toEqual({ held: true, term: termBefore });

    const startedAt = performance.now();
    expect(await vote(c0, '?node=s2')).toEqual({ success: true });

    expect(performance.now() - startedAt).toBeLessThan(leaseMs + slackMs);
    expect(await lease('leader')).toMatchObject({ owner: { nodeId: 's2' }, term: termBefore + 1 });
    const { tenures } = await c0.json<{ tenures: { endReason?: string }[] }>('/api/v1/leases/leader/history?limit=2');
    expect(tenures[1]?.endReason).toBe('expired');
    await c0.context.state.deregister('s8', 'dead');
  });

  test('a leader that is out of reach and still renews keeps the lease; the vote gives up within the lease and a bit', async () => {
    const { state, clock } = c0.context;
    await vote(c0, '?node=s2');
    const record = { ...s0.context.directory.byId('s0')!, id: 's6', incarnation: 'deaf', port: 1 };
    await state.heartbeat(record, 60_000);
    await waitUntil(() => c0.context.directory.byId('s6') !== undefined);
    const deaf = new Candidacy(state, clock, { lease: 'leader', candidate: { nodeId: 's6', incarnation: 'deaf', address: '127.0.0.1:1' }, ttlMs: leaseMs });
    deaf.start();
    await nodes.at(-1)?.context.candidacies.get('leader')?.resign({ successor: 's6', reservedMs: 5_000 });
    await waitUntil(async () => (await leader()) === 's6');

    const startedAt = performance.now();
    const answer = await vote(c0, '?node=s2');

    expect(answer).toEqual({ success: false, error: expect.stringMatching(/^s6 does not answer and still renews its lease after \d+ ms$/) });
    expect(performance.now() - startedAt).toBeLessThan(2 * leaseMs + slackMs);
    await deaf.stop();
    await state.deregister('s6', 'deaf');
    await waitUntil(async () => (await leader()) === 's2' && c0.context.directory.byId('s6') === undefined);
  });

  test('a target that never takes the lease: false within the lease and a bit, and another node leads', async () => {
    await c0.context.state.heartbeat({ ...s0.context.directory.byId('s0')!, id: 's7', incarnation: 'mute', port: 1, appliedRevision: 1_000_000 }, 60_000);
    await waitUntil(() => c0.context.directory.byId('s7') !== undefined);
    const answer = await vote(c0, '?node=s7');
    expect(answer.success).toBe(false);
    expect(answer.error).toMatch(/^s2 became the leader instead, in term \d+$|^s7 has not taken the lease after \d+ ms$/);
    await waitUntil(async () => (await leader()) === 's2');
    await c0.context.state.deregister('s7', 'mute');
  });

  test('Redis gone: the view shows what is known, owner info is GrpcError, votes are false, resign is 503; it heals', async () => {
    await redis.kill9();
    await waitUntil(() => !c0.context.state.availability().available);
    const view = await c0.json<View>('/api/v1/cluster');
    expect(view.clusterState).toMatchObject({ kind: 'redis', available: false, reason: expect.stringMatching(/./) });
    expect(view.nodes.map(({ id }) => id)).toEqual(expect.arrayContaining(['c0', 'c1', 's0', 's1', 's2']));
    expect(view.leases).toEqual([]);
    expect(await c0.json('/tiflash/remote/owner/info')).toEqual({ status: 'GrpcError', owner_id: '' });
    expect(await vote(c0)).toMatchObject({ success: false, error: expect.stringContaining('not known') });
    expect((await c0.fetch('/tiflash/remote/owner/resign')).status).toBe(503);
    expect((await c0.fetch('/api/v1/leases')).status).toBe(503);
    await redis.restart();
    await waitUntil(async () => (await c0.json<View>('/api/v1/cluster')).leases.some(({ owner }) => owner?.nodeId === 's2'));
  });
});
