/*
 * The model at length, after a build:  node apps/proxy/test/model.trial.mjs [steps] [seed] [rounds]
 * A random script of session changes and migrations through the proxy, in front of two Galera nodes, against the same script on one server without a proxy: every answer must be the same.
 * Prints the seed, what was moved, why others were not, and at a difference the shortest script that shows it. Exits 1 then, and when less than a third of the migrations succeeded.
 */
import './typescript-files.mjs';

const { seededRandom } = await import('@binnacle/testing/seeded-random');
const { makeScript } = await import('./model-script.js');
const { modelSessions, runModel, shrinkModel, stepText } = await import('./model-run.js');
const { startModelPeers, movedShare } = await import('./model-peers.js');

const [count = 10_000, firstSeed = Date.now() % 1_000_000, rounds = 1] = process.argv.slice(2).map(Number);
const shrinkTimeoutMs = 120_000;
const peers = await startModelPeers();
try {
  for (let seed = firstSeed; seed < firstSeed + rounds; seed++) {
    const steps = makeScript(seededRandom(seed), count, modelSessions);
    const startedAtMs = performance.now();
    const result = await runModel(peers, steps, (step) => step % 1_000 === 999 && console.log(`step ${step + 1}`));
    const pauses = result.pausesMs.toSorted((a, b) => a - b);
    const pause = (share) => pauses[Math.floor(pauses.length * share)]?.toFixed(1);
    console.log(`seed ${seed}: ${result.steps} steps in ${((performance.now() - startedAtMs) / 1_000).toFixed(1)} s, ${result.moved} migrations (${(100 * movedShare(result)).toFixed(0)} %), paused for ${pause(0.5)} ms (p99 ${pause(0.99)})`);
    console.log(Object.fromEntries([...result.refused].toSorted(([, a], [, b]) => b - a)));
    if (movedShare(result) < 1 / 3) process.exitCode = 1;
    if (result.difference === undefined) continue;
    process.exitCode = 1;
    const { step, direct, proxied } = result.difference;
    console.log(`difference at step ${step}: ${stepText(steps[step])}\n  direct:\n    ${direct.join('\n    ')}\n  through the proxy:\n    ${proxied.join('\n    ')}`);
    const shortest = await shrinkModel(peers, steps.slice(0, step + 1), shrinkTimeoutMs);
    const { difference } = await runModel(peers, shortest);
    console.log(`shortest script found:\n${shortest.map((each) => `  ${stepText(each)}`).join('\n')}`);
    if (difference !== undefined) console.log(`  direct:\n    ${difference.direct.join('\n    ')}\n  through the proxy:\n    ${difference.proxied.join('\n    ')}`);
    break;
  }
  if (process.env.PROXY_OUTPUT) console.log(peers.proxy.output);
} finally {
  await peers.stop();
}
