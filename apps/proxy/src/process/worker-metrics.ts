import type { Clock } from '@binnacle/cluster-state/clock';
import { AggregatorRegistry, type Registry } from 'prom-client';

/** As `getMetricsAsJSON` gives it. */
interface MetricJson {
  readonly name: string;
  readonly type: string;
  readonly values: readonly unknown[];
}

/** Answers of workers count for this long: one scrape asks for each metric by itself. */
const freshMs = 250;

/**
 * The metrics of all workers as one, in the registry of their node: counters add up, as do histograms and gauges. What a worker that died had counted
 * stays counted, so that no sum ever goes back.
 */
export class WorkerMetrics {
  readonly #last = new Map<number, readonly MetricJson[]>();
  #ended: readonly MetricJson[] = [];
  readonly #names = new Set<string>();
  #collected: Promise<ReadonlyMap<string, MetricJson>> | undefined;
  #collectedAtMs = 0;

  constructor(
    private readonly clock: Clock,
    private readonly registry: Registry,
    private readonly ask: () => Promise<readonly { worker: number; answer: readonly unknown[] }[]>,
  ) {}

  /** To be called when the workers run: from then on the registry has what they have. */
  async start(): Promise<void> {
    await this.#collect();
  }

  /** Gauges of a worker that died are gone with its sessions; what it had counted is not. */
  async died(worker: number): Promise<void> {
    const last = (this.#last.get(worker) ?? []).filter(({ type }) => type !== 'gauge');
    this.#last.delete(worker);
    this.#ended = await merged([this.#ended, last]);
  }

  #collect(): Promise<ReadonlyMap<string, MetricJson>> {
    const nowMs = this.clock.monotonicMs();
    if (this.#collected === undefined || nowMs - this.#collectedAtMs > freshMs) {
      this.#collectedAtMs = nowMs;
      this.#collected = this.#askAll();
    }
    return this.#collected;
  }

  async #askAll(): Promise<ReadonlyMap<string, MetricJson>> {
    for (const { worker, answer } of await this.ask()) this.#last.set(worker, answer as readonly MetricJson[]);
    const all = new Map((await merged([this.#ended, ...this.#last.values()])).map((metric) => [metric.name, metric]));
    for (const name of all.keys()) this.#show(name);
    return all;
  }

  /** The registry asks whatever has a name and a `get`. */
  #show(name: string): void {
    if (this.#names.has(name)) return;
    this.#names.add(name);
    const get = async (): Promise<object> => (await this.#collect()).get(name) ?? { name, values: [] };
    this.registry.registerMetric({ name, get } as never);
  }
}

async function merged(parts: readonly (readonly MetricJson[])[]): Promise<MetricJson[]> {
  return (await AggregatorRegistry.aggregate(parts as never).getMetricsAsJSON()) as unknown as MetricJson[];
}
