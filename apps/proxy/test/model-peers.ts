import { startGalera } from '@binnacle/testing/galera';
import type { ModelPeers, ModelResult } from './model-run.js';
import { startProxy } from './proxy-process.js';

// With numbers of their own for every node no two clusters of different size give the same ones.
const args = ['--wsrep-auto-increment-control=OFF', '--max-connections=200'];

/** A pair behind the proxy, and a cluster of one, which has the same powers and lacks the same, without it. */
export async function startModelPeers(): Promise<ModelPeers & { stop(): Promise<void> }> {
  const [pair, alone] = await Promise.all([startGalera({ args }), startGalera({ nodes: 1, args })]);
  const stopServers = async (): Promise<unknown> => Promise.all([pair.stop(), alone.stop()]);
  try {
    const toml = 'allowed-functions = ["model_a.twice"]\nallowed-procedures = ["model_a.rows_of"]';
    const proxy = await startProxy({ backends: pair.nodes.map(({ port }) => `127.0.0.1:${port}`), toml });
    const stop = async (): Promise<void> => {
      await proxy.stop();
      await stopServers();
    };
    return { proxy, pair: pair.nodes, reference: alone.nodes[0]!, stop };
  } catch (error) {
    await stopServers();
    throw error;
  }
}

/** Migrations that succeeded, of all that were asked for. */
export function movedShare(...results: readonly ModelResult[]): number {
  const sum = (key: 'moved' | 'refusals'): number => results.reduce((total, result) => total + result[key], 0);
  return sum('moved') / (sum('moved') + sum('refusals'));
}
