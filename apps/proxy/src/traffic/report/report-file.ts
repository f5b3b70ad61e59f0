import { bucketsMax } from './latency-histogram.js';
import { digestsMax, examplesMax, planCharactersMax, skipReasonsMax, textCharactersMax, warningCharactersMax, warningsMax } from './report-builder.js';
import type { ComparedPlan, DigestReport, Example, Latencies, Outcomes, ReplayedRun, ReportedRun, Thresholds, TrafficFacts, TrafficReport } from './traffic-report.js';
import { judge } from './verdict.js';

/** What was given is no report, or one of another version. The message says where. */
export class UnreadableReport extends Error {
  override readonly name = 'UnreadableReport';
}

/**
 * A report that was written as JSON, judged anew by the thresholds in it, so that no verdict is believed that its figures do not bear. Whatever is not as it
 * should be throws UnreadableReport: pages are made of it.
 */
export function readReport(json: string): TrafficReport {
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch (error) {
    throw new UnreadableReport(`not JSON: ${(error as Error).message}`);
  }
  const report = fieldsOf(parsed, 'report');
  if (report['version'] !== 1) throw new UnreadableReport('version: only 1 is known');
  const plans = fieldsOf(report['plans'], 'plans');
  const facts: TrafficFacts = {
    version: 1,
    capture: { ...run(report['capture'], 'capture'), incompleteParts: count(fieldsOf(report['capture'], 'capture'), 'incompleteParts', 'capture') },
    replay: replayed(report['replay']),
    totals: outcomes(report['totals'], 'totals'),
    then: latencies(report['then'], 'then'),
    now: latencies(report['now'], 'now'),
    plans: { compared: count(plans, 'compared', 'plans'), changed: count(plans, 'changed', 'plans') },
    digests: list(report['digests'], 'digests', digestsMax).map((digest, index) => digestReport(digest, `digests[${index}]`)),
    commandsOmitted: count(report, 'commandsOmitted', 'report'),
    warnings: list(report['warnings'], 'warnings', warningsMax + 1).map((warning) => text({ warning }, 'warning', 'warnings', warningCharactersMax)),
  };
  return judge(facts, thresholds(report['thresholds']));
}

type Fields = Readonly<Record<string, unknown>>;

function fieldsOf(value: unknown, where: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new UnreadableReport(`${where}: an object is wanted`);
  return value as Fields;
}

function list(value: unknown, where: string, max: number): readonly unknown[] {
  if (!Array.isArray(value) || value.length > max) throw new UnreadableReport(`${where}: a list of at most ${max} is wanted`);
  return value;
}

function number(fields: Fields, name: string, where: string): number {
  const value = fields[name];
  if (typeof value !== 'number' || !Number.isFinite(value)) throw new UnreadableReport(`${where}.${name}: a number is wanted`);
  return value;
}

function count(fields: Fields, name: string, where: string): number {
  const value = number(fields, name, where);
  if (value < 0 || !Number.isSafeInteger(value)) throw new UnreadableReport(`${where}.${name}: a whole number from 0 on is wanted`);
  return value;
}

function text(fields: Fields, name: string, where: string, charactersMax = textCharactersMax): string {
  const value = fields[name];
  if (typeof value !== 'string' || value.length > charactersMax) throw new UnreadableReport(`${where}.${name}: a text of at most ${charactersMax} characters is wanted`);
  return value;
}

function flag(fields: Fields, name: string, where: string): boolean {
  const value = fields[name];
  if (typeof value !== 'boolean') throw new UnreadableReport(`${where}.${name}: true or false is wanted`);
  return value;
}

function thresholds(value: unknown): Thresholds {
  const fields = fieldsOf(value, 'thresholds');
  const limit = (name: keyof Thresholds): number => {
    const given = number(fields, name, 'thresholds');
    if (given < 0) throw new UnreadableReport(`thresholds.${name}: a number from 0 on is wanted`);
    return given;
  };
  return {
    differentMax: limit('differentMax'),
    newErrorMax: limit('newErrorMax'),
    errorGoneMax: limit('errorGoneMax'),
    otherOrderMax: limit('otherOrderMax'),
    p95FactorMax: limit('p95FactorMax'),
    planChangesMax: limit('planChangesMax'),
    notComparedMax: limit('notComparedMax'),
    incompletePartsMax: limit('incompletePartsMax'),
  };
}

function run(value: unknown, where: string): ReportedRun {
  const fields = fieldsOf(value, where);
  return {
    from: text(fields, 'from', where),
    to: text(fields, 'to', where),
    commands: count(fields, 'commands', where),
    connections: count(fields, 'connections', where),
    server: text(fields, 'server', where),
    cutOff: text(fields, 'cutOff', where),
  };
}

function replayed(value: unknown): ReplayedRun {
  const fields = fieldsOf(value, 'replay');
  return {
    ...run(value, 'replay'),
    speed: number(fields, 'speed', 'replay'),
    readOnly: flag(fields, 'readOnly', 'replay'),
    lagMs: number(fields, 'lagMs', 'replay'),
    lagMaxMs: number(fields, 'lagMaxMs', 'replay'),
  };
}

function outcomes(value: unknown, where: string): Outcomes {
  const fields = fieldsOf(value, where);
  const skipped = fieldsOf(fields['skipped'], `${where}.skipped`);
  const reasons = list(Object.keys(skipped), `${where}.skipped`, skipReasonsMax) as readonly string[];
  return {
    commands: count(fields, 'commands', where),
    equal: count(fields, 'equal', where),
    otherOrder: count(fields, 'otherOrder', where),
    different: count(fields, 'different', where),
    sameError: count(fields, 'sameError', where),
    otherError: count(fields, 'otherError', where),
    newError: count(fields, 'newError', where),
    errorGone: count(fields, 'errorGone', where),
    notCompared: count(fields, 'notCompared', where),
    skipped: Object.fromEntries(reasons.map((reason) => [reason, count(skipped, reason, `${where}.skipped`)])),
  };
}

function digestReport(value: unknown, where: string): DigestReport {
  const fields = fieldsOf(value, where);
  const digest = text(fields, 'digest', where);
  if (!/^[0-9a-f]{1,64}$/.test(digest)) throw new UnreadableReport(`${where}.digest: at most 64 hexadecimal digits are wanted`);
  return {
    digest,
    text: text(fields, 'text', where),
    ...outcomes(value, where),
    then: latencies(fields['then'], `${where}.then`),
    now: latencies(fields['now'], `${where}.now`),
    examples: list(fields['examples'], `${where}.examples`, examplesMax).map((example) => exampleOf(example, `${where}.examples`)),
    plan: plan(fields['plan'], `${where}.plan`),
  };
}

function exampleOf(value: unknown, where: string): Example {
  const fields = fieldsOf(value, where);
  return { connectionId: count(fields, 'connectionId', where), ordinal: count(fields, 'ordinal', where), at: text(fields, 'at', where), what: text(fields, 'what', where) };
}

function plan(value: unknown, where: string): ComparedPlan | undefined {
  if (value === undefined) return undefined;
  const fields = fieldsOf(value, where);
  return { then: text(fields, 'then', where, planCharactersMax), now: text(fields, 'now', where, planCharactersMax), changed: flag(fields, 'changed', where) };
}

function latencies(value: unknown, where: string): Latencies | undefined {
  if (value === undefined) return undefined;
  const fields = fieldsOf(value, where);
  const buckets = list(fields['buckets'], `${where}.buckets`, bucketsMax);
  if (!buckets.every((bucket) => Number.isSafeInteger(bucket) && (bucket as number) >= 0)) throw new UnreadableReport(`${where}.buckets: whole numbers are wanted`);
  const figure = (name: string): number => count(fields, name, where);
  return { count: figure('count'), meanUs: figure('meanUs'), p50Us: figure('p50Us'), p95Us: figure('p95Us'), p99Us: figure('p99Us'), maxUs: figure('maxUs'), buckets: buckets as readonly number[] };
}
