/** A replay against its capture, as `GET /api/traffic/report` and `binnacle traffic report --format json` give it. */
export interface TrafficReport {
  readonly verdict: 'PASS' | 'FAIL';
  /** One line for each reason to fail, the worst first; empty when it passed. */
  readonly failures: readonly string[];
  readonly thresholds: Thresholds;
  readonly capture: ReportedRun;
  readonly replay: ReportedRun & {
    readonly speed: number;
    readonly readOnly: boolean;
    /** How far behind its own plan the replay was at its end, and at most; milliseconds. */
    readonly lagMs: number;
    readonly lagMaxMs: number;
  };
  readonly totals: Outcomes;
  /** By how many commands they stand for, the most first; at most `digestsMax` of them. */
  readonly digests: readonly DigestReport[];
  /** Digests beyond that, added up in `totals` alone. */
  readonly digestsOmitted: number;
}

export interface ReportedRun {
  /** Of its first and last command, ISO 8601. */
  readonly from: string;
  readonly to: string;
  readonly commands: number;
  readonly connections: number;
  /** Name and version as the server greets; empty: not known. */
  readonly server: string;
}

/** How many commands ended how. */
export interface Outcomes {
  readonly commands: number;
  readonly equal: number;
  /** Both went well, with other rows. */
  readonly different: number;
  /** Both failed, with the same code. */
  readonly sameError: number;
  /** Both failed, with another code. */
  readonly otherError: number;
  readonly newError: number;
  /** It failed then, and went well now. */
  readonly errorGone: number;
  /** No result of then is known: nothing to compare with. */
  readonly notCompared: number;
  /** Not sent: by reason (`read-only`, `filtered`, `unprepared`, `connection-lost`, ...). */
  readonly skipped: Readonly<Record<string, number>>;
}

export interface DigestReport extends Outcomes {
  /** 64 hexadecimal digits, as the proxy's refuse lists have it. */
  readonly digest: string;
  /** The statement without its values. */
  readonly text: string;
  readonly then: Latencies | undefined;
  readonly now: Latencies | undefined;
  /** The first few that differ. */
  readonly examples: readonly Example[];
  /** Undefined: not asked for, or no statement that can be explained. */
  readonly plan: { readonly then: string; readonly now: string; readonly changed: boolean } | undefined;
}

export interface Latencies {
  readonly count: number;
  readonly meanUs: number;
  readonly p50Us: number;
  readonly p95Us: number;
  readonly p99Us: number;
  readonly maxUs: number;
  /** Counts in buckets: bucket n counts latencies below 2^(n/2) x 100 microseconds that no earlier one counts. */
  readonly buckets: readonly number[];
}

export interface Example {
  readonly connectionId: number;
  readonly ordinal: number;
  readonly at: string;
  /** `rows 10 -> 9`, `error 0 -> 1146`, `rows differ`. */
  readonly what: string;
}

/** Shares of 1, of the commands that were compared. */
export interface Thresholds {
  /** Results that may differ. */
  readonly differentMax: number;
  /** Errors that were not there then. */
  readonly newErrorMax: number;
  /** How many times slower the p95 of a digest with at least 100 commands may be; 0: not looked at. */
  readonly p95FactorMax: number;
  /** Plans that may have changed, a number. */
  readonly planChangesMax: number;
  /** Commands that were not sent, of all. */
  readonly skippedMax: number;
}
