import { afterAll, beforeAll } from '@jest/globals';
import { startRedis, type RedisServer } from '@binnacle/testing/redis-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { systemClock } from '../src/clock.js';
import { describeClusterState } from './cluster-state.contract.js';
import { openRedis } from './open-redis.js';

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

let opened = 0;

describeClusterState('redis cluster state', async () => {
  // A prefix of its own is a cluster of its own.
  const prefix = `contract-${opened++}`;
  const [state, other] = await Promise.all([openRedis(server, { prefix }), openRedis(server, { prefix })]);
  return {
    state,
    other,
    passTime: (ms) => new Promise((resolve) => void systemClock.after(ms, resolve)),
    until: (condition) => waitUntil(condition, { intervalMs: 2 }).then(() => undefined),
    close: async () => {
      await Promise.all([state.close(), other.close()]);
    },
  };
});
