import type { CommandResult } from '../command-result.js';
import type { Outcomes } from './traffic-report.js';

/** How a command that was sent ended, compared with then. */
export type Outcome = Exclude<keyof Outcomes, 'commands' | 'otherOrder' | 'skipped'>;

/** Not sent because the operator said so, or because it would end a session: no reason to fail. */
const reasonsOnPurpose: ReadonlySet<string> = new Set(['read-only', 'filtered', 'kill']);

/**
 * Errors that come of when something ran rather than of what: that a command had one then says nothing of what it should do now. One that is
 * new is a new error all the same.
 */
const errorsOfTiming: ReadonlySet<number> = new Set([
  1053, // the server was shutting down
  1205, // lock wait timeout
  1213, // deadlock
  1317, // killed
  1927, // connection killed (MariaDB)
  1969, // max_statement_time (MariaDB)
  3024, // max_execution_time (MySQL, TiDB)
  3572, // NOWAIT (MySQL, TiDB)
  8002, // write conflict with SELECT ... FOR UPDATE (TiDB)
  8022, // failed to commit, may be tried again (TiDB)
  8028, // the schema changed meanwhile (TiDB)
  9001, // PD timed out (TiDB)
  9002, // TiKV timed out
  9003, // TiKV is busy
  9005, // region unavailable (TiDB)
  9007, // write conflict (TiDB)
]);

export interface ResultRules {
  /** The statement says in which order its rows come. */
  readonly hasOrder: boolean;
  /** Its rows are others every time it runs: only their number is compared. */
  readonly changesByNature: boolean;
}

export function outcomeOf(then: CommandResult | undefined, now: CommandResult, rules: ResultRules): Outcome {
  if (then === undefined) return 'notCompared';
  if (then.errorCode !== 0) {
    if (now.errorCode === then.errorCode) return 'sameError';
    if (errorsOfTiming.has(then.errorCode)) return now.errorCode === 0 ? 'notCompared' : 'newError';
    return now.errorCode === 0 ? 'errorGone' : 'otherError';
  }
  if (now.errorCode !== 0) return 'newError';
  return sameResult(then, now, rules) ? 'equal' : 'different';
}

function sameResult(then: CommandResult, now: CommandResult, { changesByNature }: ResultRules): boolean {
  if (then.rows !== now.rows || then.affectedRows !== now.affectedRows) return false;
  return changesByNature || then.unordered === now.unordered;
}

/** Of equal results: the same rows, not in the order of then, under an ORDER BY. Most often rows with equal values in it, which a server may give in any order. */
export function isInOtherOrder(then: CommandResult, now: CommandResult, { hasOrder, changesByNature }: ResultRules): boolean {
  return hasOrder && !changesByNature && then.ordered !== now.ordered;
}

/** For two results that are not equal. */
export function whatDiffers(then: CommandResult, now: CommandResult): string {
  if (then.errorCode !== now.errorCode) return `error ${then.errorCode} -> ${now.errorCode}`;
  if (then.rows !== now.rows) return `rows ${then.rows} -> ${now.rows}`;
  if (then.affectedRows !== now.affectedRows) return `affected rows ${then.affectedRows} -> ${now.affectedRows}`;
  return 'rows differ';
}

const outcomesThatDiffer: ReadonlySet<Outcome> = new Set<Outcome>(['different', 'otherError', 'newError', 'errorGone']);

export function isDifference(outcome: Outcome): boolean {
  return outcomesThatDiffer.has(outcome);
}

export function differing({ different, otherError, newError, errorGone }: Outcomes): number {
  return different + otherError + newError + errorGone;
}

export function compared(outcomes: Outcomes): number {
  return outcomes.equal + outcomes.sameError + differing(outcomes);
}

export function skippedInAll({ skipped }: Outcomes): number {
  return Object.values(skipped).reduce((sum, count) => sum + count, 0);
}

/** Those that should have been sent and compared. */
export function wanted(outcomes: Outcomes): number {
  return compared(outcomes) + uncompared(outcomes);
}

/** Of those wanted, without anything to compare. */
export function uncompared({ notCompared, skipped }: Outcomes): number {
  return Object.entries(skipped).reduce((sum, [reason, count]) => (reasonsOnPurpose.has(reason) ? sum : sum + count), notCompared);
}
