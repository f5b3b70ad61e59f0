import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { ClusterStateUnavailable, type Lease } from '@binnacle/cluster-state/cluster-state';
import { EmbeddedClusterState } from '@binnacle/cluster-state/embedded-cluster-state';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { LeaseOwners } from './lease-owners.js';

/** Everywhere within a second, whatever a watch does. */
const currentMs = 1_000;

const clock = new FakeClock();
const candidate = (nodeId: string) => ({ nodeId, incarnation: nodeId, address: 'x:1' });
let folder: string;
let state: EmbeddedClusterState;
let owners: LeaseOwners;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'binnacle-lease-owners-'));
  state = new EmbeddedClusterState(folder, clock);
  owners = new LeaseOwners(state, clock, ['leader']);
});
afterEach(async () => {
  owners.stop();
  await state.close();
  rmSync(folder, { recursive: true, force: true });
});

test('the owner is known from the start, after a hand-over, and no longer once it has resigned', async () => {
  await state.campaign({ lease: 'leader', candidate: candidate('a'), ttlMs: 60_000, termFloor: 0 });
  await owners.start();
  expect([owners.ownerId('leader'), owners.ownerId('other')]).toEqual(['a', undefined]);
  await state.resign({ lease: 'leader', candidate: candidate('a'), term: 1 });
  await clock.advance(0);
  expect(owners.ownerId('leader')).toBeUndefined();
  await state.campaign({ lease: 'leader', candidate: candidate('b'), ttlMs: 60_000, termFloor: 0 });
  await clock.advance(0);
  expect(owners.ownerId('leader')).toBe('b');
});

test('what no watch tells is seen by the next poll, and a store that is away leaves the last view', async () => {
  let answer: () => Promise<Lease | undefined> = async () => ({ owner: candidate('a') }) as Lease;
  owners = new LeaseOwners({ lease: () => answer(), watch: () => () => undefined, onAvailabilityChange: () => () => undefined }, clock, ['leader']);
  await owners.start();
  answer = () => Promise.reject(new ClusterStateUnavailable('away'));
  await clock.advance(currentMs);
  expect(owners.ownerId('leader')).toBe('a');
  answer = async () => ({ owner: candidate('b') }) as Lease;
  await clock.advance(currentMs);
  expect(owners.ownerId('leader')).toBe('b');
});

test('nothing is left behind when it stops', async () => {
  await owners.start();
  owners.stop();
  const before = clock.timerCount();
  await clock.advance(currentMs * 2);
  expect(clock.timerCount()).toBeLessThanOrEqual(before);
});
