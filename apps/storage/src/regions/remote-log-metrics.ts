import { Counter, Histogram, type Registry } from 'prom-client';
import type { LogMeter } from './region-log.js';

/** What durability `remote` costs, on `/metrics`. */
export class RemoteLogMetrics implements LogMeter {
  readonly #seconds: Histogram;
  readonly #failed: Counter;

  constructor(registry: Registry) {
    this.#seconds = new Histogram({
      name: 'binnacle_storage_remote_log_put_duration_seconds',
      help: 'Objects of region logs put into the remote store (durability remote); its count is the number of them.',
      buckets: [0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      registers: [registry],
    });
    this.#failed = new Counter({
      name: 'binnacle_storage_remote_log_puts_failed_total',
      help: 'Such puts that failed, or found their number taken.',
      registers: [registry],
    });
  }

  put(seconds: number, isDone: boolean): void {
    if (isDone) this.#seconds.observe(seconds);
    else this.#failed.inc();
  }
}
