import { Counter, Gauge, type Registry } from 'prom-client';
import type { Upstream } from './upstream.js';

/** What forwarding counts. Series by node exist as long as the node does. */
export class ForwardingMetrics {
  readonly retries: Counter;
  readonly ejections: Counter;
  readonly brokenAnswers: Counter;
  #upstreams: () => Iterable<Upstream> = () => [];

  constructor(registry: Registry, nowMs: () => number) {
    const registers = [registry];
    this.retries = new Counter({ name: 'binnacle_gateway_retries_total', help: 'Requests sent to a node once more.', registers });
    this.ejections = new Counter({ name: 'binnacle_gateway_ejections_total', help: 'Times a node was ejected for failing.', registers });
    this.brokenAnswers = new Counter({
      name: 'binnacle_gateway_broken_answers_total',
      help: 'Answers that a node began and did not complete; their clients saw a broken connection.',
      registers,
    });
    const outstanding = (upstream: Upstream): number => upstream.outstanding;
    const ejected = (upstream: Upstream): number => Number(upstream.outliers.isEjected(nowMs()));
    this.#addGauge(registry, 'binnacle_gateway_node_outstanding_requests', 'Requests on their way to a node.', outstanding);
    this.#addGauge(registry, 'binnacle_gateway_node_ejected', '1 while a node is ejected for failing, else 0.', ejected);
  }

  /** Where the series by node come from. */
  follow(upstreams: () => Iterable<Upstream>): void {
    this.#upstreams = upstreams;
  }

  #addGauge(registry: Registry, name: string, help: string, value: (upstream: Upstream) => number): void {
    const upstreams = (): Iterable<Upstream> => this.#upstreams();
    new Gauge({
      name,
      help,
      labelNames: ['node'],
      registers: [registry],
      collect() {
        this.reset();
        for (const upstream of upstreams()) this.set({ node: upstream.record.id }, value(upstream));
      },
    });
  }
}
