import type { ClusterState } from '@binnacle/cluster-state/cluster-state';
import type { Clock } from '@binnacle/cluster-state/clock';
import type { Lifecycle } from './lifecycle.js';

export interface ReadinessLine {
  /** `store_status`, `cluster_state`, or a part of the node that has something to say: `sql_proxy`. */
  readonly name: string;
  readonly ok: boolean;
  /** Empty, or more about it for `?verbose`. */
  readonly detail: string;
}

/**
 * Whether traffic may be sent to this node.
 *
 * A node that has never reached its cluster state, or may not join, is not ready: it knows neither settings nor other nodes. A node that has, and lost
 * it, stays ready and only says so: the state is shared, so a readiness that followed it would take every node out at once, where
 * each can still serve what it knows.
 */
export class Readiness {
  #reached = false;
  #unsubscribe: () => void;

  constructor(
    private readonly lifecycle: Lifecycle,
    private readonly state: ClusterState,
    private readonly clock: Clock,
    /** Why the node takes no part in the cluster although its state can be reached; empty when it does. */
    private readonly obstacle: () => string,
    private readonly parts: () => readonly ReadinessLine[] = () => [],
  ) {
    this.#unsubscribe = state.onAvailabilityChange(() => this.#look());
  }

  stop(): void {
    this.#unsubscribe();
  }

  lines(): ReadinessLine[] {
    this.#look();
    const status = this.lifecycle.status();
    const { available, sinceMs, reason } = this.state.availability();
    const awayS = Math.max(0, Math.round((this.clock.nowMs() - sinceMs) / 1000));
    const store = { name: 'store_status', ok: status === 'Running', detail: status === 'Running' ? '' : `store_status=${status}` };
    const parts = this.parts();
    if (available) return [store, { name: 'cluster_state', ok: this.obstacle() === '', detail: this.obstacle() }, ...parts];
    const detail = this.#reached ? `away for ${awayS} s: ${reason}` : `not reached yet: ${reason}`;
    return [store, { name: 'cluster_state', ok: this.#reached, detail }, ...parts];
  }

  ready(): boolean {
    return this.lines().every((line) => line.ok);
  }

  #look(): void {
    if (this.state.availability().available && this.obstacle() === '') this.#reached = true;
  }
}

/** `ok\n` or `fail\n`; verbose with a line each: `[+]store_status ok`, `[-]store_status fail: store_status=Idle`. */
export function readinessText(lines: readonly ReadinessLine[], verbose: boolean): string {
  const result = lines.every((line) => line.ok) ? 'ok\n' : 'fail\n';
  if (!verbose) return result;
  const rows = lines.map(({ name, ok, detail }) => (ok ? `[+]${name} ok${detail && ` (${detail})`}\n` : `[-]${name} fail: ${detail}\n`));
  return rows.join('') + result;
}
