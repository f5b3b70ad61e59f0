import { expect, test } from '@jest/globals';
import { capture, command, digestOf, replay, result } from '../../../test/traffic-reports.js';
import { ReportBuilder, type ComparedCommand } from './report-builder.js';
import { htmlReport } from './html-report.js';
import { readReport, UnreadableReport } from './report-file.js';
import { textReport } from './text-report.js';
import type { ReplayedRun, Thresholds, TrafficReport } from './traffic-report.js';
import { defaultThresholds, failuresPerKindMax, judge, verdictLine } from './verdict.js';

function reportOf(commands: Iterable<ComparedCommand>, thresholds: Partial<Thresholds> = {}, run: ReplayedRun = replay): TrafficReport {
  const builder = new ReportBuilder();
  for (const each of commands) builder.add(each);
  return judge(builder.facts(capture, run), { ...defaultThresholds, ...thresholds });
}

const times = (count: number, each: ComparedCommand): ComparedCommand[] => Array.from({ length: count }, () => each);
const lines = ({ failures }: TrafficReport): string[] => failures.map(({ line }) => line);
const short = (text: string): string => digestOf(text).slice(0, 16);

test('equal results pass', () => {
  const report = reportOf(times(3, command('select ?')));
  expect([report.verdict, report.failures, verdictLine(report)]).toEqual(['PASS', [], 'PASS: every result equal; 3 of 3 commands compared']);
});

test('nothing compared is no pass', () => {
  expect(lines(reportOf([]))).toEqual(['nothing was compared: the replay had no commands']);
  expect(lines(reportOf([command('insert', { skipped: 'read-only' })]))).toEqual(['nothing was compared: no command was sent']);
  const report = reportOf([command('select ?', { then: undefined })]);
  expect(lines(report)).toEqual(['nothing was compared: the capture has no results, as those of TiProxy have none']);
  expect([report.verdict, verdictLine(report)]).toEqual(['FAIL', 'FAIL: nothing was compared; 0 of 1 command compared']);
});

test('a replay that was cut off is no pass, and neither is a capture with a part that is missing or not whole, unless it is allowed', () => {
  const report = reportOf([command('select ?')], {}, { ...replay, cutOff: 'cancelled by\nan operator' });
  expect(lines(report)).toEqual(['the replay was cut off: cancelled by an operator']);
  expect(verdictLine(report)).toBe('FAIL: every result equal; 1 of 1 command compared; the replay was cut off');
  const builder = new ReportBuilder();
  builder.add(command('select ?'));
  const facts = builder.facts({ ...capture, cutOff: 'the disk was full', incompleteParts: 1 }, replay);
  const ofPart = judge(facts, defaultThresholds);
  expect(lines(ofPart)).toEqual(['the capture is not whole: the disk was full']);
  expect(verdictLine(ofPart)).toBe('FAIL: every result equal; 1 of 1 command compared; the capture is not whole');
  expect(verdictLine(judge(facts, { ...defaultThresholds, incompletePartsMax: 1 }))).toBe('PASS: every result equal; 1 of 1 command compared; the capture is not whole');
});

test('every reason to fail names its digest and its text, the worst first', () => {
  const builder = new ReportBuilder();
  for (const each of [
    ...times(9, command('select gone', { then: result({ errorCode: 1406 }) })),
    ...times(2, command('select few', { now: result({ rows: 0 }) })),
    ...times(5, command('select many', { now: result({ rows: 9 }) })),
    ...times(1, command('select broken', { now: result({ errorCode: 1146 }) })),
  ]) builder.add(each);
  builder.addPlan(digestOf('select planned'), 'select planned', { then: 'IndexScan', now: 'TableScan', changed: true });
  const report = judge(builder.facts(capture, replay), defaultThresholds);
  expect(lines(report)).toEqual([
    `1 new error in 1 command (error 0 -> 1146): select broken [${short('select broken')}]`,
    `5 different results in 5 commands (rows 1 -> 9): select many [${short('select many')}]`,
    `2 different results in 2 commands (rows 1 -> 0): select few [${short('select few')}]`,
    `9 errors gone in 9 commands (error 1406 -> 0): select gone [${short('select gone')}]`,
    `another plan (0 commands): select planned [${short('select planned')}]`,
  ]);
  expect(report.failures[1]!.digest).toBe(digestOf('select many'));
  expect(verdictLine(report)).toBe('FAIL: 1 new error, 7 different results, 9 errors gone, 1 plan changed; 17 of 17 commands compared');
});

test('thresholds allow a share, and say what they allowed', () => {
  const commands = [...times(99, command('select ?')), command('select ?', { now: result({ rows: 0 }) })];
  expect(reportOf(commands, { differentMax: 0.009 }).verdict).toBe('FAIL');
  const report = reportOf(commands, { differentMax: 0.01 });
  expect([report.verdict, verdictLine(report)]).toEqual(['PASS', 'PASS: 1 different result, within the thresholds; 100 of 100 commands compared']);
});

test('plans may change up to a number', () => {
  const builder = new ReportBuilder();
  builder.add(command('a'));
  for (const text of ['a', 'b']) builder.addPlan(digestOf(text), text, { then: 'x', now: 'y', changed: true });
  const facts = builder.facts(capture, replay);
  expect(judge(facts, { ...defaultThresholds, planChangesMax: 2 }).verdict).toBe('PASS');
  expect(judge(facts, { ...defaultThresholds, planChangesMax: 1 }).failures).toHaveLength(2);
});

test('latencies are judged only where a factor is given, with enough commands, by more than noise', () => {
  const slower = (count: number, thenUs: number, nowUs: number) => times(count, command('select slow', { then: result({ latencyUs: thenUs }), now: result({ latencyUs: nowUs }) }));
  expect(reportOf(slower(100, 2_000, 8_000)).verdict).toBe('PASS');
  expect(lines(reportOf(slower(100, 2_000, 8_000), { p95FactorMax: 2 }))).toEqual([`p95 2 ms -> 8 ms (x 4.0): select slow [${short('select slow')}]`]);
  expect(verdictLine(reportOf(slower(100, 2_000, 8_000), { p95FactorMax: 2 }))).toContain('1 slower digest;');
  expect(reportOf(slower(99, 2_000, 8_000), { p95FactorMax: 2 }).verdict).toBe('PASS');
  expect(reportOf(slower(100, 200, 800), { p95FactorMax: 2 }).verdict).toBe('PASS');
  expect(reportOf(slower(100, 2_000, 8_000), { p95FactorMax: 5 }).verdict).toBe('PASS');
});

test('what could not be compared is no pass beyond its share, what was left out on purpose does not count', () => {
  const equal = times(98, command('select ?'));
  const missing = times(2, command('execute', { skipped: 'unprepared' }));
  expect(lines(reportOf([...equal, ...missing]))).toEqual(['not compared: 2 of 100 commands (2 %; unprepared 2)']);
  expect(reportOf([...equal, ...missing], { notComparedMax: 0.02 }).verdict).toBe('PASS');
  expect(reportOf([...equal, ...times(500, command('insert', { skipped: 'read-only' })), ...times(500, command('x', { skipped: 'filtered' })), command('kill ?', { skipped: 'kill' })]).verdict).toBe('PASS');
});

test('a statement that ends the server is a new error, however many others were equal', () => {
  const crash = command('select crash()', { now: result({ errorCode: 2013 }) });
  const report = reportOf([...times(999, command('select ?')), crash, ...times(9, command('select ?', { skipped: 'connection-lost' }))]);
  expect([report.verdict, lines(report)]).toEqual(['FAIL', [`1 new error in 1 command (error 0 -> 2013): select crash() [${short('select crash()')}]`]]);
});

test('where something was not compared it is not said that every result is equal', () => {
  const report = reportOf([...times(999, command('select ?')), ...times(10, command('select ?', { skipped: 'connection-lost' }))]);
  expect(verdictLine(report)).toBe('PASS: every compared result equal; 999 of 1,009 commands compared');
});

test('what the reader left out of the files is in every form of the report, and what was damaged is not compared', () => {
  const builder = new ReportBuilder();
  for (const each of times(9, command('select ?'))) builder.add(each);
  builder.damaged();
  for (let index = 1; index <= 25; index++) builder.warn(`<b>folder ${index}\u001b is not read`);
  const report = judge(builder.facts(capture, replay), defaultThresholds);
  expect(lines(report)).toEqual(['not compared: 1 of 10 commands (10 %; damaged 1)']);
  expect([report.warnings.length, report.warnings.at(-1), report.commandsOmitted]).toEqual([21, 'and 5 more', 0]);
  expect(textReport(report)).toMatch(/^warning {6}<b>folder 20\S* is not read\nwarning {6}and 5 more$/m);
  expect(htmlReport(report)).toContain('<li>&lt;b&gt;folder 20');
  expect(readReport(JSON.stringify(report))).toEqual(report);
});

test('rows with equal values may come in another order than then, which is said and is no failure unless asked for', () => {
  const tied = command('select a order by b', { now: result({ ordered: '00000000000000ab' }), hasOrder: true });
  const report = reportOf([...times(3, command('select ?')), tied, tied]);
  expect(verdictLine(report)).toBe('PASS: every result equal, 2 in another order of rows; 5 of 5 commands compared');
  expect(textReport(report)).toContain('\nequal        100 % of 5 compared, 2 with rows in another order\n');
  expect(htmlReport(report)).toContain('<span class="tag none">2 in another order</span>');
  expect(report.digests[0]).toMatchObject({ text: tied.text, equal: 2, otherOrder: 2 });
  expect(readReport(JSON.stringify(report))).toEqual(report);
  expect(judge(report, { ...defaultThresholds, otherOrderMax: 0.4 }).verdict).toBe('PASS');
  const strict = judge(report, { ...defaultThresholds, otherOrderMax: 0.3 });
  expect(verdictLine(strict)).toBe('FAIL: 2 results in another order of rows; 5 of 5 commands compared');
  expect(lines(strict)).toEqual([`2 results in another order of rows in 2 commands: ${tied.text} [${short(tied.text)}]`]);
});

test('many digests of one kind are named up to a limit and then counted, those without room too', () => {
  const builder = new ReportBuilder({ digestsMax: 50 });
  for (let index = 0; index < 60; index++) builder.add(command(`select ${index}`, { now: result({ rows: 0 }) }));
  const { failures } = judge(builder.facts(capture, replay), defaultThresholds);
  expect(failures).toHaveLength(failuresPerKindMax + 2);
  expect(failures.slice(-2).map(({ line }) => line)).toEqual(['and 30 more digests of this kind', '10 different results in digests that the report has no room for']);
});

const hostile = 'select \u001b[2J\u001b]0;owned\u0007 from `<script>alert(1)</script>`\r\nPASS: all well \u202eetihw\ud800';

test('a statement can neither write to the terminal nor forge a line', () => {
  const report = reportOf([command(hostile, { now: result({ rows: 0 }) })], {}, { ...replay, cutOff: hostile, server: hostile });
  const text = textReport(report);
  expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
  expect(text).not.toMatch(/\p{Cs}/u);
  expect(text.split('\n').filter((line) => line.startsWith('PASS'))).toEqual([]);
  expect(text.split('\n')[0]).toMatch(/^FAIL: /);
});

test('the text shows the verdict, the reasons and a table in columns', () => {
  const slow = command('select slow', { then: result({ latencyUs: 2_000 }), now: result({ latencyUs: 9_000 }) });
  const text = textReport(reportOf([...times(1_200, slow), command('select broken', { now: result({ errorCode: 1146 }) }), command('insert', { skipped: 'read-only' })]));
  expect(text).toBe(`FAIL: 1 new error; 1,201 of 1,202 commands compared

  1 new error in 1 command (error 0 -> 1146): select broken [${short('select broken')}]

capture      MariaDB 11.4.5, 1,000 commands on 20 connections
replay       MariaDB 11.8.2, 1,000 commands on 20 connections, speed 1, at most 45 ms behind
equal        99.92 % of 1,201 compared
not compared 0 (not sent: read-only 1)
plans        0 of 0 changed
p50/p95/p99  then 2 ms / 2 ms / 2 ms, now 9 ms / 9 ms / 9 ms

   digest            commands  different  errors  p95 then  p95 now  ratio  plan  statement
!  ${short('select broken')}         1          0      +1         -        -      -  -     select broken
   ${short('select slow')}     1,200          0       0      2 ms     9 ms   4.50  -     select slow
   ${short('insert')}         1          0       0         -        -      -  -     insert
`);
});

test('a report is read back as it was written, and may be judged by other thresholds', () => {
  const builder = new ReportBuilder();
  for (const each of [...times(10, command(hostile)), command('b', { now: result({ rows: 0 }) }), command('c', { skipped: '__proto__' })]) builder.add(each);
  builder.addPlan(digestOf('b'), 'b', { then: 'x', now: 'y', changed: true });
  const report = judge(builder.facts(capture, replay), { ...defaultThresholds, notComparedMax: 1 });
  const read = readReport(JSON.stringify(report));
  expect(read).toEqual(report);
  expect(judge(read, { ...read.thresholds, differentMax: 1, planChangesMax: 1 }).verdict).toBe('PASS');
});

test('a verdict that its figures do not bear is not believed', () => {
  const report = reportOf([command('a', { now: result({ rows: 0 }) })]);
  expect(readReport(JSON.stringify({ ...report, verdict: 'PASS', failures: [] }))).toEqual(report);
});

test('what is no report is refused, with the place of the fault', () => {
  const report = JSON.parse(JSON.stringify(reportOf([command('a', { now: result({ rows: 0 }) })]))) as Record<string, object[]>;
  const digest = report['digests']![0]!;
  const refused = (change: object): string => {
    try {
      readReport(JSON.stringify({ ...report, ...change }));
    } catch (error) {
      if (error instanceof UnreadableReport) return error.message;
      throw error;
    }
    return 'read';
  };
  expect(refused({})).toBe('read');
  expect(refused({ version: 2 })).toBe('version: only 1 is known');
  expect(refused({ digests: {} })).toBe('digests: a list of at most 5000 is wanted');
  expect(refused({ digests: [{ ...digest, equal: '<script>' }] })).toBe('digests[0].equal: a number is wanted');
  expect(refused({ digests: [{ ...digest, digest: '"><script>' }] })).toBe('digests[0].digest: at most 64 hexadecimal digits are wanted');
  expect(refused({ digests: [{ ...digest, text: 'x'.repeat(2_001) }] })).toBe('digests[0].text: a text of at most 2000 characters is wanted');
  expect(refused({ now: { ...(report['now'] as unknown as object), p95Us: -1 } })).toContain('now.p95Us');
  expect(refused({ now: undefined, then: { count: 1, buckets: Array(116).fill(0) } })).toContain('then.buckets');
  expect(refused({ thresholds: { ...defaultThresholds, differentMax: -1 } })).toContain('thresholds.differentMax');
  expect(refused({ replay: { ...replay, speed: null } })).toBe('replay.speed: a number is wanted');
  expect(() => readReport('{')).toThrow(UnreadableReport);
  expect(() => readReport('[]')).toThrow(UnreadableReport);
});
