import type { Clock } from '@binnacle/cluster-state/clock';
import type { RowStore } from '../row-store.js';
import type { UploadStatus } from './upload-status.js';

/** How the uploads of this node stand. */
export class UploadState {
  /** When an upload was asked for last, if none has succeeded since. */
  requestedMs: number | undefined;
  failuresInRow = 0;
  #lastFailure: string | undefined;
  #lastSuccessMs: number | undefined;
  /** The first write after what the upload that runs, or the last one, has taken up. */
  #newSinceMs: number | undefined;
  /** The first write of those it has taken up, while they are not all uploaded. */
  #takenSinceMs: number | undefined;
  /** Of the log, when what is uploaded was taken up. */
  #uploadedBytes = 0;
  #takenBytes = 0;

  constructor(
    private readonly clock: Clock,
    private readonly rows: Pick<RowStore, 'durableVersion' | 'writtenBytes'>,
  ) {}

  written(): void {
    this.#newSinceMs ??= this.clock.nowMs();
  }

  /** An upload takes up everything written so far. */
  captured(): void {
    this.#takenSinceMs ??= this.#newSinceMs;
    this.#newSinceMs = undefined;
    this.#takenBytes = this.rows.writtenBytes();
  }

  /** `requestedMs`: as it was when the upload began. */
  succeeded(requestedMs: number | undefined): void {
    this.#takenSinceMs = undefined;
    this.#uploadedBytes = this.#takenBytes;
    this.#lastSuccessMs = this.clock.nowMs();
    this.failuresInRow = 0;
    this.#lastFailure = undefined;
    if (requestedMs === this.requestedMs) this.requestedMs = undefined;
  }

  failed(error: Error): void {
    this.failuresInRow += 1;
    this.#lastFailure = error.message;
  }

  pendingBytes(): number {
    return this.rows.writtenBytes() - this.#uploadedBytes;
  }

  /** `position`: of the log, what is uploaded; undefined: the uploader does not run. */
  status(isRunning: boolean, position: number | undefined): UploadStatus {
    const pendingRows = position === undefined ? 0 : this.rows.durableVersion() - position;
    return {
      isRequested: this.requestedMs !== undefined,
      isRunning,
      lastSuccessMs: this.#lastSuccessMs,
      failuresInRow: this.failuresInRow,
      lastFailure: this.#lastFailure,
      pendingRows,
      pendingBytes: pendingRows === 0 ? 0 : this.pendingBytes(),
      oldestPendingMs: pendingRows === 0 ? undefined : (this.#takenSinceMs ?? this.#newSinceMs),
    };
  }
}
