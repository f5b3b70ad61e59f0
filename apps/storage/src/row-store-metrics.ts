import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Engine } from './engine/engine.js';
import type { CommitLog, LogCounters } from './log/commit-log.js';
import type { WritePace } from './write-pace.js';
import type { WritePath } from './write-path.js';

/** What is there between the start and the stop of the row store. */
export interface OpenRows {
  readonly engine: Engine;
  readonly log: CommitLog;
  readonly writes: WritePath;
}

/** What the row store tells of itself on `/metrics`. */
export class RowStoreMetrics {
  readonly #seconds: Histogram;
  readonly #batchSizes: Histogram;

  constructor(registry: Registry, pace: WritePace, rows: () => OpenRows | undefined) {
    const registers = [registry];
    this.#seconds = new Histogram({
      name: 'binnacle_storage_write_duration_seconds',
      help: 'From taking a batch of changes in to its acknowledgement.',
      buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      registers,
    });
    this.#batchSizes = new Histogram({
      name: 'binnacle_storage_write_batch_changes',
      help: 'Changes in a batch.',
      buckets: [1, 4, 16, 64, 256, 1_024, 4_096, 16_384],
      registers,
    });
    const countOpen = (name: string, help: string, value: (open: OpenRows) => number) =>
      new Counter({
        name: `binnacle_storage_${name}_total`,
        help,
        registers,
        collect() {
          const open = rows();
          this.reset();
          this.inc(open === undefined ? 0 : value(open));
        },
      });
    const count = (name: string, help: string, value: (counters: LogCounters) => number) => countOpen(name, help, ({ log }) => value(log.counters));
    count('operations', 'Row versions and delete marks written.', ({ operations }) => operations);
    count('operations_not_awaited', 'Those of them that were acknowledged before they were on disk (durability none).', ({ operationsNotAwaited }) => operationsNotAwaited);
    count('log_batches', 'Batches written to the commit log.', ({ batches }) => batches);
    count('log_written_bytes', 'Bytes written to the commit log.', ({ bytes }) => bytes);
    count('log_writes', 'Writes those batches went out with.', ({ writes }) => writes);
    count('log_syncs', 'fdatasync calls of the commit log.', ({ syncs }) => syncs);
    count('log_sync_seconds', 'Time spent in them.', ({ syncSeconds }) => syncSeconds);
    countOpen('writes_slowed_seconds', 'Time that batches of changes were held back because the search index lags.', () => pace.delayedMs / 1000);
    countOpen('delete_marks_removed', 'Delete marks that nobody needed any more, or whose rows have come back.', ({ engine }) => engine.marks().removed);
    const measure = (name: string, help: string, value: (open: OpenRows) => number) =>
      new Gauge({
        name: `binnacle_storage_${name}`,
        help,
        registers,
        collect() {
          const open = rows();
          this.set(open === undefined ? 0 : value(open));
        },
      });
    measure('log_bytes', 'Bytes the commit log takes on disk.', ({ log }) => log.bytes());
    measure('log_failed', '1 after the disk failed under the commit log: no writes are taken until the next start.', ({ log }) => (log.failure() === undefined ? 0 : 1));
    measure('durable_version', 'The newest version on disk.', ({ log }) => log.durableVersion());
    measure('applied_version', 'The newest version that reads see.', ({ engine }) => engine.appliedVersion());
    measure('index_lag_seconds', 'How long the search index would take for everything that is written.', () => pace.lagMs() / 1000);
    measure('pending_bytes', 'Bytes of writes on their way.', ({ writes }) => writes.pendingBytes());
    measure('pending_rows', 'Rows that writes on their way are about.', ({ writes }) => writes.pendingRows());
  }

  /** Call what it returns when the batch is answered. */
  beginWrite(changes: number): () => void {
    this.#batchSizes.observe(changes);
    const end = this.#seconds.startTimer();
    return () => void end();
  }
}
