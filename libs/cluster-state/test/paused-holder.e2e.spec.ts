import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startRedis, type RedisServer } from '@binnacle/testing/redis-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { Candidacy } from '../src/candidacy.js';
import { systemClock } from '../src/clock.js';
import { nextMessage, startChild } from './child.js';
import { candidate } from './cluster-state.contract.js';
import type { HolderMessage } from './lease-holder.child.js';
import { openRedis } from './open-redis.js';

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

const ttlMs = 1_000;
/** It is some 100 ms, unless the machine has much else to do. */
const slackMs = 4_000;
type Change = Extract<HolderMessage, { change: unknown }>;
type Gap = Extract<HolderMessage, { gap: unknown }>;

test('a holder stopped past its lease and resumed notices before it acts, while another holds the lease', async () => {
  const child = startChild('./lease-holder.child.ts', [server.url, 'test', 'paused', String(ttlMs)]);
  const state = await openRedis(server);
  try {
    await nextMessage<Change>(child, (message) => message.change === 1);
    const other = new Candidacy(state, systemClock, { lease: 'leader', candidate: candidate('other'), ttlMs });
    let takenAtMs = 0;
    other.onChange((term) => {
      if (term === 2) takenAtMs = Date.now();
    });
    other.start();
    await waitUntil(async () => (await state.lease('leader'))?.waiting.includes('other'));

    const stoppedAtMs = Date.now();
    child.kill('SIGSTOP');
    await waitUntil(() => takenAtMs > 0);
    expect(takenAtMs - stoppedAtMs).toBeLessThanOrEqual(ttlMs + slackMs);
    expect(other.term()).toBe(2);

    const gap = nextMessage<Gap>(child, (message) => 'gap' in message);
    const change = nextMessage<Change>(child, (message) => 'change' in message);
    child.kill('SIGCONT');
    const { lastActedAtMs, nextTriedAtMs, termThen } = (await gap).gap;
    expect(termThen).toBeNull();
    expect(lastActedAtMs).toBeLessThan(takenAtMs);
    expect(nextTriedAtMs).toBeGreaterThan(takenAtMs);
    expect((await change).change).toBeNull();

    // It waits now, and gets the lease back when it is given up.
    const again = nextMessage<Change>(child, (message) => message.change === 3);
    await waitUntil(async () => (await state.lease('leader'))?.waiting.includes('paused'));
    const resignedAtMs = Date.now();
    expect(await other.resign()).toBe(true);
    expect((await again).atMs - resignedAtMs).toBeLessThanOrEqual(slackMs);
    await other.stop();
  } finally {
    child.kill('SIGKILL');
    await state.close();
  }
});

test('the lease of a killed holder passes soon after its ttl', async () => {
  const child = startChild('./lease-holder.child.ts', [server.url, 'killed', 'victim', String(ttlMs)]);
  const state = await openRedis(server, { prefix: 'killed' });
  try {
    await nextMessage<Change>(child, (message) => message.change === 1);
    const other = new Candidacy(state, systemClock, { lease: 'leader', candidate: candidate('other'), ttlMs });
    other.start();
    const killedAtMs = performance.now();
    child.kill('SIGKILL');
    await waitUntil(() => other.isOwner());
    expect(performance.now() - killedAtMs).toBeLessThanOrEqual(ttlMs + slackMs);
    await other.stop();
  } finally {
    child.kill('SIGKILL');
    await state.close();
  }
});
