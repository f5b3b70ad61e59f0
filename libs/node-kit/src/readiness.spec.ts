import { expect, test } from '@jest/globals';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Availability, ClusterState } from '@binnacle/cluster-state/cluster-state';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { openClusterState } from '@binnacle/cluster-state/open-cluster-state';
import { NodeConfig } from './config.js';
import { Lifecycle } from './lifecycle.js';
import { Readiness, readinessText } from './readiness.js';

/** A real state whose availability the test decides. */
async function described() {
  const clock = new FakeClock();
  const config = new NodeConfig();
  const dataDir = mkdtempSync(join(tmpdir(), 'binnacle-readiness-'));
  const state: ClusterState = await openClusterState({ redis: config.redis, dataDir, clock });
  let availability: Availability = { available: false, sinceMs: clock.nowMs(), reason: 'connection refused' };
  state.availability = () => availability;
  const lifecycle = new Lifecycle();
  const readiness = new Readiness(lifecycle, state, clock, () => '');
  const set = (available: boolean): void => {
    availability = { available, sinceMs: clock.nowMs(), reason: available ? '' : 'connection refused' };
  };
  return { clock, lifecycle, readiness, set, state };
}

test('a node is ready once it runs and has reached its cluster state', async () => {
  const { lifecycle, readiness, set, state } = await described();
  expect(readinessText(readiness.lines(), true)).toBe('[-]store_status fail: store_status=Idle\n[-]cluster_state fail: not reached yet: connection refused\nfail\n');
  lifecycle.moveTo('Ready');
  lifecycle.moveTo('Running');
  expect(readiness.ready()).toBe(false);
  set(true);
  expect(readiness.ready()).toBe(true);
  expect(readinessText(readiness.lines(), false)).toBe('ok\n');
  await state.close();
});

test('one that lost its cluster state stays ready and says for how long it has been away', async () => {
  const { clock, lifecycle, readiness, set, state } = await described();
  lifecycle.moveTo('Ready');
  lifecycle.moveTo('Running');
  set(true);
  readiness.lines();
  set(false);
  await clock.advance(30_000);
  expect(readinessText(readiness.lines(), true)).toBe('[+]store_status ok\n[+]cluster_state ok (away for 30 s: connection refused)\nok\n');
  await state.close();
});

test('one that stops is not ready, whatever else holds', async () => {
  const { lifecycle, readiness, set, state } = await described();
  set(true);
  lifecycle.moveTo('Stopping');
  expect(readinessText(readiness.lines(), false)).toBe('fail\n');
  await state.close();
});

test('a part that takes nothing makes the node unready, and says why', async () => {
  const { clock, lifecycle, set, state } = await described();
  set(true);
  lifecycle.moveTo('Ready');
  lifecycle.moveTo('Running');
  let ok = false;
  const readiness = new Readiness(lifecycle, state, clock, () => '', () => [{ name: 'sql_proxy', ok, detail: ok ? '' : 'no healthy backend' }]);
  expect(readinessText(readiness.lines(), true)).toBe('[+]store_status ok\n[+]cluster_state ok\n[-]sql_proxy fail: no healthy backend\nfail\n');
  ok = true;
  expect(readiness.ready()).toBe(true);
  await state.close();
});
