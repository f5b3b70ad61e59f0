import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NodeConfig } from '@binnacle/node-kit/config';
import { type RunningNode, startNode } from '@binnacle/node-kit/run-node';
import { type RedisServer, startRedis } from '@binnacle/testing/redis-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { StorageModule } from '../src/storage.module.js';

describe('storage nodes', () => {
  const folders: string[] = [];
  const running: RunningNode[] = [];
  let redis: RedisServer;

  async function start(id: string, modes: string[], redisUrl = redis.url): Promise<RunningNode> {
    const config = new NodeConfig();
    config.dataDir = mkdtempSync(join(tmpdir(), 'binnacle-storage-'));
    folders.push(config.dataDir);
    Object.assign(config.node, { id, port: 0, clusterSecret: 'the-secret-of-these-tests', drainDelayMs: 0 });
    Object.assign(config.storage, { modes, leaderLeaseTtlMs: 60_000, gcLeaseTtlMs: 60_000 });
    config.redis.url = redisUrl;
    config.log.level = 'silent';
    const node = await startNode({ roles: ['storage'], modules: [StorageModule], defaultPort: 0 }, config);
    running.push(node);
    return node;
  }

  const owner = async (node: RunningNode, lease: string) => (await node.context.state.lease(lease))?.owner?.nodeId;

  beforeEach(async () => {
    redis = await startRedis();
  });

  afterEach(async () => {
    await Promise.all(running.splice(0).map((node) => node.stop()));
    await redis.stop();
    for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
  });

  test.each([
    [['write', 'compute'], 'Both', ['leader', 'remote-gc']],
    [['write'], 'Storage', ['leader', 'remote-gc']],
    [['compute'], 'Compute', ['leader']],
  ])('with modes %j it shows mode %s and owns %j', async (modes, label, leases) => {
    const node = await start('s0', modes);
    await waitUntil(async () => (await owner(node, 'leader')) === 's0' && (leases.length === 1 || (await owner(node, 'remote-gc')) === 's0'));
    expect([...node.context.candidacies.keys()]).toEqual(leases);
    expect((await node.context.state.nodes())[0]).toMatchObject({ roles: ['storage'], labels: { 'disagg-mode': label } });
    expect((await node.context.state.leases()).map(({ name }) => name).toSorted()).toEqual(leases);
  });

  test('a node that stops hands its leases over long before they would expire; a compute node gets only one of them', async () => {
    const writer = await start('w', ['write']);
    await waitUntil(async () => (await owner(writer, 'leader')) === 'w');
    const compute = await start('c', ['compute']);
    await waitUntil(async () => (await compute.context.state.lease('leader'))?.waiting.includes('c'));

    await writer.stop();

    await waitUntil(() => compute.context.candidacies.get('leader')?.isOwner());
    expect(await owner(compute, 'remote-gc')).toBeUndefined();
    const [, before] = await compute.context.state.leaseHistory('leader', 2);
    expect(before).toMatchObject({ owner: { nodeId: 'w' }, endReason: 'resigned' });
  });

  test('a node that starts without Redis stands for no lease before it may join, and for both once Redis is there', async () => {
    await redis.kill9();
    const node = await start('s0', ['write']);
    expect([...node.context.candidacies.keys()]).toEqual([]);
    await redis.restart();
    await waitUntil(() => ['leader', 'remote-gc'].every((lease) => node.context.candidacies.get(lease)?.isOwner()));
  });

  test('a node alone on embedded state leads, and in a later term after its restart', async () => {
    const first = await start('s0', ['write'], '');
    await waitUntil(() => first.context.candidacies.get('leader')?.isOwner());
    const term = first.context.candidacies.get('leader')?.term() ?? 0;
    const { dataDir } = first.context.config;
    await first.stop();

    const config = first.context.config;
    config.dataDir = dataDir;
    const second = await startNode({ roles: ['storage'], modules: [StorageModule], defaultPort: 0 }, config);
    running.push(second);
    await waitUntil(() => second.context.candidacies.get('leader')?.isOwner());
    expect(second.context.candidacies.get('leader')?.term()).toBe(term + 1);
  });
});
