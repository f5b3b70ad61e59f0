import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ClusterStateUnavailable, type ClusterState } from '@binnacle/cluster-state/cluster-state';
import { openClusterState } from '@binnacle/cluster-state/open-cluster-state';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { NodeConfig } from './config.js';
import { HeldLease } from './held-lease.js';
import type { NodeContext } from './node-context.js';

const ttlMs = 30_000;

let dataDir: string;
let clock: FakeClock;
let state: ClusterState;
let campaign: ClusterState['campaign'];
let losses: number;
beforeEach(async () => {
  dataDir = mkdtempSync(join(tmpdir(), 'binnacle-held-lease-'));
  clock = new FakeClock();
  state = await openClusterState({ redis: new NodeConfig().redis, dataDir, clock });
  campaign = state.campaign.bind(state);
  losses = 0;
});
afterEach(async () => {
  await state.close();
  rmSync(dataDir, { recursive: true, force: true });
});

function take(nodeId: string): ReturnType<typeof HeldLease.take> {
  const node = { state, clock, candidate: () => ({ nodeId, incarnation: '1', address: '127.0.0.1:1' }) } as unknown as NodeContext;
  return HeldLease.take(node, 'job', ttlMs, () => void losses++);
}

async function taken(): Promise<HeldLease> {
  const lease = await take('a');
  if (!(lease instanceof HeldLease)) throw new Error('not taken');
  return lease;
}

function cutOff(): void {
  state.campaign = () => Promise.reject(new ClusterStateUnavailable('cut off by the test'));
}

test('it is kept until it is let go of, and then it is free at once', async () => {
  const lease = await taken();
  await clock.advance(10 * ttlMs);
  expect(await take('b')).toEqual({ owner: 'a' });
  await lease.release();
  expect(await take('b')).toBeInstanceOf(HeldLease);
  expect(losses).toBe(0);
});

test('a node that is cut off as soon as it has the lease hears of the loss before another one can have it', async () => {
  state.campaign = (request) => {
    cutOff();
    return campaign(request);
  };
  const lease = await taken();
  await clock.advance(ttlMs - 1);
  expect(losses).toBe(1);
  expect((await state.lease('job'))?.owner?.nodeId).toBe('a');
  await lease.release();
  expect(clock.timerCount()).toBe(0);
});

test('one that has it again after a loss and loses it once more hears of it once', async () => {
  const lease = await taken();
  cutOff();
  await clock.advance(2 * ttlMs);
  expect(losses).toBe(1);
  state.campaign = campaign;
  await clock.advance(ttlMs);
  expect((await state.lease('job'))?.owner?.nodeId).toBe('a');
  cutOff();
  await clock.advance(2 * ttlMs);
  expect(losses).toBe(1);
  await lease.release();
});

test('an answer that comes after the time it is good for is a loss', async () => {
  state.campaign = async (request) => {
    const answer = await campaign(request);
    clock.freezeFor(ttlMs);
    cutOff();
    return answer;
  };
  const lease = await taken();
  expect(losses).toBe(1);
  await lease.release();
  expect(losses).toBe(1);
});
