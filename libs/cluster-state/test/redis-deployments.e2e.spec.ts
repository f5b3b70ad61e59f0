import { afterEach, describe, expect, test } from '@jest/globals';
import { freePort } from '@binnacle/testing/free-port';
import { startRedis, type RedisServer, type RedisServerOptions } from '@binnacle/testing/redis-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { Redis } from 'ioredis';
import { writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ClusterStateUnusable, type ClusterState } from '../src/cluster-state.js';
import type { RedisSettings } from '../src/redis-connection.js';
import { candidate, node } from './cluster-state.contract.js';
import { openRedis } from './open-redis.js';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function redis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const server = await startRedis(options);
  cleanups.push(() => server.stop());
  return server;
}

async function client(server: { url: string; caFile?: string | undefined }, changes: Partial<RedisSettings> = {}): Promise<ClusterState> {
  const state = await openRedis(server, changes);
  cleanups.push(() => state.close());
  return state;
}

async function command(port: number, ...words: [string, ...string[]]): Promise<unknown> {
  const connection = new Redis({ port, host: '127.0.0.1', retryStrategy: null });
  try {
    return await connection.call(...words);
  } finally {
    connection.disconnect();
  }
}

/** Each kind of operation once, messages included. */
async function useEverything(state: ClusterState, other: ClusterState): Promise<void> {
  let told = 0;
  other.watch('lease:leader', () => told++);
  const heard: string[] = [];
  other.onSignal('t', (payload) => heard.push(payload));
  await waitUntil(() => told > 0, { what: 'the subscription is there' });
  const before = told;
  const held = await state.campaign({ lease: 'leader', candidate: candidate('a'), ttlMs: 60_000, termFloor: 0 });
  expect(held).toEqual({ held: true, term: 1 });
  expect(await other.campaign({ lease: 'leader', candidate: candidate('b'), ttlMs: 60_000, termFloor: 0 })).toMatchObject({ held: false });
  await waitUntil(() => told > before, { what: 'the watcher is told' });
  await waitUntil(() => heard.length > 0 || state.signal('t', 'hello').then(() => false));
  await state.reserve('leader', 'b', 1_000);
  expect(await state.resign({ lease: 'leader', candidate: candidate('a'), term: 1 })).toBe(true);
  expect(await other.campaign({ lease: 'leader', candidate: candidate('b'), ttlMs: 60_000, termFloor: 1 })).toEqual({ held: true, term: 2 });
  await state.withdraw('leader', candidate('b'));
  expect(await other.leases()).toEqual([expect.objectContaining({ name: 'leader', term: 2 })]);
  expect((await other.lease('leader'))?.owner).toEqual(candidate('b'));
  expect(await other.leaseHistory('leader', 10)).toHaveLength(2);
  await state.heartbeat(node('n1'), 60_000);
  expect(await other.nodes()).toEqual([node('n1')]);
  await state.deregister('n1', 'n1-1');
  expect(await state.writeDocument({ key: 'd', value: 'v', expectedVersion: 0, requestId: 'r' })).toMatchObject({ written: true });
  expect((await other.readDocument('d')).document?.value).toBe('v');
}

test('with a password, a user and a database number in the url', async () => {
  const server = await redis({ args: ['--user', 'binnacle', 'on', '>p@ss/word', '~{test}:*', '&{test}:*', '+@all', '-@dangerous', '+info', '--user', 'default', 'off'] });
  const url = server.url.replace('redis://', `redis://binnacle:${encodeURIComponent('p@ss/word')}@`);
  const [state, other] = [await client({ url: `${url}/3` }), await client({ url: `${url}/3` })];
  expect(state.availability()).toMatchObject({ available: true });
  await useEverything(state, other);
  expect(await (await client({ url: `${url}/4` })).leases()).toEqual([]);
});

describe('TLS', () => {
  test('everything works, with the authority of the ca file', async () => {
    const server = await redis({ tls: true });
    await useEverything(await client(server), await client(server));
  });

  test('a certificate that no known authority signed is refused', async () => {
    const server = await redis({ tls: true });
    const state = await client({ url: server.url }, { timeoutMs: 500 });
    expect(state.availability()).toMatchObject({ available: false, reason: expect.stringMatching(/certificate/) });
  });
});

describe('Redis Cluster', () => {
  async function clusterNode(firstSlot: number, lastSlot: number, options: RedisServerOptions = {}): Promise<RedisServer> {
    // A node that never met another does not know its own address.
    const args = ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1', '--cluster-port', String(await freePort())];
    const server = await redis({ ...options, args });
    await command(server.port, 'CLUSTER', 'ADDSLOTSRANGE', String(firstSlot), String(lastSlot));
    return server;
  }

  async function untilUp(server: RedisServer, masters: number): Promise<void> {
    await waitUntil(
      async () => {
        const info = String(await command(server.port, 'CLUSTER', 'INFO'));
        return info.includes('cluster_state:ok') && info.includes(`cluster_size:${masters}`);
      },
      { what: 'the cluster is up' },
    );
  }

  /** From a line of CLUSTER NODES: `id host:port@bus ...`. */
  async function busPort(server: RedisServer): Promise<number> {
    return Number(/:\d+@(\d+)/.exec(String(await command(server.port, 'CLUSTER', 'NODES')))![1]);
  }

  async function singleNodeCluster(options: RedisServerOptions = {}): Promise<RedisServer> {
    const server = await clusterNode(0, 16_383, options);
    await untilUp(server, 1);
    return server;
  }

  test('everything works, because all keys have one slot', async () => {
    const server = await singleNodeCluster();
    await useEverything(await client(server, { cluster: true }), await client(server, { cluster: true }));
  });

  test('with three masters, commands find the one that has the slot, and messages reach every client', async () => {
    const nodes: RedisServer[] = [];
    for (const [first, last] of [[0, 5_460], [5_461, 10_922], [10_923, 16_383]] as const) nodes.push(await clusterNode(first, last));
    for (const each of nodes.slice(1)) await command(nodes[0]!.port, 'CLUSTER', 'MEET', '127.0.0.1', String(each.port), String(await busPort(each)));
    for (const each of nodes) await untilUp(each, 3);
    // One of three prefixes at least has its slot at another node than the one that is asked first.
    for (const prefix of ['a', 'b', 'c']) {
      const clients = await Promise.all(nodes.map((each) => client(each, { cluster: true, prefix })));
      await useEverything(clients[0]!, clients[1]!);
      expect(await clients[2]!.leases()).toHaveLength(1);
    }
  });

  test('after the node was killed and is back, commands and messages work again', async () => {
    const server = await singleNodeCluster({ appendOnly: true });
    const state = await client(server, { cluster: true });
    let told = 0;
    state.watch('nodes', () => told++);
    await waitUntil(() => told > 0);
    await state.campaign({ lease: 'leader', candidate: candidate('a'), ttlMs: 50, termFloor: 0 });
    await server.kill9();
    await waitUntil(() => !state.availability().available, { what: 'the client notices' });
    const before = told;
    await server.restart();
    await waitUntil(() => state.availability().available && told > before, { what: 'the client is back' });
    expect((await state.lease('leader'))?.term).toBe(1);
  });

  test('a node that hangs fails operations at their deadline', async () => {
    const server = await singleNodeCluster();
    const state = await client(server, { cluster: true, timeoutMs: 300 });
    server.pause();
    const startMs = performance.now();
    await expect(state.nodes()).rejects.toMatchObject({ code: 'CLUSTER_STATE_UNAVAILABLE' });
    expect(performance.now() - startMs).toBeLessThan(3_000);
    await waitUntil(() => !state.availability().available);
    server.resume();
    await waitUntil(() => state.availability().available, { what: 'the client is back' });
    await state.nodes();
  });
});

describe('Sentinel', () => {
  async function sentinelOf(master: RedisServer): Promise<RedisServer> {
    const folder = await mkdtemp(join(tmpdir(), 'binnacle-sentinel-'));
    cleanups.push(() => rm(folder, { recursive: true, force: true }));
    const file = join(folder, 'sentinel.conf');
    writeFileSync(
      file,
      [
        `sentinel monitor mymaster 127.0.0.1 ${master.port} 1`,
        'sentinel down-after-milliseconds mymaster 2000',
        'sentinel failover-timeout mymaster 2000',
        '',
      ].join('\n'),
    );
    return redis({ sentinelConfigFile: file });
  }

  test('the master is found by its name, and after a failover the new one is, with terms as they were', async () => {
    const master = await redis();
    const replica = await redis({ args: ['--replicaof', '127.0.0.1', String(master.port)] });
    const sentinel = await sentinelOf(master);
    await waitUntil(async () => String(await command(sentinel.port, 'SENTINEL', 'replicas', 'mymaster')).includes(String(replica.port)), {
      what: 'the sentinel knows the replica',
    });
    const settings = { sentinels: `127.0.0.1:${sentinel.port}` };
    const [state, other] = [await client({ url: 'redis://mymaster/0' }, settings), await client({ url: 'redis://mymaster' }, settings)];
    await useEverything(state, other);
    await waitUntil(async () => /offset=(\d+),lag=[01]\r?\n[^]*master_repl_offset:\1/.test(String(await command(master.port, 'INFO', 'replication'))));

    await master.kill9();
    await waitUntil(() => !state.availability().available, { what: 'the client notices' });
    await waitUntil(() => state.availability().available, { what: 'the replica has taken over', timeoutMs: 60_000 });
    const answer = await state.campaign({ lease: 'leader', candidate: candidate('b'), ttlMs: 60_000, termFloor: 2 });
    expect(answer).toEqual({ held: true, term: 2 });
    expect(await state.writeDocument({ key: 'd', value: 'w', expectedVersion: 1, requestId: 's' })).toMatchObject({ written: true, version: 2 });
  });
});

test('settings that cannot be right are refused without showing the url', async () => {
  const attempt = (changes: Partial<RedisSettings>): Promise<unknown> => openRedis({ url: '' }, changes).catch((error: Error) => {
    expect(error).toBeInstanceOf(ClusterStateUnusable);
    return error.message;
  });
  expect(await attempt({ url: 'http://user:hidden@host' })).toMatch(/^redis.url must look like/);
  expect(await attempt({ url: 'not a url hidden' })).toMatch(/^redis.url must look like/);
  expect(await attempt({ url: 'redis://:hidden@host/base' })).toMatch(/number of a database/);
  expect(await attempt({ url: 'redis://:hidden%zz@host' })).toBe('redis.url: a % in the user or the password must be written %25');
  expect(await attempt({ url: 'rediss://:hidden@host', caFile: '/nowhere/ca.pem' })).toMatch(/ca-file \/nowhere\/ca.pem cannot be read/);
  expect(await attempt({ url: 'redis://mymaster', sentinels: 'host-without-port' })).toMatch(/redis.sentinels must look like/);
  expect(await attempt({ url: 'redis://mymaster', sentinels: ':hidden@host:26379' })).toMatch(/^redis.sentinels must look like [^@]*$/);
  expect(await attempt({ url: 'redis://host', sentinels: 'a:1', cluster: true })).toMatch(/exclude each other/);
  for (const message of await Promise.all([attempt({ url: 'http://user:hidden@host' }), attempt({ url: 'redis://:hidden@host/base' })])) {
    expect(message).not.toContain('hidden');
  }
});
