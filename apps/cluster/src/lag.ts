import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';

/** Revisions a node has still to apply. A node may have applied more than we have heard was committed: that is no lag. */
export function lagOf(node: NodeRecord, committedRevision: number): number {
  return Math.max(0, committedRevision - node.appliedRevision);
}
