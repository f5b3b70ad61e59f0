import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { EmbeddedClusterState } from '@binnacle/cluster-state/embedded-cluster-state';
import { BinnacleError } from '@binnacle/contracts/errors';
import { FakeNode, nodeRecord } from '../test/fake-node.js';
import type { CapturedProfile } from './captured-profile.js';
import type { Captures } from './captures.js';
import { ContinuousProfiling } from './continuous.js';
import type { KeptProfiles } from './kept-profiles.js';

/** Captures that take their ten seconds of fake time, or fail as told. */
class FakeCaptures {
  readonly log: string[] = [];
  readonly failures = new Map<string, Error>();
  readonly hanging = new Set<string>();

  constructor(private readonly node: FakeNode) {}

  cpu(nodeId: string, { seconds, frequencyHz, whenBusy }: { seconds: number; frequencyHz: number; whenBusy: string }, signal: AbortSignal): Promise<CapturedProfile> {
    const startedAtMs = this.node.clock.nowMs();
    this.log.push(`${new Date(startedAtMs).toISOString().slice(14, 19)} ${nodeId} ${seconds} s ${frequencyHz} Hz ${whenBusy}`);
    const failure = this.failures.get(nodeId);
    if (failure) return Promise.reject(failure);
    return new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(new Error('aborted')));
      if (this.hanging.has(nodeId)) return;
      this.node.clock.after(10_000, () => resolve({ node: nodeId, kind: 'cpu', startedAtMs, durationMs: 10_000, pprof: Buffer.from(nodeId) }));
    });
  }
}

class Bench {
  readonly captures: FakeCaptures;
  readonly kept: string[] = [];
  readonly profiling: ContinuousProfiling;

  constructor(readonly node: FakeNode, state: EmbeddedClusterState) {
    Object.assign(node, { state, candidate: () => ({ nodeId: node.id, incarnation: node.id, address: '127.0.0.1:1' }) });
    node.config.profiling.continuous = true;
    this.captures = new FakeCaptures(node);
    const kept = { keep: async (profile: CapturedProfile, origin: string) => void this.kept.push(`${profile.node} ${origin}`) };
    this.profiling = new ContinuousProfiling(node.context, this.captures as unknown as Captures, kept as unknown as KeptProfiles);
  }
}

let node: FakeNode;
let state: EmbeddedClusterState;
let bench: Bench;

beforeEach(async () => {
  node = new FakeNode();
  state = new EmbeddedClusterState(node.config.dataDir, node.clock);
  bench = new Bench(node, state);
});
afterEach(async () => {
  await bench.profiling.stop();
  await state.close();
  node.remove();
});

/** What @nestjs/schedule does, on the fake clock. */
async function minute({ profiling } = bench): Promise<void> {
  void profiling.everyMinute();
  await node.clock.advance(60_000);
}

async function join(...benches: Bench[]): Promise<void> {
  for (const each of benches) await each.profiling.join();
  await node.clock.advance(0);
}

test('every node is profiled for ten seconds of the minute at 19 Hz, and kept', async () => {
  node.nodes.push(nodeRecord('b'), nodeRecord('a'));
  await join(bench);
  await minute();
  expect(bench.captures.log).toEqual(['00:00 a 10 s 19 Hz give way', '00:46 b 10 s 19 Hz give way']);
  expect(bench.kept).toEqual(['a continuous', 'b continuous']);
});

test('it is off unless the configuration says so', async () => {
  node.config.profiling.continuous = false;
  node.nodes.push(nodeRecord('a'));
  await join(bench);
  await minute();
  expect(bench.captures.log).toEqual([]);
  expect(await state.leases()).toEqual([]);
});

test('of two profiling nodes only the owner of the lease does it; the other goes on when the owner stops', async () => {
  const other = new FakeNode('p1', node.clock);
  const second = new Bench(other, state);
  for (const each of [node, other]) each.nodes.push(nodeRecord('a'));
  await join(bench, second);
  await Promise.all([minute(bench), minute(second)]);
  expect([bench.kept, second.kept]).toEqual([['a continuous'], []]);
  await bench.profiling.drain();
  await node.clock.advance(20_000);
  await minute(second);
  expect(second.kept).toEqual(['a continuous']);
  await second.profiling.stop();
  other.remove();
});

test('a busy node and one in trouble are skipped, with one log line as long as they stay the same', async () => {
  node.nodes.push(nodeRecord('busy'), nodeRecord('late', { eventLoopDelayMs: 900 }), nodeRecord('well'));
  bench.captures.failures.set('busy', new BinnacleError('ALREADY_PROFILING', 'Already in Profiling'));
  await join(bench);
  await minute();
  await minute();
  const lines = node.logged.filter(({ msg }) => msg.includes('without a profile'));
  expect(lines).toMatchObject([
    { skipped: [{ nodeId: 'busy', reason: 'Already in Profiling' }, { nodeId: 'late', reason: 'its event loop is 900 ms late' }], skippedCount: 2 },
  ]);
  expect(bench.kept).toEqual(['well continuous', 'well continuous']);
  const metric = await node.metrics.getSingleMetricAsString('binnacle_continuous_profiles_total');
  expect(metric).toContain('{outcome="kept"} 2');
  expect(metric).toContain('{outcome="skipped"} 4');
});

test('a node that hangs costs its own profile and no other round: what runs at the end of the minute is given up', async () => {
  node.nodes.push(nodeRecord('hangs'), nodeRecord('well'));
  bench.captures.hanging.add('hangs');
  await join(bench);
  await minute();
  bench.captures.hanging.clear();
  await minute();
  expect(bench.kept).toEqual(['well continuous', 'hangs continuous', 'well continuous']);
});

test('a round that is called for while one runs does not begin', async () => {
  node.nodes.push(nodeRecord('a'));
  await join(bench);
  const first = bench.profiling.everyMinute();
  await node.clock.advance(5_000);
  await bench.profiling.everyMinute();
  await node.clock.advance(10_000);
  await first;
  expect(bench.captures.log).toHaveLength(1);
});

test('draining gives up the captures under way and leaves no timer behind', async () => {
  node.nodes.push(nodeRecord('a'), nodeRecord('b'));
  await join(bench);
  const round = bench.profiling.everyMinute();
  await node.clock.advance(5_000);
  await bench.profiling.drain();
  await round;
  expect(bench.kept).toEqual([]);
  await node.clock.advance(20_000);
  expect(node.clock.timerCount()).toBe(0);
});
