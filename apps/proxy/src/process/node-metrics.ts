import type { BackendReport, Backends } from '../backends/backends.js';
import type { BalanceSettings } from '../balance/balance-settings.js';
import { Scoring } from '../balance/scores.js';
import type { MetricsSnapshot } from '../metrics/families.js';
import { countsOf, mergeSnapshots } from '../metrics/metrics-export.js';
import type { ProxyMetrics } from '../metrics/proxy-metrics.js';
import type { Workers } from './workers.js';

/** The numbers of a proxy node: those of its main process, of its workers, and what workers that died had counted. */
export class NodeMetrics {
  readonly #last = new Map<number, MetricsSnapshot>();
  #ended: MetricsSnapshot = {};

  constructor(
    private readonly own: ProxyMetrics,
    private readonly backends: Backends,
    private readonly workers: Workers,
    private readonly balance: () => BalanceSettings,
  ) {}

  async read(): Promise<MetricsSnapshot> {
    this.#readBackends();
    const answers = await this.workers.askAll('metrics', {});
    // The one worker in this process counts with the process's own numbers.
    if (this.workers.total === 1) return answers[0]?.answer ?? this.own.snapshot();
    for (const { worker, answer } of answers) this.#last.set(worker, answer);
    return mergeSnapshots([this.own.snapshot(), this.#ended, ...this.#last.values()]);
  }

  died(worker: number): void {
    const last = this.#last.get(worker);
    this.#last.delete(worker);
    if (last !== undefined) this.#ended = mergeSnapshots([this.#ended, countsOf(last)]);
  }

  #readBackends(): void {
    const reports = this.backends.reports();
    // The one worker in this process knows of those with sessions too.
    if (this.workers.total > 1) this.own.keepBackends(new Set(reports.map(({ id }) => id)));
    this.own.replace('backendStatus', reports.map(({ id, healthy }) => [[id], healthy ? 1 : 0]));
    this.own.replace('score', this.#scores(reports));
    this.own.replace('ping', reports.flatMap(({ id, state }) => (state.pingMs === undefined ? [] : [[[id], state.pingMs / 1_000]])));
    this.own.set('healthCheck', Math.max(0, ...reports.map(({ state }) => state.roundMs ?? 0)) / 1_000);
  }

  /** By factor, of servers that stand for each other. */
  #scores(reports: readonly BackendReport[]): [string[], number][] {
    return [...new Set(reports.map(({ cluster }) => cluster))].flatMap((name) => {
      const own = reports.filter(({ cluster }) => cluster === name);
      const scoring = new Scoring(this.balance(), own);
      return own.flatMap((backend) => scoring.factors.map((factor): [string[], number] => [[backend.id, factor], scoring.value(factor, backend, backend.sessions)]));
    });
  }
}
