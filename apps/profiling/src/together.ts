import { BinnacleError } from '@binnacle/contracts/errors';
import type { CapturedProfile } from './captured-profile.js';
import type { Renderer } from './renderer.js';

export interface CapturedTogether {
  readonly captured: CapturedProfile;
  /** Ids of the nodes that are not in it, sorted. */
  readonly failed: readonly string[];
}

const nodesMax = 1_000;
/** What one merge reads; profiles are 100 kB each, the largest some megabytes. */
const bytesMax = 256 * 2 ** 20;

/**
 * Captures all nodes at the same time and merges what comes into one profile with the label `node`. Nodes that fail are left out, and named
 * in its comments with the reason; when all fail, it rejects with all reasons.
 */
export async function captureTogether(
  nodeIds: readonly string[],
  capture: (nodeId: string) => Promise<CapturedProfile>,
  renderer: Pick<Renderer, 'merge'>,
): Promise<CapturedTogether> {
  if (nodeIds.length > nodesMax) throw new BinnacleError('BAD_REQUEST', `node=* would capture ${nodeIds.length} nodes, the most is ${nodesMax}`);
  let bytes = 0;
  const captured: CapturedProfile[] = [];
  const failures: { nodeId: string; error: unknown }[] = [];
  await Promise.all(
    nodeIds.map(async (nodeId) => {
      try {
        const profile = await capture(nodeId);
        if (bytes + profile.pprof.length > bytesMax) throw new BinnacleError('OVERLOADED', `all profiles together have more than ${bytesMax} bytes`);
        bytes += profile.pprof.length;
        captured.push(profile);
      } catch (error) {
        failures.push({ nodeId, error });
      }
    }),
  );
  failures.sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1));
  const reasons = failures.map(({ nodeId, error }) => `node ${nodeId} is not in it: ${error instanceof BinnacleError ? error.message : 'it failed'}`);
  const [first] = captured;
  if (first === undefined) throw allFailed(failures.map(({ error }) => error), reasons);
  const pprof = await renderer.merge(captured, reasons);
  const startedAtMs = Math.min(...captured.map((profile) => profile.startedAtMs));
  const endedAtMs = Math.max(...captured.map((profile) => profile.startedAtMs + profile.durationMs));
  return {
    captured: { node: '*', kind: first.kind, startedAtMs, durationMs: endedAtMs - startedAtMs, pprof },
    failed: failures.map(({ nodeId }) => nodeId),
  };
}

function allFailed(errors: readonly unknown[], reasons: readonly string[]): unknown {
  const [first] = errors;
  if (first === undefined) return new BinnacleError('NO_TARGET', 'there is no node', { retryAfterS: 1 });
  if (!(first instanceof BinnacleError)) return first;
  return new BinnacleError(first.code, `no node could be captured: ${reasons.join('; ')}`, { cause: first });
}
