import type { Clock } from './clock.js';
import type { ClusterState, NodeRecord } from './cluster-state.js';
import { Follower } from './follower.js';
import { Listeners } from './listeners.js';

/** The registry as this process sees it: kept current by watch and poll, read without waiting. */
export class NodeDirectory {
  readonly #listeners = new Listeners<void>();
  readonly #follower: Follower;
  #nodes: readonly NodeRecord[] = [];
  #byId: ReadonlyMap<string, NodeRecord> = new Map();
  #byRole: ReadonlyMap<string, readonly NodeRecord[]> = new Map();
  #text = '[]';

  constructor(state: ClusterState, clock: Clock) {
    this.#follower = new Follower(state, clock, 'nodes', async () => this.#take(await state.nodes()));
  }

  /** Resolves after the first read, also when the store is away: the view is empty then, until it is back. */
  start(): Promise<void> {
    return this.#follower.start();
  }

  /** Every live node, whatever its state. While the store is away, the last view stays. */
  all(): readonly NodeRecord[] {
    return this.#nodes;
  }

  byId(id: string): NodeRecord | undefined {
    return this.#byId.get(id);
  }

  /** Live nodes of a role, those that are stopping included. */
  byRole(role: string): readonly NodeRecord[] {
    return this.#byRole.get(role) ?? [];
  }

  /** Called after anything of any record changed, figures included. */
  onChange(listener: () => void): () => void {
    return this.#listeners.add(listener);
  }

  stop(): void {
    this.#follower.stop();
  }

  #take(nodes: readonly NodeRecord[]): void {
    const text = JSON.stringify(nodes);
    if (!this.#follower.isRunning() || text === this.#text) return;
    this.#text = text;
    this.#nodes = nodes;
    this.#byId = new Map(nodes.map((node) => [node.id, node]));
    const byRole = new Map<string, NodeRecord[]>();
    for (const node of nodes) {
      for (const role of node.roles) byRole.set(role, [...(byRole.get(role) ?? []), node]);
    }
    this.#byRole = byRole;
    this.#listeners.notify();
  }
}
