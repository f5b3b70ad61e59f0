import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { startRedis, type RedisServer } from '@binnacle/testing/redis-server';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Candidate, ClusterState, Lease, Tenure } from '../src/cluster-state.js';
import { EmbeddedClusterState } from '../src/embedded-cluster-state.js';
import { candidate } from './cluster-state.contract.js';
import { openRedis } from './open-redis.js';

let server: RedisServer;
const folder = mkdtempSync(join(tmpdir(), 'binnacle-agree-'));
beforeAll(async () => {
  server = await startRedis();
});
const closing: ClusterState[] = [];
afterAll(async () => {
  await Promise.all(closing.map((state) => state.close()));
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Numbers from 0 to 1 that are the same for the same seed (mulberry32), so that a failure can be had again. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

type Step = (state: ClusterState) => Promise<unknown>;

/** Nothing expires within the test: every time is an hour, or is over at once. Expiry is the contract suite's. */
const longMs = 3_600_000;

function randomStep(random: () => number, lastTerm: number, owner: Candidate | undefined): { name: string; step: Step } {
  const pick = <T>(...choices: T[]): T => choices[Math.floor(random() * choices.length)]!;
  const who = candidate(pick('a', 'b', 'c', 'd'), pick('first', 'second'));
  const kind = random();
  if (kind < 0.45) {
    const termFloor = random() < 0.1 ? lastTerm + pick(0, 1, 3) : Math.max(0, lastTerm - pick(0, 1, 2));
    return {
      name: `campaign ${who.nodeId} ${who.incarnation} floor ${termFloor}`,
      step: (state) => state.campaign({ lease: 'l', candidate: who, ttlMs: longMs, termFloor }),
    };
  }
  if (kind < 0.8) {
    const term = random() < 0.9 ? lastTerm : lastTerm + 1;
    const resigner = owner !== undefined && random() < 0.7 ? owner : who;
    const successor = random() < 0.4 ? { successor: pick('a', 'b', 'c', 'd'), reservedMs: longMs } : {};
    return {
      name: `resign ${resigner.nodeId} ${resigner.incarnation} ${term} ${JSON.stringify(successor)}`,
      step: (state) => state.resign({ lease: 'l', candidate: resigner, term, ...successor }),
    };
  }
  if (kind < 0.9) return { name: `withdraw ${who.nodeId} ${who.incarnation}`, step: (state) => state.withdraw('l', who) };
  if (kind < 0.93) return { name: `reserve ${who.nodeId}`, step: (state) => state.reserve('l', who.nodeId, longMs) };
  // Over as soon as the lease is free, so that reservations do not decide everything.
  return { name: `reserve ${who.nodeId} shortly`, step: (state) => state.reserve('l', who.nodeId, 1) };
}

/** Clocks differ between the two, so times are left out. */
function timeless(answer: unknown): unknown {
  return JSON.parse(JSON.stringify(answer ?? null, (key, value: unknown) => (key === 'remainingMs' || key.endsWith('AtMs') ? undefined : value)));
}

test('the Lua in Redis and the functions of the embedded state give the same answers to 4,000 random operations', async () => {
  let grants = 0;
  for (let seed = 1; seed <= 20; seed++) {
    const random = randomFrom(seed);
    const clock = new FakeClock();
    const embedded = new EmbeddedClusterState(join(folder, String(seed)), clock);
    const redis = await openRedis(server, { prefix: `agree-${seed}` });
    const log: string[] = [];
    closing.push(redis, embedded);
    let [lastTerm, owner]: [number, Candidate | undefined] = [0, undefined];
    for (let index = 0; index < 200; index++) {
      const { name, step } = randomStep(random, lastTerm, owner);
      log.push(name);
      const answers = [timeless(await step(redis)), timeless(await step(embedded))];
      if (name.endsWith('shortly')) await Promise.all([clock.advance(3), new Promise((resolve) => setTimeout(resolve, 3))]);
      const leases = [timeless(await redis.lease('l')), timeless(await embedded.lease('l'))];
      const [said, expected] = [0, 1].map((side) => ({ seed, steps: log.join('; '), answer: answers[side], lease: leases[side] }));
      expect(JSON.stringify(said, null, 1)).toBe(JSON.stringify(expected, null, 1));
      const lease = leases[0] as Lease | null;
      if ((lease?.term ?? 0) > lastTerm) grants++;
      [lastTerm, owner] = [lease?.term ?? 0, lease?.owner];
    }
    const histories: Tenure[][] = [await redis.leaseHistory('l', 1_000), await embedded.leaseHistory('l', 1_000)];
    expect(timeless(histories[0])).toEqual(timeless(histories[1]));
  }
  expect(grants).toBeGreaterThan(200); // Else the random operations ask nothing of the rules.
});
