import { BinnacleError } from '@binnacle/contracts/errors';
import type { CapturedProfile } from './captured-profile.js';
import type { Renderer } from './renderer.js';

export interface CapturedTogether {
  readonly captured: CapturedProfile;
  /** Ids of the nodes that are not in it, sorted. */
  readonly failed: readonly string[];
}

interface Failure {
  readonly nodeId: string;
  readonly error: unknown;
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
  const failures: Failure[] = [];
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
  const [first] = captured;
  if (first === undefined) throw allFailed(failures);
  const comments = failures.map((failure) => `node ${failure.nodeId} is not in it: ${reasonOf(failure)}`);
  const pprof = await renderer.merge(captured, comments);
  const startedAtMs = Math.min(...captured.map((profile) => profile.startedAtMs));
  const endedAtMs = Math.max(...captured.map((profile) => profile.startedAtMs + profile.durationMs));
  return {
    captured: { node: '*', kind: first.kind, startedAtMs, durationMs: endedAtMs - startedAtMs, pprof },
    failed: failures.map(({ nodeId }) => nodeId),
  };
}

/** What a client may know of it. */
function reasonOf({ nodeId, error }: Failure): string {
  return error instanceof BinnacleError ? error.message.replace(`node ${nodeId}: `, '') : 'it failed';
}

/** The error of the first. Nodes that failed alike, as all without jemalloc do, are told together. */
function allFailed(failures: readonly Failure[]): unknown {
  const [first] = failures;
  if (first === undefined) return new BinnacleError('NO_TARGET', 'there is no node', { retryAfterS: 1 });
  if (!(first.error instanceof BinnacleError)) return first.error;
  const idsOf = new Map<string, string[]>();
  for (const failure of failures) idsOf.set(reasonOf(failure), [...(idsOf.get(reasonOf(failure)) ?? []), failure.nodeId]);
  const reasons = [...idsOf].map(([reason, ids]) => `${ids.join(', ')}: ${reason}`);
  return new BinnacleError(first.error.code, `no node could be captured: ${reasons.join('; ')}`, { cause: first.error });
}
