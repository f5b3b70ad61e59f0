import { expect, test } from '@jest/globals';
import { capture, command, digestOf, replay, result } from '../../../test/traffic-reports.js';
import { LatencyHistogram } from './latency-histogram.js';
import { ReportBuilder, skipReasonsMax, type ComparedCommand } from './report-builder.js';
import type { TrafficFacts } from './traffic-report.js';

function factsOf(commands: Iterable<ComparedCommand>, digestsMax?: number): TrafficFacts {
  const builder = new ReportBuilder({ ...(digestsMax !== undefined && { digestsMax }) });
  for (const each of commands) builder.add(each);
  return builder.facts(capture, replay);
}

const outcomeOf = (change: Partial<ComparedCommand>): string => {
  const { totals } = factsOf([command('select 1', change)]);
  return Object.entries(totals).filter(([name, count]) => name !== 'commands' && count === 1).map(([name]) => name).join();
};

test('rows in another order are equal, which is counted where the statement says their order', () => {
  const now = result({ ordered: '00000000000000ab' });
  expect(outcomeOf({ now })).toBe('equal');
  expect(outcomeOf({ now, hasOrder: true })).toBe('equal,otherOrder');
  expect(outcomeOf({ hasOrder: true })).toBe('equal');
  expect(outcomeOf({ now, hasOrder: true, changesByNature: true })).toBe('equal');
  expect(outcomeOf({ now: result({ ordered: 'x', unordered: 'y' }), hasOrder: true })).toBe('different');
  expect(outcomeOf({ now: result({ unordered: '00000000000000bc' }) })).toBe('different');
});

test('of what changes by nature the numbers of rows are compared alone', () => {
  const now = result({ ordered: 'x', unordered: 'y' });
  expect(outcomeOf({ now, changesByNature: true })).toBe('equal');
  expect(outcomeOf({ now: { ...now, rows: 2 }, changesByNature: true })).toBe('different');
});

test('writes are compared by the rows they affected', () => {
  expect(outcomeOf({ then: result({ affectedRows: 1 }), now: result({ affectedRows: 0 }) })).toBe('different');
});

test('errors are compared by their codes', () => {
  const failed = (errorCode: number) => result({ errorCode, rows: 0 });
  expect(outcomeOf({ then: failed(1146), now: failed(1146) })).toBe('sameError');
  expect(outcomeOf({ then: failed(1146), now: failed(1054) })).toBe('otherError');
  expect(outcomeOf({ now: failed(1146) })).toBe('newError');
  expect(outcomeOf({ then: failed(1406) })).toBe('errorGone');
});

test('a deadlock of then says nothing of now, a new one is a new error', () => {
  const deadlock = result({ errorCode: 1213 });
  expect(outcomeOf({ then: deadlock })).toBe('notCompared');
  expect(outcomeOf({ then: deadlock, now: deadlock })).toBe('sameError');
  expect(outcomeOf({ then: deadlock, now: result({ errorCode: 1146 }) })).toBe('newError');
  expect(outcomeOf({ now: deadlock })).toBe('newError');
});

test('what was not sent counts by its reason, and what no response came for counts too', () => {
  const { totals, digests } = factsOf([command('a', { now: undefined, skipped: 'read-only' }), command('a', { now: undefined }), command('a', { then: undefined })]);
  expect(totals).toMatchObject({ commands: 3, notCompared: 1, skipped: { 'read-only': 1, 'no-response': 1 } });
  expect(digests[0]).toMatchObject({ commands: 3, then: undefined, now: { count: 1 } });
});

test('reasons without end are kept apart up to a limit', () => {
  const { totals } = factsOf(Array.from({ length: 100 }, (_, index) => command('a', { skipped: index === 0 ? '__proto__' : `reason ${index}` })));
  expect(Object.keys(totals.skipped)).toHaveLength(skipReasonsMax);
  expect(totals.skipped['other']).toBe(69);
  expect(Object.getOwnPropertyDescriptor(totals.skipped, '__proto__')?.value).toBe(1);
});

test('a digest names the first few commands that differ, and what of them', () => {
  const changes = [result({ rows: 0 }), result({ affectedRows: 5 }), result({ errorCode: 1146 }), result({ unordered: 'x' }), result({ rows: 9 }), result({ rows: 8 })];
  const { digests } = factsOf(changes.map((now, index) => command('a', { now, then: result({ ordinal: index + 1 }) })));
  expect(digests[0]!.examples.map(({ what }) => what)).toEqual(['rows 1 -> 0', 'affected rows 0 -> 5', 'error 0 -> 1146', 'rows differ', 'rows 1 -> 9']);
  expect(digests[0]!.examples[1]).toEqual({ connectionId: 7, ordinal: 2, at: '2026-01-02T03:04:05.000Z', what: 'affected rows 0 -> 5' });
});

test('latencies are of the commands that went well both times', () => {
  const failed = result({ errorCode: 1146, latencyUs: 1 });
  const { digests, then, now } = factsOf([command('a'), command('a', { now: failed }), command('a', { then: failed, now: failed })]);
  expect([then?.count, now?.count, digests[0]!.then?.count, digests[0]!.now?.count]).toEqual([1, 1, 1, 1]);
});

test('digests that differ come first, then those whose plan changed, then by their number', () => {
  const builder = new ReportBuilder();
  for (let index = 0; index < 9; index++) builder.add(command('often'));
  builder.add(command('seldom'));
  builder.add(command('differs', { now: result({ rows: 0 }) }));
  builder.addPlan(digestOf('planned'), 'planned', { then: 'a', now: 'b', changed: true });
  builder.addPlan(digestOf('seldom'), 'seldom', { then: 'a', now: 'a', changed: false });
  const { digests, plans } = builder.facts(capture, replay);
  expect(digests.map(({ text }) => text)).toEqual(['differs', 'planned', 'often', 'seldom']);
  expect(plans).toEqual({ compared: 2, changed: 1 });
});

test('beyond its limit a report keeps what differs and what is frequent, and its totals have everything', () => {
  function* commands(): Generator<ComparedCommand> {
    for (let index = 0; index < 20_000; index++) {
      yield command(`once ${index}`);
      if (index % 2 === 0) yield command('frequent');
      if (index % 500 === 0) yield command(`differs ${index}`, { now: result({ rows: 0 }) });
    }
  }
  const { digests, totals, commandsOmitted } = factsOf(commands(), 100);
  expect(digests.length).toBeLessThanOrEqual(100);
  expect(digests.filter(({ different }) => different === 1)).toHaveLength(40);
  expect(digests.find(({ text }) => text === 'frequent')!.commands).toBe(10_000);
  expect(totals).toMatchObject({ commands: 30_040, equal: 30_000, different: 40 });
  expect(commandsOmitted).toBe(30_040 - digests.reduce((sum, { commands: some }) => sum + some, 0));
});

test('where more differ than there is room for, the rest is counted', () => {
  const { digests, totals, commandsOmitted } = factsOf(Array.from({ length: 50 }, (_, index) => command(`differs ${index}`, { now: result({ rows: 0 }) })), 10);
  expect([digests.length, totals.different, commandsOmitted]).toEqual([10, 50, 40]);
});

test('texts and plans of any length are cut', () => {
  const builder = new ReportBuilder();
  builder.add(command('x'.repeat(1e6)));
  builder.addPlan(digestOf('p'), 'p', { then: 'y'.repeat(1e6), now: '', changed: false });
  const { digests } = builder.facts({ ...capture, server: 's'.repeat(1e6) }, replay);
  expect(digests.map(({ text }) => text.length).toSorted((a, b) => a - b)).toEqual([1, 2_000]);
  expect(JSON.stringify(builder.facts({ ...capture, server: 's'.repeat(1e6) }, replay)).length).toBeLessThan(20_000);
});

test('percentiles are as close as buckets of a fourth of a doubling allow', () => {
  const histogram = new LatencyHistogram();
  for (let us = 1; us <= 100_000; us++) histogram.add(us);
  const { p50Us, p95Us, p99Us, maxUs, meanUs, count } = histogram.latencies()!;
  expect([count, maxUs, meanUs]).toEqual([100_000, 100_000, 50_001]);
  for (const [found, exact] of [[p50Us, 50_000], [p95Us, 95_000], [p99Us, 99_000]] as const) expect(Math.abs(found / exact - 1)).toBeLessThan(0.02);
});

test('one latency is all of its percentiles, however short or long', () => {
  for (const us of [0, 7, 10, 123, 3_600e6, 90_000e6]) {
    const histogram = new LatencyHistogram();
    histogram.add(us);
    expect(histogram.latencies()).toMatchObject({ p50Us: us, p95Us: us, p99Us: us, maxUs: us });
  }
});

test('a latency at the bound of a bucket is in it', () => {
  const histogram = new LatencyHistogram();
  histogram.add(10);
  histogram.add(20);
  histogram.add(40);
  expect(histogram.latencies()!.buckets).toEqual([1, 0, 0, 0, 1, 0, 0, 0, 1]);
  expect(new LatencyHistogram().latencies()).toBeUndefined();
});
