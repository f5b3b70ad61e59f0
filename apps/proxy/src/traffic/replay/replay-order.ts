import type { S3StoreOptions } from '@binnacle/object-store/s3-store';

/** What is to be replayed, where to, and how. Plain data: it passes between processes. It holds passwords: never log it. */
export interface ReplayOrder {
  /** An absolute folder, or `s3://BUCKET/PREFIX`: of one capture, or of the parts of one. */
  readonly input: string;
  readonly store: S3StoreOptions;
  /** Path of the key of encrypted files; '': none. */
  readonly keyFile: string;
  /** TLS takes any certificate. */
  readonly target: { readonly host: string; readonly port: number; readonly tls: boolean };
  readonly username: string;
  readonly password: string;
  readonly speed: number;
  readonly readOnly: boolean;
  /** Damaged places in files are skipped. */
  readonly ignoreErrors: boolean;
  /** RFC 3339: commands at or before it are skipped. */
  readonly after?: string;
  /** RFC 3339: commands later than it are skipped. */
  readonly before?: string;
  /** Each empty: all. */
  readonly filters: { readonly users: readonly string[]; readonly commands: readonly string[]; readonly digests: readonly string[] };
  /** Whose EXPLAIN shows the plans; absent: none are compared. */
  readonly explain?: { readonly username: string; readonly password: string };
}

export interface ReplayProgress {
  /** 0 to 1. */
  readonly share: number;
  /** Read so far. */
  readonly commands: number;
  readonly sent: number;
  readonly skipped: number;
  readonly failed: number;
  readonly different: number;
  readonly connections: number;
  /** Behind its plan. */
  readonly lagMs: number;
  /** When the capture saw the last one, ISO 8601; empty before the first. */
  readonly lastCommandAt: string;
}
