import { expect, test } from '@jest/globals';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { RawMessageWriter } from '../forwarding/raw-message-writer.js';
import { MessageIntake } from '../messages/message-intake.js';
import type { CounterSeries, GaugeSeries, Series, SetSeries, TimerSeries } from './series.js';
import { overflowName, SeriesStore, type SeriesLimits } from './series-store.js';

const roomy: SeriesLimits = { seriesMax: 1_000, keyspaceSeriesMax: 1_000, timerValuesMax: 1_000, setMembersMax: 1_000, expiryMs: 60_000 };
const seconds = { intervalS: 10, percents: [90] };

class Peer {
  readonly clock = new FakeClock();
  readonly store: SeriesStore;
  readonly #intake: MessageIntake;

  constructor(limits: Partial<SeriesLimits> = {}) {
    this.store = new SeriesStore({ ...roomy, ...limits }, this.clock);
    this.#intake = new MessageIntake(this.store, undefined);
  }

  count = (name: string, value: number, tags: string[] = [], source = ''): void => this.store.count(this.#series('counter', name, tags, source) as CounterSeries, value);
  set = (name: string, value: number): void => this.store.setGauge(this.#series('gauge', name) as GaugeSeries, value);
  change = (name: string, value: number): void => this.store.changeGauge(this.#series('gauge', name) as GaugeSeries, value);
  time = (name: string, value: number): void => this.store.time(this.#series('timer', name) as TimerSeries, value, 2);
  sampled = (name: string, value: number, sampledCount: number): void => this.store.time(this.#series('timer', name) as TimerSeries, value, sampledCount);
  member = (name: string, member: string): void => this.store.addMember(this.#series('set', name) as SetSeries, member);

  take = (message: Uint8Array): void => this.#intake.take(message);

  /** Hands everything over that the other one owns, and returns its own figures. */
  flush(other?: Peer, isOfAnother: (series: Series) => boolean = () => true): Record<string, number> {
    const writer = new RawMessageWriter('binnacle');
    const flushed = this.store.flush(other === undefined ? seconds : { ...seconds, isOfAnother, handOver: (series) => writer.add(series) });
    for (const message of writer.take()) other?.take(message);
    return Object.fromEntries(flushed.flatMap(({ identity: { name, tags }, figures }) => figures.map(({ kind, value }) => [[name, ...tags, kind].join(' '), value])));
  }

  #series(kind: Series['kind'], name: string, tags: string[] = [], source = ''): Series {
    return this.store.series({ kind, name, tags, source });
  }
}

test('what is handed over counts there as if it had come there, fractions and changes too', () => {
  const [here, owner, alone] = [new Peer(), new Peer(), new Peer()];
  for (const peer of [here, alone]) {
    peer.count('hits', 1 / 0.3);
    peer.count('hits', 2);
    peer.change('depth', 5);
    peer.change('depth', -2);
    peer.set('load', 0.5);
    peer.change('load', 0.25);
    peer.member('users', 'anna');
    peer.time('took', 7);
  }
  for (const peer of [owner, alone]) {
    peer.set('level', 1);
    peer.count('hits', 1);
    peer.member('users', 'bert');
    peer.time('took', 3);
  }
  expect(here.flush(owner)).toEqual({});
  expect([...here.store.all()]).toEqual([]);
  expect(owner.flush()).toEqual(alone.flush());
  // Nothing of it comes a second time, and what a gauge came to stays with the owner.
  expect(here.flush(owner)).toEqual({});
  here.change('depth', 1);
  here.flush(owner);
  expect(owner.flush()).toEqual({ 'depth gauge': 4 });
});

test('a gauge that moves to another owner takes its value along, once, and a counter begins at 0 there', () => {
  const [before, after] = [new Peer(), new Peer()];
  before.set('depth', 40);
  before.count('hits', 3);
  expect(before.flush()).toMatchObject({ 'depth gauge': 40, 'hits counter': 3 });
  before.flush(after);
  after.change('depth', 2);
  expect(after.flush()).toEqual({ 'depth gauge': 42 });
  before.flush(after);
  expect(after.flush()).toEqual({});
  expect([...before.store.all()]).toEqual([]);
  before.count('hits', 2);
  before.flush(after, () => false);
  expect([...before.store.all()].map((series) => [series.identity.name, (series as CounterSeries).total])).toEqual([['hits', 2]]);
});

test('the series of one keyspace are limited for themselves, and give their room back when they expire', async () => {
  const peer = new Peer({ keyspaceSeriesMax: 10, seriesMax: 25 });
  const bomb = (): void => {
    for (const keyspace of [7, 8, 9]) for (let at = 0; at < 100; at++) peer.count(`m${at}`, 1, [`keyspace:${keyspace}`]);
  };
  peer.count('mine', 1);
  bomb();
  const figures = peer.flush();
  expect(figures['mine counter']).toBe(1);
  expect(figures[`${overflowName} keyspace:7 counter`]).toBe(90);
  // 25 in all, and the first one was ours: the third keyspace had less room than its own limit.
  expect(figures[`${overflowName} keyspace:9 counter`]).toBe(96);
  expect(peer.store.seriesCount).toBe(25);
  await peer.clock.advance(60_001);
  peer.flush();
  expect(peer.store.seriesCount).toBe(0);
  bomb();
  expect(peer.flush()[`${overflowName} keyspace:9 counter`]).toBe(95);
});

test('a tag that is no number of a keyspace is of keyspace 0, and so are overflow series of more keyspaces than are told apart', () => {
  const peer = new Peer({ keyspaceSeriesMax: 1, seriesMax: 1 });
  for (let keyspace = 0; keyspace < 3_000; keyspace++) peer.count('m', 1, [`keyspace:${keyspace}`]);
  for (const tag of ['keyspace:', 'keyspace:-1', 'keyspace:99999999999', 'keyspace:4294967296']) peer.count('n', 1, [tag]);
  const overflow = Object.entries(peer.flush()).filter(([name]) => name.startsWith(overflowName) && name.endsWith(' counter'));
  expect(overflow.reduce((sum, [, value]) => sum + value, 0)).toBe(3_003);
  expect(overflow).toHaveLength(1_000);
});

test('once as many keyspaces as are told apart overflow, theirs are told apart still', () => {
  const peer = new Peer({ keyspaceSeriesMax: 1, seriesMax: 1 });
  peer.count('m', 1);
  for (let keyspace = 1; keyspace < 1_000; keyspace++) peer.count('m', 1, [`keyspace:${keyspace}`]);
  peer.flush();
  for (const keyspace of [5, 2_000]) peer.count('m', 1, [`keyspace:${keyspace}`]);
  expect(peer.flush()).toMatchObject({ [`${overflowName} keyspace:5 counter`]: 1, [`${overflowName} counter`]: 1 });
});

test('what leaves the range of numbers stays at its end, so that what else is handed over with it is read', () => {
  const [here, owner] = [new Peer(), new Peer()];
  for (const peer of [here, owner]) {
    for (const value of [Infinity, 1.5e308, 1.5e308]) peer.count('hits', value);
    peer.set('depth', -1.5e308);
    for (let at = 0; at < 3; at++) peer.change('depth', -1.5e308);
    peer.sampled('took', 1.5e308, Infinity);
    peer.sampled('took', 1.5e308, 1);
    peer.count('others', 1);
  }
  here.flush(owner);
  for (let at = 0; at < 2; at++) {
    expect(owner.flush()).toMatchObject({ 'hits counter': Number.MAX_VALUE, 'depth gauge': -Number.MAX_VALUE, 'took timer.max': 1.5e308, 'others counter': at === 0 ? 2 : 1 });
    const totals = [...owner.store.all()].flatMap((series) => (series.kind === 'counter' ? [series.total] : series.kind === 'timer' ? [series.totalCount, series.totalSum] : []));
    expect(totals.every(Number.isFinite)).toBe(true);
    owner.count('hits', Infinity);
    owner.change('depth', -Infinity);
    owner.sampled('took', 1.5e308, Infinity);
    owner.count('others', 1);
  }
});

test('a name and tags that just fit, and what filters made longer, are not too long where they are handed over to', () => {
  const [here, owner] = [new Peer(), new Peer()];
  here.count('n', 1, ['t'.repeat(1_023)], 'the-source');
  here.flush(owner);
  expect(Object.keys(owner.flush())).toHaveLength(2);
});
