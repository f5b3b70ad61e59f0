import type { S3StoreOptions } from '@binnacle/object-store/s3-store';

/** What a worker is to capture, and where to. Plain data: it passes between processes. */
export interface CaptureOrder {
  /** Names the capture in orders and logs. */
  readonly job: string;
  /** An absolute folder, or `s3://BUCKET/PREFIX`: of this worker alone. */
  readonly output: string;
  readonly compress: boolean;
  readonly encryptMethod: '' | 'aes256-ctr';
  readonly layers: 'compress-first' | 'encrypt-first';
  /** Path of the key; '': none. */
  readonly keyFile: string;
  readonly store: S3StoreOptions;
  readonly temporaryFolder: string;
  readonly node: string;
  /** All that capture, this one included. */
  readonly nodes: readonly string[];
  readonly worker: number;
  /** Those of this node that capture. */
  readonly workers: readonly number[];
}

/** How a capture came to its end, as the file `meta` says it too. */
export interface CaptureEnd {
  readonly state: 'done' | 'canceled' | 'failed';
  /** Empty when it is done. */
  readonly reason: string;
}

/** Of one worker. */
export interface CaptureProgress {
  readonly state: 'running' | 'done' | 'canceled' | 'failed';
  /** Why it failed or was canceled; empty otherwise. */
  readonly error: string;
  /** Records, those that rebuild what older sessions had included. */
  readonly commands: number;
  readonly results: number;
  /** Handed to the writer: of records and results, before compression. */
  readonly bytes: number;
  /** Held in memory and not with the writer yet. */
  readonly buffered: number;
  /** Sessions of which something was captured. */
  readonly sessions: number;
  /** Sessions that were open before the start and of which nothing is captured yet: within a transaction, say. */
  readonly waiting: number;
  /** Commands that were not captured, by reason: `secret`, `doubtful`, `load-data`, `too-large`, ... */
  readonly leftOut: Readonly<Record<string, number>>;
  /** Sessions whose capture lacks something that a replay would need, by reason: `temporary-table`, `untracked`, `left-out`, ... */
  readonly incomplete: Readonly<Record<string, number>>;
}
