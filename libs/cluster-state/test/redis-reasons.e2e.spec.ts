import { afterEach, describe, expect, test } from '@jest/globals';
import { freePort } from '@binnacle/testing/free-port';
import { startRedis, type RedisServer, type RedisServerOptions } from '@binnacle/testing/redis-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { Candidacy } from '../src/candidacy.js';
import { systemClock } from '../src/clock.js';
import type { ClusterState } from '../src/cluster-state.js';
import { NodeDirectory } from '../src/node-directory.js';
import type { RedisSettings } from '../src/redis-connection.js';
import { candidate } from './cluster-state.contract.js';
import { openRedis } from './open-redis.js';

const timeoutMs = 300;

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function redis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const server = await startRedis(options);
  cleanups.push(() => server.stop());
  return server;
}

async function client(url: string, changes: Partial<RedisSettings> = {}): Promise<ClusterState> {
  const state = await openRedis({ url }, { timeoutMs, ...changes });
  cleanups.push(() => state.close());
  return state;
}

/** What an operation is told, and what the log and readiness show. */
async function said(state: ClusterState): Promise<string[]> {
  const failure = await state.nodes().then(
    () => 'it answered',
    (error: Error) => error.message,
  );
  return [state.availability().reason, failure];
}

describe('why Redis does not serve, in words for its operator, from the opening on', () => {
  test('nothing listens', async () => {
    const port = await freePort();
    const reason = `Redis at 127.0.0.1:${port} cannot be reached: connection refused (ECONNREFUSED)`;
    expect(await said(await client(`redis://user:hidden@127.0.0.1:${port}/2`))).toEqual([reason, reason]);
    const ofCluster = `Redis Cluster at 127.0.0.1:${port} is not connected`; // Its client does not say what the nodes said.
    expect(await said(await client(`redis://127.0.0.1:${port}`, { cluster: true }))).toEqual([ofCluster, ofCluster]);
  });

  test('the server hangs: before, while, and as long as it does', async () => {
    const server = await redis();
    const connected = await client(server.url);
    server.pause();
    const reason = `Redis at 127.0.0.1:${server.port} does not answer: no reply for ${timeoutMs} ms`;
    await expect(connected.nodes()).rejects.toThrow(reason);
    const late = await client(server.url);
    const seen = new Set<string>();
    const untilMs = performance.now() + 2_500;
    await waitUntil(async () => {
      for (const state of [connected, late]) for (const text of await said(state)) seen.add(text);
      return performance.now() > untilMs;
    });
    expect([...seen]).toEqual([reason]);
    server.resume();
    await waitUntil(() => connected.availability().available && late.availability().available);
  });

  test('TLS is spoken to a server without', async () => {
    const { port } = await redis();
    const reason = `Redis at 127.0.0.1:${port} cannot be reached: no TLS handshake within ${timeoutMs} ms; does it speak TLS on this port? redis:// is without`;
    expect(await said(await client(`rediss://:hidden@127.0.0.1:${port}`))).toEqual([reason, reason]);
  });

  test('TLS is not spoken to a server with', async () => {
    const { port } = await redis({ tls: true });
    const reason = `Redis at 127.0.0.1:${port} closes the connection at once; does it want TLS? rediss:// is with`;
    expect(await said(await client(`redis://:hidden@127.0.0.1:${port}`))).toEqual([reason, reason]);
  });

  test('no sentinel answers', async () => {
    const sentinels = `127.0.0.1:${await freePort()}`;
    const reason = `Redis master mymaster (sentinels ${sentinels}) cannot be reached: All sentinels are unreachable.`;
    expect(await said(await client('redis://mymaster', { sentinels }))).toEqual([reason, reason]);
  });

  test('an address of IPv6 is connected to, and named as it is written', async () => {
    const server = createServer((socket) => socket.destroy());
    server.listen(0, '::1');
    await once(server, 'listening');
    cleanups.push(async () => server.close());
    const { port } = server.address() as AddressInfo;
    const { reason } = (await client(`redis://[::1]:${port}`)).availability();
    expect(reason).toBe(`Redis at [::1]:${port} closes the connection at once; does it want TLS? rediss:// is with`);
  });
});

test('a server that answers reads and refuses writes is asked by timers, not in a circle', async () => {
  const server = await redis({ args: ['--maxmemory', '100kb', '--maxmemory-policy', 'noeviction'] });
  const state = await client(server.url, { timeoutMs: 1_000 });
  const reasons: string[] = [];
  state.onAvailabilityChange(({ reason }) => void reasons.push(reason));
  const directory = new NodeDirectory(state, systemClock);
  const candidacy = new Candidacy(state, systemClock, { lease: 'leader', candidate: candidate('a'), ttlMs: 1_500 });
  candidacy.start();
  await directory.start();
  cleanups.push(async () => directory.stop(), () => candidacy.stop());
  await waitUntil(() => reasons.includes('') && reasons.length >= 3, { what: 'it counts as back, and is found to refuse again' });
  const before = reasons.length;
  const untilMs = performance.now() + 2_000;
  await waitUntil(() => state.nodes().then(() => performance.now() > untilMs)); // Others read all the time.
  expect(reasons.length - before).toBeLessThanOrEqual(6);
  expect(reasons.find((reason) => reason !== '')).toMatch(/^Redis at .* refuses: OOM /);
});
