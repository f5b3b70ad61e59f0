/** What the uploader tells of itself. */
export interface UploadStatus {
  /** `request` was called, and no upload has succeeded since. */
  readonly isRequested: boolean;
  readonly isRunning: boolean;
  /** Wall clock. Undefined: none has succeeded since the start. */
  readonly lastSuccessMs: number | undefined;
  readonly failuresInRow: number;
  /** Of the last attempt, if it failed. */
  readonly lastFailure: string | undefined;
  /** Row versions and delete marks in the log that are not in the remote store, and about how many bytes they take in it. */
  readonly pendingRows: number;
  readonly pendingBytes: number;
  /** Not later than the oldest of them was acknowledged, wall clock. Undefined: nothing is pending. */
  readonly oldestPendingMs: number | undefined;
}
