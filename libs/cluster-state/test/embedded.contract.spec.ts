import { afterAll } from '@jest/globals';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EmbeddedClusterState } from '../src/embedded-cluster-state.js';
import { describeClusterState } from './cluster-state.contract.js';

const folder = mkdtempSync(join(tmpdir(), 'binnacle-embedded-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let opened = 0;

describeClusterState('embedded cluster state', async () => {
  const clock = new FakeClock();
  const state = new EmbeddedClusterState(join(folder, String(opened++)), clock);
  return {
    state,
    other: state,
    passTime: (ms) => clock.advance(ms),
    async until(condition) {
      for (let turn = 0; !condition(); turn++) {
        if (turn === 100) throw new Error('not within 100 turns of the event loop');
        await clock.advance(0);
      }
    },
    close: () => state.close(),
  };
});
