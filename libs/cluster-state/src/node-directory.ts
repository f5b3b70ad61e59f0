import type { Clock } from './clock.js';
import type { ClusterState, NodeRecord } from './cluster-state.js';

/** The registry as this process sees it: kept current by watch and poll, read without waiting. */
export declare class NodeDirectory {
  constructor(state: ClusterState, clock: Clock);
  start(): Promise<void>;
  /** Every live node, whatever its state. While the store is away, the last view stays. */
  all(): readonly NodeRecord[];
  byId(id: string): NodeRecord | undefined;
  /** Live nodes of a role, those that are stopping included. */
  byRole(role: string): readonly NodeRecord[];
  onChange(listener: () => void): () => void;
  stop(): void;
}
