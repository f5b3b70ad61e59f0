import { collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { ClusterState } from '@binnacle/cluster-state/cluster-state';
import { addBuildInfo } from './build-info.js';

/** Route label of requests that match no route: the path itself would let clients make up series without end. */
export const unmatchedRoute = 'unmatched';

/** One registry a node, so that several nodes in one process (tests) do not share series. */
export function createMetrics(roles: readonly string[], state: ClusterState): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  addBuildInfo(registry, roles);
  new Gauge({
    name: 'binnacle_cluster_state_available',
    help: '1 while the cluster state (Redis, or the embedded one) answers, else 0.',
    registers: [registry],
    collect() {
      this.set(state.availability().available ? 1 : 0);
    },
  });
  new Gauge({
    name: 'binnacle_cluster_state_pending_operations',
    help: 'Operations sent to the cluster state and not answered yet.',
    registers: [registry],
    collect() {
      this.set(state.pendingOperations());
    },
  });
  return registry;
}

/** Requests that a node works on, and how long they took. */
export class RequestMeter {
  #outstanding = 0;
  readonly #open = new Map<string, number>();
  readonly #seconds: Histogram<'route' | 'method' | 'status'>;

  constructor(registry: Registry) {
    this.#seconds = new Histogram({
      name: 'binnacle_http_request_duration_seconds',
      help: 'From the request head to the last byte of the answer, by route template, method and status class.',
      labelNames: ['route', 'method', 'status'],
      // From half a millisecond, the cost of an answer from memory, to the longest profile.
      buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120],
      registers: [registry],
    });
    const outstanding = () => this.#outstanding;
    new Gauge({
      name: 'binnacle_http_requests_outstanding',
      help: 'Requests this node works on now.',
      registers: [registry],
      collect() {
        this.set(outstanding());
      },
    });
  }

  outstanding(): number {
    return this.#outstanding;
  }

  /** What runs now, for the line that says what a shutdown had to cut off: `GET /slow (2)`. */
  describeOutstanding(): string {
    return [...this.#open].map(([name, count]) => (count === 1 ? name : `${name} (${count})`)).join(', ');
  }

  /** Begins to measure; call what it returns once, with the status, when the answer has ended or the client has gone. */
  begin(method: string, route: string): (status: number) => void {
    const name = `${method} ${route}`;
    const startedAt = performance.now();
    this.#outstanding += 1;
    this.#open.set(name, (this.#open.get(name) ?? 0) + 1);
    return (status) => {
      this.#outstanding -= 1;
      const left = (this.#open.get(name) ?? 1) - 1;
      if (left > 0) this.#open.set(name, left);
      else this.#open.delete(name);
      this.#seconds.observe({ route, method, status: `${Math.floor(status / 100)}xx` }, (performance.now() - startedAt) / 1000);
    };
  }
}
