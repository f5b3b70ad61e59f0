import { expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { readEventMessage } from '../messages/event-message.js';
import { readRawMessage } from '../messages/raw-message.js';
import type { CounterSeries, GaugeSeries, SetSeries, TimerSeries } from '../series/series.js';
import { SeriesStore } from '../series/series-store.js';
import { encodeEvent, RawMessageWriter } from './raw-message-writer.js';

const schemaFolder = new URL('../../schema/', import.meta.url).pathname;
const decoded = (message: Buffer): string => execFileSync('protoc', ['--decode=gostatsd.RawMessageV2', '-I', schemaFolder, 'gostatsd.proto'], { input: message }).toString().replace(/\s+/g, ' ').trim();

const newStore = (): SeriesStore => new SeriesStore({ seriesMax: 100_000, keyspaceSeriesMax: 100_000, timerValuesMax: 100, setMembersMax: 100, expiryMs: 1_000 }, new FakeClock());

test('protoc reads what is written, with all series of a name in one entry', () => {
  const store = newStore();
  store.count(store.series({ kind: 'counter', name: 'hits', tags: ['a', 'b:1'], source: 'web-1' }) as CounterSeries, 5);
  store.setGauge(store.series({ kind: 'gauge', name: 'load', tags: [], source: '' }) as GaugeSeries, -0.25);
  store.count(store.series({ kind: 'counter', name: 'hits', tags: [], source: 'web-2' }) as CounterSeries, -7);
  store.addMember(store.series({ kind: 'set', name: 'users', tags: [], source: '' }) as SetSeries, 'anna');
  const timer = store.series({ kind: 'timer', name: 'took', tags: [], source: '' }) as TimerSeries;
  store.time(timer, 1.5, 10);
  store.time(timer, 2.5, 10);
  const writer = new RawMessageWriter('gostatsd');
  store.flush({ intervalS: 10, percents: [], beforeClose: (series) => writer.add(series) });
  const [message, ...others] = writer.take();
  expect(others).toEqual([]);
  expect(decoded(message as Buffer)).toBe(
    [
      'Counters { key: "hits" value {',
      'TagMap { key: ",s:web-2" value { Hostname: "web-2" Value: -7 } }',
      'TagMap { key: "a,b:1,s:web-1" value { Tags: "a" Tags: "b:1" Hostname: "web-1" Value: 5 } } } }',
      'Gauges { key: "load" value { TagMap { key: ",s:" value { Value: -0.25 } } } }',
      'Sets { key: "users" value { TagMap { key: ",s:" value { Values: "anna" } } } }',
      'Timers { key: "took" value { TagMap { key: ",s:" value { SampleCount: 20 Values: 1.5 Values: 2.5 } } } }',
    ].join(' '),
  );
  expect(writer.take()).toEqual([]);
});

test('what is left over of a counter goes with its next flush', () => {
  const store = newStore();
  const writer = new RawMessageWriter('gostatsd');
  const sent: number[] = [];
  for (let flush = 0; flush < 7; flush++) {
    store.count(store.series({ kind: 'counter', name: 'sampled', tags: [], source: '' }) as CounterSeries, 1 / 0.3);
    store.flush({ intervalS: 10, percents: [], beforeClose: (series) => writer.add(series) });
    const nothing = (): void => {};
    for (const message of writer.take()) readRawMessage(message, { counter: (_series, value) => sent.push(value), gauge: nothing, gaugeChange: nothing, set: nothing, timer: nothing });
  }
  expect(sent).toEqual([3, 3, 4, 3, 3, 4, 3]);
});

test('many series become several messages, and none is lost', () => {
  const store = newStore();
  for (let at = 0; at < 30_000; at++) store.count(store.series({ kind: 'counter', name: `m${at % 7}`, tags: [`tag:${at}`], source: '' }) as CounterSeries, at);
  const writer = new RawMessageWriter('gostatsd');
  store.flush({ intervalS: 10, percents: [], beforeClose: (series) => writer.add(series) });
  const messages = writer.take();
  const read = new Map<string, number>();
  const nothing = (): void => {};
  for (const message of messages) readRawMessage(message, { counter: ({ name, tags }, value) => read.set(`${name} ${tags.join()}`, value), gauge: nothing, gaugeChange: nothing, set: nothing, timer: nothing });
  expect(messages.length).toBeGreaterThan(1);
  expect(Math.max(...messages.map(({ length }) => length))).toBeLessThan(2 ** 20);
  expect([...read.values()].sort((a, b) => a - b)).toEqual(Array.from({ length: 30_000 }, (_, at) => at));
});

test('a series with very many values or members is in several messages, which add up to it', () => {
  const store = new SeriesStore({ seriesMax: 10, keyspaceSeriesMax: 10, timerValuesMax: 1_000_000, setMembersMax: 1_000_000, expiryMs: 1_000 }, new FakeClock());
  const timer = store.series({ kind: 'timer', name: 'took', tags: [], source: '' }) as TimerSeries;
  const users = store.series({ kind: 'set', name: 'users', tags: [], source: '' }) as SetSeries;
  for (let at = 0; at < 100_000; at++) {
    store.time(timer, at, 2);
    store.addMember(users, `user ${at}`);
  }
  const writer = new RawMessageWriter('binnacle');
  store.flush({ intervalS: 10, percents: [], beforeClose: (series) => writer.add(series) });
  const messages = writer.take();
  expect(Math.max(...messages.map(({ length }) => length))).toBeLessThan(2 ** 20);
  const nothing = (): void => {};
  const found = { values: [] as number[], sampled: 0, members: new Set<string>() };
  for (const message of messages) {
    let timersInMessage = 0;
    readRawMessage(message, {
      counter: nothing,
      gauge: nothing,
      gaugeChange: nothing,
      set: (_series, members) => members.forEach((member) => found.members.add(member)),
      timer(_series, values, sampleCount) {
        found.values.push(...values);
        found.sampled += sampleCount;
        timersInMessage += 1;
      },
    });
    expect(timersInMessage).toBeLessThanOrEqual(1);
  }
  expect([found.values.length, new Set(found.values).size, found.sampled, found.members.size]).toEqual([100_000, 100_000, 200_000, 100_000]);
});

test('an event is read as it was written', () => {
  const event = { title: 'deploy', text: 'v2\nnew', happenedAtS: 1_600_000_000, source: 'web-1', aggregationKey: 'k', sourceTypeName: 'ci', tags: ['a', 'b'], priority: 'low', type: 'success', kind: 'event' } as const;
  expect(readEventMessage(encodeEvent(event), 0)).toEqual(event);
});

test('a counter that left the range of numbers is sent on as the most there is, and disturbs no later flush', () => {
  const store = newStore();
  const writer = new RawMessageWriter('gostatsd');
  const hits = store.series({ kind: 'counter', name: 'hits', tags: [], source: '' }) as CounterSeries;
  const flushed = (values: number[]): string => {
    for (const value of values) store.count(hits, value);
    store.flush({ intervalS: 10, percents: [], beforeClose: (series) => writer.add(series) });
    return writer.take().map(decoded).join();
  };
  expect(flushed([1e308, 1e308])).toContain('Value: 9223372036854774784');
  expect(flushed([5])).toContain('Value: 5');
});
