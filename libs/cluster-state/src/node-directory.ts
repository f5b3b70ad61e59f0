import type { Clock } from './clock.js';
import type { ClusterState, NodeRecord, Unsubscribe } from './cluster-state.js';
import { Listeners } from './listeners.js';

/** What is missed by watching (a node that died says nothing) is seen this soon. */
const pollIntervalMs = 1_000;

/** The registry as this process sees it: kept current by watch and poll, read without waiting. */
export class NodeDirectory {
  readonly #state: ClusterState;
  readonly #clock: Clock;
  readonly #listeners = new Listeners<void>();
  readonly #subscriptions: Unsubscribe[] = [];
  #nodes: readonly NodeRecord[] = [];
  #byId: ReadonlyMap<string, NodeRecord> = new Map();
  #byRole: ReadonlyMap<string, readonly NodeRecord[]> = new Map();
  #text = '[]';
  #running = false;
  #inFlight: Promise<void> | undefined;
  #readAgain = false;
  #cancelTimer: () => void = () => {};

  constructor(state: ClusterState, clock: Clock) {
    this.#state = state;
    this.#clock = clock;
  }

  /** Resolves after the first read, also when the store is away: the view is empty then, until it is back. */
  async start(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    this.#subscriptions.push(
      this.#state.watch('nodes', () => this.#refresh()),
      this.#state.onAvailabilityChange(({ available }) => available && this.#refresh()),
    );
    this.#refresh();
    await this.#inFlight;
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
    this.#running = false;
    this.#cancelTimer();
    for (const unsubscribe of this.#subscriptions.splice(0)) unsubscribe();
  }

  #refresh(): void {
    if (!this.#running) return;
    if (this.#inFlight !== undefined) {
      this.#readAgain = true;
      return;
    }
    this.#cancelTimer();
    this.#readAgain = false;
    this.#inFlight = this.#read().then(() => {
      this.#inFlight = undefined;
      if (this.#readAgain) this.#refresh();
      else if (this.#running) this.#cancelTimer = this.#clock.after(pollIntervalMs, () => this.#refresh());
    });
  }

  async #read(): Promise<void> {
    let nodes: readonly NodeRecord[];
    try {
      nodes = await this.#state.nodes();
    } catch {
      return; // The last view stays; `availability()` says why it is old.
    }
    const text = JSON.stringify(nodes);
    if (!this.#running || text === this.#text) return;
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
