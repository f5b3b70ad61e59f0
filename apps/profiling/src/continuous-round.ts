import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';

export const captureSeconds = 10;
export const frequencyHz = 19;
/** The last capture of a round begins this long after the first at most: with its ten seconds it ends within the minute. */
const spreadMs = 46_000;
/** From one start to when the capture has come in, with room for a slow node. */
const turnMs = 11_000;

export interface RoundPlan {
  /** In the order of their turns. */
  readonly turns: readonly { readonly node: NodeRecord; readonly delayMs: number }[];
  readonly skipped: readonly { readonly nodeId: string; readonly reason: string }[];
  /** Nodes left for the next rounds, because this one is full. */
  readonly left: number;
  /** The id after which the next round begins. */
  readonly after: string | undefined;
}

export interface RoundLimits {
  readonly nodesAtOnceMax: number;
  readonly eventLoopDelayMsMax: number;
  /** The id after which the last full round ended. */
  readonly after: string | undefined;
}

/**
 * Which nodes are profiled in one minute, and when. Starts are spread evenly, so at most `nodesAtOnceMax` captures run at once;
 * where that is not enough for all, the next round begins with those that had no turn.
 */
export function planRound(nodes: readonly NodeRecord[], { nodesAtOnceMax, eventLoopDelayMsMax, after }: RoundLimits): RoundPlan {
  const skipped: { nodeId: string; reason: string }[] = [];
  const fit: NodeRecord[] = [];
  for (const node of inTurn(nodes, after)) {
    const reason = whyNot(node, eventLoopDelayMsMax);
    if (reason === undefined) fit.push(node);
    else skipped.push({ nodeId: node.id, reason });
  }
  // A turn may begin every turnMs / nodesAtOnceMax; five nodes for a maximum of 1, 34 for 8.
  const turnsMax = Math.floor((spreadMs * nodesAtOnceMax) / turnMs) + 1;
  const chosen = fit.slice(0, turnsMax);
  const gapMs = chosen.length > 1 ? spreadMs / (chosen.length - 1) : 0;
  const left = fit.length - chosen.length;
  return {
    turns: chosen.map((node, at) => ({ node, delayMs: Math.round(at * gapMs) })),
    skipped,
    left,
    after: left > 0 ? chosen.at(-1)?.id : undefined,
  };
}

/** By id, those behind `after` first. */
function inTurn(nodes: readonly NodeRecord[], after: string | undefined): NodeRecord[] {
  const byId = nodes.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const begin = after === undefined ? 0 : byId.findIndex(({ id }) => id > after);
  return begin <= 0 ? byId : [...byId.slice(begin), ...byId.slice(0, begin)];
}

/** A node in trouble is not given more to do. What it was doing before is in the profiles before. */
function whyNot(node: NodeRecord, eventLoopDelayMsMax: number): string | undefined {
  if (node.state !== 'running') return `it is ${node.state}`;
  if (node.resourceError === 'OUT_OF_MEMORY') return 'it is short of memory';
  if (node.eventLoopDelayMs >= eventLoopDelayMsMax) return `its event loop is ${node.eventLoopDelayMs} ms late`;
  return undefined;
}
