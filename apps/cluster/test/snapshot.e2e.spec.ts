import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { BinnacleError } from '@binnacle/contracts/errors';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { type RedisServer, startRedis } from '@binnacle/testing/redis-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { Body, Controller, Module, Post } from '@nestjs/common';
import { ClusterModule } from '../src/cluster.module.js';
import { StorageStandIn, TestNode } from './nodes.js';

type Answer = (path: string | undefined) => object | Promise<object>;

/** What each storage node of the test does when it is asked for a snapshot. */
const answers = new Map<string, Answer>();
const asked: string[] = [];

@Controller()
class SnapshotStandIn {
  constructor(private readonly node: NodeContext) {}

  @Post('/agent/v1/snapshot')
  async take(@Body() { path }: { path?: string }): Promise<object> {
    asked.push(`${this.node.id} ${path}`);
    return (answers.get(this.node.id) as Answer)(path);
  }
}

@Module({ imports: [StorageStandIn], controllers: [SnapshotStandIn] })
class SnapshotStorageStandIn {}

const made: Answer = (path) => {
  if (path === undefined) throw new BinnacleError('BAD_REQUEST', 'Parameter `snapshot_path` is required.');
  return { path, version: 7, files: 3, bytes: 100 };
};
const failed: Answer = () => {
  throw new BinnacleError('SNAPSHOT_FAILED', 'Copy failed: ENOSPC, no space left on device.');
};
const typesense = { 'x-binnacle-dialect': 'typesense' };

describe('snapshots by way of two cluster nodes', () => {
  let redis: RedisServer;
  let nodes: TestNode[];
  let c0: TestNode;
  let c1: TestNode;

  beforeAll(async () => {
    redis = await startRedis();
    const start = (id: string, role: 'storage' | 'cluster') =>
      TestNode.start(id, role, role === 'storage' ? SnapshotStorageStandIn : ClusterModule, (config) => (config.redis.url = redis.url));
    nodes = [await start('s0', 'storage'), await start('s1', 'storage'), await start('c0', 'cluster'), await start('c1', 'cluster')];
    [, , c0, c1] = nodes as [TestNode, TestNode, TestNode, TestNode];
    await waitUntil(async () => (await c0.context.state.lease('leader'))?.owner?.nodeId === 's0');
    await waitUntil(() => [c0, c1].every((node) => node.context.directory.byRole('storage').length === 2));
  });

  afterEach(() => {
    asked.splice(0);
    answers.clear();
  });

  afterAll(async () => {
    await Promise.all(nodes.map((node) => node.stop()));
    await redis.stop();
  });

  async function snapshot(cluster: TestNode, query: string): Promise<[number, unknown]> {
    const response = await cluster.fetch(`/operations/snapshot?${query}`, { method: 'POST', headers: typesense });
    return [response.status, JSON.parse(await response.text())];
  }

  test('one is made by the named node, or by the leader, and what it answers is the answer', async () => {
    answers.set('s0', made).set('s1', failed);
    expect(await snapshot(c0, 'snapshot_path=/a/b')).toEqual([201, { success: true }]);
    expect(await snapshot(c0, 'snapshot_path=/a/b&node=s1')).toEqual([500, { error: 'Copy failed.', success: false }]);
    expect(await snapshot(c0, '')).toEqual([400, { message: 'Parameter `snapshot_path` is required.' }]);
    expect(asked).toEqual(['s0 /a/b', 's1 /a/b', 's0 undefined']);
    answers.set('s1', () => {
      throw new BinnacleError('CONFLICT', 'Another snapshot is in progress.');
    });
    expect(await snapshot(c0, 'snapshot_path=/a/b&node=s1')).toEqual([409, { message: 'Another snapshot is in progress.' }]);
    expect((await snapshot(c0, 'snapshot_path=/a/b&node=c1'))[0]).toBe(404);
  });

  test('with node=* every node makes one, in a folder of its name', async () => {
    answers.set('s0', made).set('s1', made);
    const of = (id: string) => ({ success: true, snapshot_path: `/a/b/${id}`, version: 7, bytes: 100 });
    expect(await snapshot(c0, 'snapshot_path=/a/b&node=*')).toEqual([201, { success: true, nodes: { s0: of('s0'), s1: of('s1') } }]);
    expect(await snapshot(c0, 'node=*')).toEqual([400, { message: 'Parameter `snapshot_path` is required.' }]);
  });

  test('a node that fails is told, with the reason, and the others are not held up', async () => {
    answers.set('s0', failed).set('s1', made);
    const [status, body] = await snapshot(c1, 'snapshot_path=/a/b&node=*');
    expect([status, body]).toEqual([
      500,
      { success: false, error: 'Copy failed on s0.', nodes: { s0: { success: false, code: 'SNAPSHOT_FAILED', error: 'Copy failed: ENOSPC, no space left on device.' }, s1: expect.objectContaining({ success: true }) } },
    ]);
  });

  test('a path that every node refuses is the mistake of who asks; one that some take is made there', async () => {
    const refused: Answer = () => {
      throw new BinnacleError('BAD_REQUEST', 'Parameter `snapshot_path` must be absolute.');
    };
    answers.set('s0', refused).set('s1', refused);
    expect(await snapshot(c1, 'snapshot_path=a&node=*')).toEqual([400, { message: 'Parameter `snapshot_path` must be absolute.' }]);
    answers.set('s1', made);
    const [status, body] = await snapshot(c1, 'snapshot_path=/a&node=*');
    expect([status, body]).toMatchObject([500, { nodes: { s0: { code: 'BAD_REQUEST' }, s1: { success: true } } }]);
  });

  test('there is one at a time in the cluster, whoever is asked, and the lease is free afterwards', async () => {
    let release = (): void => {};
    answers.set('s0', made).set('s1', (path) => new Promise((resolve) => (release = () => resolve({ path, version: 1, bytes: 1 }))));
    const first = snapshot(c0, 'snapshot_path=/a&node=*');
    await waitUntil(() => asked.length === 2);
    expect((await c0.context.state.lease('snapshot'))?.owner?.nodeId).toBe('c0');
    for (const cluster of [c0, c1]) expect(await snapshot(cluster, 'snapshot_path=/b&node=*')).toEqual([409, { message: 'Another snapshot is in progress.' }]);
    release();
    expect((await first)[0]).toBe(201);
    expect((await c0.context.state.lease('snapshot'))?.owner).toBeUndefined();
    answers.set('s1', made);
    expect((await snapshot(c1, 'snapshot_path=/b&node=*'))[0]).toBe(201);
    expect((await c0.context.state.lease('snapshot'))?.waiting).toEqual([]);
  });
});
