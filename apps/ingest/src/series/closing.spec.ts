import { expect, test } from '@jest/globals';
import { FakeClock } from '@binnacle/testing/fake-clock';
import type { FlushedSeries } from './figures.js';
import type { MetricKind } from './metric-kind.js';
import { SeriesStore } from './series-store.js';
import type { CounterSeries, GaugeSeries, Series, SetSeries, TimerSeries } from './series.js';

const limits = { seriesMax: 1e6, keyspaceSeriesMax: 1e6, timerValuesMax: 4, setMembersMax: 4, expiryMs: 60_000 };
const flush = { intervalS: 10, percents: [] };

function made() {
  const clock = new FakeClock();
  const store = new SeriesStore(limits, clock);
  const series = <Kind extends MetricKind>(kind: Kind, name: string) => store.series({ kind, name, tags: [], source: '' }) as Extract<Series, { kind: Kind }>;
  return { clock, store, series };
}

const valuesOf = (flushed: readonly FlushedSeries[]): Record<string, number | undefined> => Object.fromEntries(flushed.map(({ identity, figures }) => [identity.name, figures[0]?.value]));

test('what comes while a flush is under way is of the next one, whether its series was closed already or not', async () => {
  const { store, series } = made();
  const counters: CounterSeries[] = [];
  for (let at = 0; at < 200_000; at++) counters.push(series('counter', `c${at}`));
  for (const counter of counters) store.count(counter, 1);
  const closing = store.beginFlush(flush);
  let turns = 0;
  let isThrough = false;
  const flushed = closing.run().finally(() => (isThrough = true));
  while (!isThrough) {
    for (const at of [0, 1, 199_999]) store.count(counters[at] as CounterSeries, 5);
    store.count(series('counter', `new${turns}`), 7);
    turns += 1;
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(turns).toBeGreaterThan(2);
  const first = await flushed;
  expect(first).toHaveLength(200_000);
  expect(first.every(({ figures }) => figures[0]?.value === 1)).toBe(true);
  expect(valuesOf(store.flush(flush))).toEqual({ c0: 5 * turns, c1: 5 * turns, c199999: 5 * turns, ...Object.fromEntries(Array.from({ length: turns }, (_, turn) => [`new${turn}`, 7])) });
  expect(counters[0]?.total).toBe(1 + 5 * turns);
});

test('every kind of series begins anew when something comes for it before it is closed, and gives its room back', () => {
  const { store, series } = made();
  const [timer, set, gauge]: [TimerSeries, SetSeries, GaugeSeries] = [series('timer', 't'), series('set', 's'), series('gauge', 'g')];
  for (const value of [1, 2, 3, 4]) {
    store.time(timer, value, 1);
    store.addMember(set, `m${value}`);
    store.changeGauge(gauge, value);
  }
  const closing = store.beginFlush(flush);
  for (const value of [1, 2, 3, 4]) {
    store.time(timer, value, 1);
    store.addMember(set, `m${value}`);
  }
  store.changeGauge(gauge, -3);
  expect(valuesOf(closing.finish())).toEqual({ t: 4, s: 4, g: 10 });
  expect(valuesOf(store.flush(flush))).toEqual({ t: 4, s: 4, g: 7 });
  expect(store.losses).toEqual({ overflowed: 0, timerValues: 0, setMembers: 0 });
});

test('a flush that begins before the last one is through finishes that one', async () => {
  const { store, series } = made();
  store.count(series('counter', 'a'), 1);
  const first = store.beginFlush(flush);
  store.count(series('counter', 'b'), 2);
  const second = store.beginFlush(flush);
  expect([valuesOf(await first.run()), valuesOf(await second.run())]).toEqual([{ a: 1 }, { b: 2 }]);
});

test('what expires while a flush is under way is found anew', async () => {
  const { clock, store, series } = made();
  store.count(series('counter', 'a'), 1);
  store.flush(flush);
  await clock.advance(60_001);
  const closing = store.beginFlush(flush);
  store.count(series('counter', 'a'), 2);
  await closing.run();
  expect(valuesOf(store.flush(flush))).toEqual({ a: 2 });
});

test('a gauge that is another one’s and was never added up here is handed over as it changed', () => {
  const { store, series } = made();
  const handed: [number, boolean][] = [];
  store.changeGauge(series('gauge', 'g'), 5);
  store.flush({ ...flush, isOfAnother: () => true, handOver: (each) => handed.push([(each as GaugeSeries).value, (each as GaugeSeries).wasSet]) });
  expect(handed).toEqual([[5, false]]);
});
