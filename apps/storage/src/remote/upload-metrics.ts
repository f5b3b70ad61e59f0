import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Segment } from './manifest.js';
import type { UploadStatus } from './upload-status.js';

/** What the uploader tells of itself on `/metrics`. */
export class UploadMetrics {
  readonly #seconds: Histogram<'result'>;
  readonly #rows: Counter;
  readonly #bytes: Counter;

  constructor(registry: Registry, status: () => UploadStatus) {
    const registers = [registry];
    const count = (name: string, help: string): Counter => new Counter({ name: `binnacle_remote_${name}_total`, help, registers });
    this.#seconds = new Histogram({
      name: 'binnacle_remote_upload_duration_seconds',
      help: 'Uploads of everything new, by how they ended.',
      labelNames: ['result'],
      buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300],
      registers,
    });
    this.#rows = count('uploaded_rows', 'Row versions and delete marks in uploaded segments.');
    this.#bytes = count('uploaded_bytes', 'Bytes of uploaded segments.');
    const measure = (name: string, help: string, value: (status: UploadStatus) => number): Gauge =>
      new Gauge({
        name: `binnacle_remote_${name}`,
        help,
        registers,
        collect() {
          this.set(value(status()));
        },
      });
    measure('upload_pending_rows', 'Row versions in the log that are not uploaded.', ({ pendingRows }) => pendingRows);
    measure('upload_pending_bytes', 'Bytes they take in the log, about.', ({ pendingBytes }) => pendingBytes);
    measure('upload_oldest_pending_timestamp_seconds', 'When the oldest of them was written; 0 when there is none.', ({ oldestPendingMs }) => (oldestPendingMs ?? 0) / 1_000);
    measure('upload_last_success_timestamp_seconds', 'When the last upload succeeded; 0 before the first.', ({ lastSuccessMs }) => (lastSuccessMs ?? 0) / 1_000);
    measure('upload_failures_in_row', 'Uploads that failed since one succeeded.', ({ failuresInRow }) => failuresInRow);
  }

  /** Call what it returns when the upload has ended. */
  beginUpload(): (result: 'success' | 'failure') => void {
    const end = this.#seconds.startTimer();
    return (result) => void end({ result });
  }

  uploaded({ rows, bytes }: Segment): void {
    this.#rows.inc(rows);
    this.#bytes.inc(bytes);
  }
}
