import type { CallTree } from './call-tree.js';

/** What of a tree a rendering has room for. */
export interface WidestLimits {
  /** Of the whole; narrower nodes are left out. */
  readonly shareMin: number;
  readonly nodesMax: number;
}

/**
 * The weight from which on nodes are shown, and how many have any weight. `weights` says how wide every node is; as no child is wider than its
 * parent, what is left of the widest still is a tree.
 */
export function widestNodes({ nodeCount }: CallTree, weights: Float64Array, { shareMin, nodesMax }: WidestLimits): { weightMin: number; count: number } {
  const visible = Math.max(weights[0]! * shareMin, Number.MIN_VALUE);
  const wide: number[] = [];
  let count = 0;
  for (let node = 1; node < nodeCount; node++) {
    if (weights[node]! <= 0) continue;
    count++;
    if (weights[node]! >= visible) wide.push(weights[node]!);
  }
  if (wide.length <= nodesMax) return { weightMin: visible, count };
  // Ties at the edge stay out together.
  const edge = Float64Array.from(wide).sort()[wide.length - nodesMax - 1]!;
  return { weightMin: edge * (1 + Number.EPSILON), count };
}
