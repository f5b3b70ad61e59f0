import { expect, test } from '@jest/globals';
import { seededRandom } from '@binnacle/testing/seeded-random';
import { movedShare, startModelPeers } from './model-peers.js';
import { type ModelResult, modelSessions, runModel, stepText } from './model-run.js';
import { makeScript } from './model-script.js';

const seeds = [1, 2, 3];

test('sessions that migrate at random answer as if they had stayed on one server', async () => {
  const peers = await startModelPeers();
  const results: ModelResult[] = [];
  try {
    for (const seed of seeds) {
      const steps = makeScript(seededRandom(seed), 300, modelSessions);
      results.push(await runModel(peers, steps));
      const { difference } = results.at(-1)!;
      const what = difference && { seed, step: difference.step, asked: stepText(steps[difference.step]!), direct: difference.direct, proxied: difference.proxied };
      expect(what).toBeUndefined();
    }
    expect(movedShare(...results)).toBeGreaterThan(1 / 3);
  } finally {
    await peers.stop();
  }
}, 60_000);
