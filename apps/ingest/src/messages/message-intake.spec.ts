import { expect, test } from '@jest/globals';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { execFileSync } from 'node:child_process';
import { Filters } from '../series/filters.js';
import { SeriesStore } from '../series/series-store.js';
import { readFirstRawMessage } from './first-raw-message.js';
import { MessageIntake } from './message-intake.js';

const schemaFolder = new URL('../../schema/', import.meta.url).pathname;
const encoded = (message: string, text: string): Buffer => execFileSync('protoc', [`--encode=gostatsd.${message}`, '-I', schemaFolder, 'gostatsd.proto'], { input: text });

function intake(): { readonly messages: MessageIntake; readonly figures: () => Promise<Map<string, number>> } {
  const clock = new FakeClock();
  const store = new SeriesStore({ seriesMax: 100, keyspaceSeriesMax: 100, timerValuesMax: 100, setMembersMax: 100, expiryMs: 1_000 }, clock);
  return {
    messages: new MessageIntake(store, new Filters([])),
    figures: async () => {
      const flushed = await store.flush({ intervalS: 1, percents: [] });
      return new Map(flushed.flatMap(({ identity, figures }) => figures.map(({ kind, value }): [string, number] => [`${identity.name} ${kind}`, value])));
    },
  };
}

test('what is not finite does not count, and does not keep the rest of its message from counting', async () => {
  const { messages, figures } = intake();
  const of = (name: string, value: string): string => `{ key: "${name}" value { TagMap { key: "" value { ${value} } } } }`;
  messages.take(encoded('RawMessageV2', `
    Gauges ${of('load', 'Value: inf')} Gauges ${of('heat', 'Value: 20')} Counters ${of('hits', 'Value: 5')}
    Timers ${of('took', 'SampleCount: inf Values: 1 Values: nan Values: 3')} Timers ${of('back', 'SampleCount: -1 Values: 7')} Timers ${of('gone', 'SampleCount: 1 Values: nan')}`));
  const found = await figures();
  expect(['load gauge', 'heat gauge', 'hits counter', 'took timer.count', 'took timer.sum', 'back timer.count', 'gone timer.count'].map((name) => found.get(name))).toEqual([undefined, 20, 5, 2, 4, 1, undefined]);
  expect(messages.refused).toBe(3);
});

test('neither in version 1', async () => {
  const { messages, figures } = intake();
  messages.take(encoded('RawMessageV1', 'RawMetrics { Name: "hits" counter { Value: inf } } RawMetrics { Name: "hits" counter { Value: 2 } } RawMetrics { Name: "took" timer { Value: 5 Rate: 0 } } RawMetrics { Name: "took" timer { Value: nan } }'), readFirstRawMessage);
  const found = await figures();
  expect(['hits counter', 'took timer.count', 'took timer.sum'].map((name) => found.get(name))).toEqual([2, 1, 5]);
  expect(messages.refused).toBe(2);
});

test('a comma ends a tag: two spellings of a key are one series, in its keyspace', async () => {
  const clock = new FakeClock();
  const store = new SeriesStore({ seriesMax: 100, keyspaceSeriesMax: 100, timerValuesMax: 100, setMembersMax: 100, expiryMs: 1_000 }, clock);
  const messages = new MessageIntake(store, undefined);
  messages.counter({ name: 'hits', tags: ['b,keyspace:7', ',a'], source: '' }, 1);
  messages.counter({ name: 'hits', tags: ['a', 'keyspace:7', 'b'], source: '' }, 2);
  expect([...store.all()].map((series) => [series.identity.tags, series.kind === 'counter' && series.value])).toEqual([[['a', 'b', 'keyspace:7'], 3]]);
});
