/** A replay against its capture, as `GET /api/traffic/report` and `binnacle traffic report --format json` give it. */
export interface TrafficReport extends TrafficFacts {
  readonly verdict: 'PASS' | 'FAIL';
  /** One for each reason to fail, the worst first; empty when it passed. */
  readonly failures: readonly Failure[];
  readonly thresholds: Thresholds;
}

/** What was found, before it is judged. */
export interface TrafficFacts {
  readonly version: 1;
  readonly capture: CapturedRun;
  readonly replay: ReplayedRun;
  readonly totals: Outcomes;
  /** Latencies of all digests together. */
  readonly then: Latencies | undefined;
  readonly now: Latencies | undefined;
  readonly plans: { readonly compared: number; readonly changed: number };
  /** Those that differ first, then by how many commands they stand for, the most first. */
  readonly digests: readonly DigestReport[];
  /** Commands of digests that are not in `digests` because there are too many of them; they are in `totals`. */
  readonly commandsOmitted: number;
  /** What the reader met in the files: damaged places, files and folders that it left out. The first few, and then how many more. */
  readonly warnings: readonly string[];
}

export type FailureKind = 'nothing-compared' | 'cut-off' | 'incomplete' | 'not-compared' | 'new-error' | 'different' | 'error-gone' | 'other-order' | 'plan' | 'slower';

export interface Failure {
  readonly kind: FailureKind;
  /** Undefined: not of one digest. */
  readonly digest: string | undefined;
  /** For people: printable characters on one line, as safe for a terminal as for a log. Not escaped for HTML. */
  readonly line: string;
}

export interface ReportedRun {
  /** Of its first and last command, ISO 8601; empty: not known. */
  readonly from: string;
  readonly to: string;
  readonly commands: number;
  readonly connections: number;
  /** Name and version, as the server greets but for the `5.5.5-` of MariaDB; empty: not known. */
  readonly server: string;
  /** Why it ended before its end; empty: it did not. A capture's end is the end that was asked for. */
  readonly cutOff: string;
}

export interface CapturedRun extends ReportedRun {
  /** Of the capture: those that are not there, and those that ended before their end. */
  readonly incompleteParts: number;
}

export interface ReplayedRun extends ReportedRun {
  readonly speed: number;
  readonly readOnly: boolean;
  /** How far behind its own plan the replay was at its end, and at most; milliseconds. */
  readonly lagMs: number;
  readonly lagMaxMs: number;
}

/** How many commands ended how. */
export interface Outcomes {
  readonly commands: number;
  readonly equal: number;
  /** Of those equal: the same rows in another order, under an ORDER BY. */
  readonly otherOrder: number;
  /** Both went well, with other rows. */
  readonly different: number;
  /** Both failed, with the same code. */
  readonly sameError: number;
  /** Both failed, with another code. */
  readonly otherError: number;
  readonly newError: number;
  /** It failed then, and went well now. */
  readonly errorGone: number;
  /** No result of then is known, or one that says nothing (a deadlock, a lock that was waited for too long, a statement that was killed). */
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
  readonly plan: ComparedPlan | undefined;
}

export interface ComparedPlan {
  readonly then: string;
  readonly now: string;
  readonly changed: boolean;
}

/** Of the commands that went well both times, so that the same commands are in `then` and in `now`. */
export interface Latencies {
  readonly count: number;
  readonly meanUs: number;
  readonly p50Us: number;
  readonly p95Us: number;
  readonly p99Us: number;
  readonly maxUs: number;
  /** Counts: bucket n has those up to 2^(n/4) x 10 microseconds that no earlier one has. Empty ones at the end are left out. */
  readonly buckets: readonly number[];
}

export interface Example {
  readonly connectionId: number;
  readonly ordinal: number;
  /** When the capture saw it, ISO 8601. */
  readonly at: string;
  /** `rows 10 -> 9`, `affected rows 1 -> 0`, `error 0 -> 1146`, `rows differ`. */
  readonly what: string;
}

/** Shares are of 1. */
export interface Thresholds {
  /** Results that may differ, of those compared. */
  readonly differentMax: number;
  /** Errors that were not there then, or had another code, of those compared. */
  readonly newErrorMax: number;
  /** Errors that are no more, of those compared. */
  readonly errorGoneMax: number;
  /** Results with the same rows in another order than then under an ORDER BY, of those compared. */
  readonly otherOrderMax: number;
  /** How many times slower the p95 of a digest with at least 100 commands may be; 0: not looked at. */
  readonly p95FactorMax: number;
  /** Plans that may have changed, a number. */
  readonly planChangesMax: number;
  /** Commands that have nothing to compare, or were not sent other than on purpose (`read-only`, `filtered`, `kill`), of those that should have been. */
  readonly notComparedMax: number;
  /** Parts of the capture that may not be there or not be whole, a number: nobody knows what was in them. */
  readonly incompletePartsMax: number;
}
