import { compared, differing, skippedInAll, uncompared, wanted } from './outcomes.js';
import { counted, duration, grouped, percent, printable } from './printable-text.js';
import type { DigestReport, Failure, FailureKind, Latencies, Thresholds, TrafficFacts, TrafficReport } from './traffic-report.js';

/**
 * Nothing may be worse. Two things are not looked at unless asked for, since a check that fails by chance is soon one that nobody reads: latencies compare two
 * machines under two loads as much as two servers, and rows with equal values in an ORDER BY may come in any order.
 */
export const defaultThresholds: Thresholds = { differentMax: 0, newErrorMax: 0, errorGoneMax: 0, otherOrderMax: 1, p95FactorMax: 0, planChangesMax: 0, notComparedMax: 0.01, incompletePartsMax: 0 };

/** Fewer commands have no p95 worth the name. */
export const p95CommandsMin = 100;
/** A point read that takes 0.3 ms in the place of 0.1 ms is noise. */
export const p95SlowerByUsMin = 1_000;
/** Of one kind; how many more there are is then said in one line. */
export const failuresPerKindMax = 20;

const statementCharactersMax = 160;

/** The same facts may be judged again, with other thresholds. */
export function judge(facts: TrafficFacts, thresholds: Thresholds): TrafficReport {
  const failures = [...failuresOfTheWhole(facts, thresholds), ...failuresOfResults(facts, thresholds), ...planFailures(facts, thresholds), ...latencyFailures(facts, thresholds)];
  return { ...facts, verdict: failures.length === 0 ? 'PASS' : 'FAIL', failures, thresholds };
}

/** One line: the verdict, and what it stands on. */
export function verdictLine({ verdict, failures, totals, plans, digests, capture, replay, thresholds }: TrafficReport): string {
  const otherOrder = failures.some(({ kind }) => kind === 'other-order') ? totals.otherOrder : 0;
  const kinds = [
    counted(totals.newError + totals.otherError, 'new error'),
    counted(totals.different, 'different result'),
    counted(totals.errorGone, 'error gone', 'errors gone'),
    `${counted(otherOrder, 'result')} in another order of rows`,
    `${counted(plans.changed, 'plan')} changed`,
    counted(slower(digests, thresholds).length, 'slower digest'),
  ].filter((kind) => !kind.startsWith('0 '));
  const found = kinds.length > 0 ? `${kinds.join(', ')}${verdict === 'PASS' ? ', within the thresholds' : ''}` : nothingFound(totals);
  const cutOff = `${capture.cutOff === '' ? '' : '; the capture is not whole'}${replay.cutOff === '' ? '' : '; the replay was cut off'}`;
  return `${verdict}: ${found}; ${grouped(compared(totals))} of ${counted(totals.commands, 'command')} compared${cutOff}`;
}

/** Without a difference. */
function nothingFound(totals: TrafficFacts['totals']): string {
  if (compared(totals) === 0) return 'nothing was compared';
  const all = compared(totals) < totals.commands ? 'every compared result equal' : 'every result equal';
  return totals.otherOrder > 0 ? `${all}, ${grouped(totals.otherOrder)} in another order of rows` : all;
}

function* failuresOfTheWhole({ totals, capture, replay }: TrafficFacts, { notComparedMax, incompletePartsMax }: Thresholds): Generator<Failure> {
  const nothing = compared(totals) === 0;
  if (nothing) yield ofTheWhole('nothing-compared', `nothing was compared: ${whyNothing(totals)}`);
  if (replay.cutOff !== '') yield ofTheWhole('cut-off', `the replay was cut off: ${printable(replay.cutOff, 300)}`);
  if (capture.incompleteParts > incompletePartsMax) yield ofTheWhole('incomplete', `the capture is not whole: ${printable(capture.cutOff, 300)}`);
  const without = uncompared(totals);
  if (nothing || without <= notComparedMax * wanted(totals)) return;
  const reasons = Object.entries({ 'no result of then': totals.notCompared, ...totals.skipped }).filter(([, count]) => count > 0);
  const said = reasons.map(([reason, count]) => `${printable(reason, 60)} ${grouped(count)}`).join(', ');
  yield ofTheWhole('not-compared', `not compared: ${grouped(without)} of ${counted(wanted(totals), 'command')} (${percent(without, wanted(totals))}; ${said})`);
}

function whyNothing(totals: TrafficFacts['totals']): string {
  if (totals.commands === 0) return 'the replay had no commands';
  const skipped = skippedInAll(totals);
  return skipped === totals.commands ? 'no command was sent' : 'the capture has no results, as those of TiProxy have none';
}

function ofTheWhole(kind: FailureKind, line: string): Failure {
  return { kind, digest: undefined, line };
}

interface ResultKind {
  readonly kind: FailureKind;
  readonly max: keyof Thresholds;
  readonly count: (outcomes: TrafficFacts['totals']) => number;
  readonly named: (count: number) => string;
  /** What its examples say; absent: it has none. */
  readonly what?: RegExp;
}

const resultKinds: readonly ResultKind[] = [
  { kind: 'new-error', max: 'newErrorMax', count: ({ newError, otherError }) => newError + otherError, named: (count) => counted(count, 'new error'), what: /^error \d+ -> (?!0$)/ },
  { kind: 'different', max: 'differentMax', count: ({ different }) => different, named: (count) => counted(count, 'different result'), what: /^(?!error )/ },
  { kind: 'error-gone', max: 'errorGoneMax', count: ({ errorGone }) => errorGone, named: (count) => counted(count, 'error gone', 'errors gone'), what: /^error \d+ -> 0$/ },
  { kind: 'other-order', max: 'otherOrderMax', count: ({ otherOrder }) => otherOrder, named: (count) => `${counted(count, 'result')} in another order of rows` },
];

function* failuresOfResults({ totals, digests }: TrafficFacts, thresholds: Thresholds): Generator<Failure> {
  for (const { kind, max, count, named, what } of resultKinds) {
    if (count(totals) <= thresholds[max] * compared(totals)) continue;
    const all = digests.filter((digest) => count(digest) > 0).toSorted((a, b) => count(b) - count(a));
    yield* firstOf(kind, all, (digest) => `${named(count(digest))} in ${counted(compared(digest), 'command')}${example(digest, what)}`);
    const unnamed = count(totals) - all.reduce((sum, digest) => sum + count(digest), 0);
    if (unnamed > 0) yield ofTheWhole(kind, `${named(unnamed)} in digests that the report has no room for`);
  }
}

function example({ examples }: DigestReport, wanted: RegExp | undefined): string {
  const fitting = wanted && examples.find(({ what }) => wanted.test(what));
  return fitting === undefined ? '' : ` (${printable(fitting.what, 80)})`;
}

function* planFailures({ plans, digests }: TrafficFacts, { planChangesMax }: Thresholds): Generator<Failure> {
  if (plans.changed <= planChangesMax) return;
  const changed = digests.filter(({ plan }) => plan?.changed);
  yield* firstOf('plan', changed.toSorted((a, b) => b.commands - a.commands), ({ commands }) => `another plan (${counted(commands, 'command')})`);
  if (plans.changed > changed.length) yield ofTheWhole('plan', `another plan for ${counted(plans.changed - changed.length, 'digest')} that the report has no room for`);
}

function* latencyFailures({ digests }: TrafficFacts, thresholds: Thresholds): Generator<Failure> {
  yield* firstOf('slower', slower(digests, thresholds), (digest) => `p95 ${duration(digest.then!.p95Us)} -> ${duration(digest.now!.p95Us)} (x ${slowdown(digest)!.toFixed(1)})`);
}

/** The worst first. */
function slower(digests: readonly DigestReport[], { p95FactorMax }: Thresholds): DigestReport[] {
  if (p95FactorMax === 0) return [];
  const found = digests.filter(({ then, now }) => enough(then) && enough(now) && now.p95Us > p95FactorMax * then.p95Us && now.p95Us - then.p95Us >= p95SlowerByUsMin);
  return found.toSorted((a, b) => slowdown(b)! - slowdown(a)!);
}

function enough(latencies: Latencies | undefined): latencies is Latencies {
  return latencies !== undefined && latencies.count >= p95CommandsMin;
}

/** Of the p95; undefined: it is not known of both. */
export function slowdown({ then, now }: Pick<DigestReport, 'then' | 'now'>): number | undefined {
  return then === undefined || now === undefined ? undefined : now.p95Us / Math.max(1, then.p95Us);
}

function* firstOf(kind: FailureKind, digests: readonly DigestReport[], what: (digest: DigestReport) => string): Generator<Failure> {
  for (const digest of digests.slice(0, failuresPerKindMax)) {
    const { text, digest: id } = digest;
    yield { kind, digest: id, line: `${what(digest)}: ${printable(text, statementCharactersMax)} [${printable(id.slice(0, 16))}]` };
  }
  const rest = digests.length - failuresPerKindMax;
  if (rest > 0) yield ofTheWhole(kind, `and ${counted(rest, 'more digest')} of this kind`);
}

/** Whether anything of it is other than then. */
export function differs(digest: DigestReport): boolean {
  return differing(digest) > 0 || digest.plan?.changed === true;
}
