import { compared, uncompared } from './outcomes.js';
import { counted, duration, grouped, percent, printable } from './printable-text.js';
import type { DigestReport, Outcomes, ReportedRun, TrafficReport } from './traffic-report.js';
import { differs, slowdown, verdictLine } from './verdict.js';

/** More are in the page and in the JSON. */
const rowsMax = 20;
const statementCharactersMax = 60;

/** For terminals and logs: the verdict on the first line, why, and the digests that matter most; no escape sequences. Ends with a newline. */
export function textReport(report: TrafficReport): string {
  const { failures, digests, warnings } = report;
  const shown = digests.slice(0, rowsMax);
  const more = digests.length > shown.length ? [`and ${counted(digests.length - shown.length, 'more digest')}`] : [];
  const parts = [
    [verdictLine(report)],
    failures.map(({ line }) => `  ${line}`),
    summary(report),
    warnings.map((warning) => `warning      ${printable(warning, 300)}`),
    shown.length > 0 ? [...table(shown), ...more] : [],
  ];
  return parts
    .filter((lines) => lines.length > 0)
    .map((lines) => `${lines.join('\n')}\n`)
    .join('\n');
}

function summary({ capture, replay, totals, then, now, plans }: TrafficReport): string[] {
  const skipped = Object.entries(totals.skipped).map(([reason, count]) => `${printable(reason, 60)} ${grouped(count)}`);
  const latency = (name: string, of: typeof then): string => (of === undefined ? `${name} not known` : `${name} ${duration(of.p50Us)} / ${duration(of.p95Us)} / ${duration(of.p99Us)}`);
  return [
    `capture      ${ran(capture)}`,
    `replay       ${ran(replay)}, speed ${replay.speed}${replay.readOnly ? ', read-only' : ''}, at most ${duration(replay.lagMaxMs * 1_000)} behind`,
    `equal        ${percent(totals.equal + totals.sameError, compared(totals))} of ${grouped(compared(totals))} compared${totals.otherOrder > 0 ? `, ${grouped(totals.otherOrder)} with rows in another order` : ''}`,
    `not compared ${grouped(uncompared(totals))}${skipped.length > 0 ? ` (not sent: ${skipped.join(', ')})` : ''}`,
    `plans        ${grouped(plans.changed)} of ${grouped(plans.compared)} changed`,
    `p50/p95/p99  ${latency('then', then)}, ${latency('now', now)}`,
  ];
}

function ran({ server, commands, connections, cutOff }: ReportedRun): string {
  const ended = cutOff === '' ? '' : `, cut off: ${printable(cutOff, 300)}`;
  return `${printable(server, 80) || 'server not known'}, ${counted(commands, 'command')} on ${counted(connections, 'connection')}${ended}`;
}

const heads = ['', 'digest', 'commands', 'different', 'errors', 'p95 then', 'p95 now', 'ratio', 'plan', 'statement'];
/** Columns of text; the others are of figures, which stand at the right. */
const leftColumns: ReadonlySet<number> = new Set([0, 1, 8, 9]);

function table(digests: readonly DigestReport[]): string[] {
  const rows = [heads, ...digests.map(cells)];
  const widths = heads.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) => row.map((cell, column) => (leftColumns.has(column) ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))).join('  ').trimEnd());
}

function cells(digest: DigestReport): string[] {
  const { then, now, plan } = digest;
  return [
    differs(digest) ? '!' : ' ',
    digest.digest.slice(0, 16),
    grouped(digest.commands),
    grouped(digest.different),
    errors(digest),
    then === undefined ? '-' : duration(then.p95Us),
    now === undefined ? '-' : duration(now.p95Us),
    slowdown(digest)?.toFixed(2) ?? '-',
    plan === undefined ? '-' : plan.changed ? 'changed' : 'same',
    printable(digest.text, statementCharactersMax),
  ];
}

/** `+3 -1`: so many are new or have another code, and so many are no more. */
function errors({ newError, otherError, errorGone }: Outcomes): string {
  const parts = [newError + otherError > 0 ? `+${grouped(newError + otherError)}` : '', errorGone > 0 ? `-${grouped(errorGone)}` : ''];
  return parts.filter(Boolean).join(' ') || '0';
}
