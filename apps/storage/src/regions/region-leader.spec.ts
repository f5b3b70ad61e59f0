import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { type ClusterState, ClusterStateUnavailable, type NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { NodeConfig } from '@binnacle/node-kit/config';
import type { NodeContext } from '@binnacle/node-kit/node-context';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { pino } from 'pino';
import type { RemoteStore } from '../remote/remote-store.js';
import type { Catalog } from '../tables/catalog.js';
import type { Table } from '../tables/schema.js';
import { RegionLeader } from './region-leader.js';

const leaseMs = 30_000;
let clock: FakeClock;
let tables: readonly Table[];
let present: Set<string>;
let isLeader: boolean;
let isAway: boolean;
let leader: RegionLeader;

const recordOf = (id: string) => ({ id, roles: ['storage'], labels: { 'disagg-mode': 'Both' }, state: 'running' }) as unknown as NodeRecord;
const nodes = () => tables.flatMap(({ regions }) => regions.map(({ writeNode, term }) => `${writeNode}${term}`)).join(' ');

async function start(isOn = true): Promise<void> {
  const config = new NodeConfig();
  config.storage.regionLeaseMs = leaseMs;
  const state = {
    nodes: async () => {
      if (isAway) throw new ClusterStateUnavailable('away');
      return [...present].map(recordOf);
    },
  } as Pick<ClusterState, 'nodes'>;
  const node = { id: 'a', config, clock, state, log: pino({ level: 'silent' }), candidacies: new Map([['leader', { isOwner: () => isLeader }]]), addPart: () => undefined };
  const catalog = { all: () => tables, assign: async (change: (tables: readonly Table[]) => readonly Table[]) => void (tables = change(tables)) };
  leader = new RegionLeader(node as unknown as NodeContext, catalog as unknown as Catalog, { isOn: () => isOn } as unknown as RemoteStore);
  await leader.join();
}

beforeEach(() => {
  clock = new FakeClock();
  present = new Set(['a', 'b']);
  [isLeader, isAway] = [true, false];
  tables = [{ id: 1, name: 't', regions: [{ id: 256, writeNode: 'a', term: 1 }, { id: 257, writeNode: 'b', term: 1 }] } as unknown as Table];
});

afterEach(async () => {
  await leader.stop();
  expect(clock.timerCount()).toBe(0);
});

test('a region moves once its node has been gone for the lease, not before, and not when the node was back in between', async () => {
  await start();
  present.delete('b');
  await clock.advance(leaseMs - 2_000);
  expect(nodes()).toBe('a1 b1');
  present.add('b');
  await clock.advance(1_000);
  present.delete('b');
  await clock.advance(leaseMs);
  expect(nodes()).toBe('a1 b1');
  await clock.advance(2_000);
  expect(nodes()).toBe('a1 a2');
});

test('what was seen before a pause of the leader, or before cluster state was away, does not count', async () => {
  await start();
  present.delete('b');
  await clock.advance(leaseMs - 2_000);
  clock.freezeFor(600_000);
  await clock.advance(leaseMs - 1_000);
  expect(nodes()).toBe('a1 b1');
  isAway = true;
  await clock.advance(600_000);
  isAway = false;
  await clock.advance(leaseMs - 1_000);
  expect(nodes()).toBe('a1 b1');
  await clock.advance(3_000);
  expect(nodes()).toBe('a1 a2');
});

test('nobody moves regions but the leader, and none without the remote tier', async () => {
  isLeader = false;
  await start();
  present.delete('b');
  await clock.advance(2 * leaseMs);
  isLeader = true;
  await clock.advance(leaseMs - 1_000);
  expect(nodes()).toBe('a1 b1');
  await leader.stop();
  await start(false);
  await clock.advance(4 * leaseMs);
  expect(nodes()).toBe('a1 b1');
});
