import { expect, test } from '@jest/globals';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { seededRandom } from '@binnacle/testing/seeded-random';
import type { MetricEvent } from '../messages/metric-event.js';
import { Filters } from '../series/filters.js';
import { overflowName, type SeriesLimits, SeriesStore } from '../series/series-store.js';
import { type LineSource, LineIntake } from './line-intake.js';

const limits: SeriesLimits = { seriesMax: 1_000, keyspaceSeriesMax: 1_000, timerValuesMax: 1_000, setMembersMax: 1_000, expiryMs: 300_000 };

function intake(options: { limits?: Partial<SeriesLimits>; lineSource?: LineSource; knownLinesMax?: number; filters?: Filters } = {}) {
  const clock = new FakeClock();
  const store = new SeriesStore({ ...limits, ...options.limits }, clock);
  const events: MetricEvent[] = [];
  const bad: string[] = [];
  const lines = new LineIntake({
    store,
    clock,
    filters: options.filters ?? new Filters([]),
    lineSource: options.lineSource ?? 'none',
    knownLinesMax: options.knownLinesMax ?? 16,
    onEvent: (event) => events.push(event),
    onBadLine: (reason, line) => bad.push(`${reason} ${line.toString()}`),
  });
  const take = (text: string, address = '10.0.0.1'): void => {
    const bytes = Buffer.from(text);
    lines.take(bytes, 0, bytes.length, address);
  };
  /** By `name[tags]@source kind`. */
  const flush = (): Record<string, number> =>
    Object.fromEntries(
      store.flush({ intervalS: 10, percents: [90] }).flatMap(({ identity: { name, tags, source }, figures }) => figures.map(({ kind, value }) => [`${name}${tags.length > 0 ? `[${tags.join(',')}]` : ''}${source && `@${source}`} ${kind}`, value])),
    );
  return { clock, store, lines, events, bad, take, flush };
}

test('lines of one packet add up to what was computed by hand', () => {
  const { take, flush, lines } = intake();
  take('hits:1|c\nhits:2|c|@0.1\r\n\nload:5|g\nload:+2|g\nload:-0.5|g\nusers:a|s\nusers:b|s\nusers:a|s\ntook:10|ms|@0.5\ntook:20:30|h\n');
  const figures = flush();
  expect(figures).toMatchObject({ 'hits counter': 21, 'hits counter.per_second': 2.1, 'load gauge': 6.5, 'users set': 2 });
  expect(figures).toMatchObject({ 'took timer.count': 4, 'took timer.per_second': 0.4, 'took timer.sum': 60, 'took timer.mean': 20, 'took timer.median': 20, 'took timer.min': 10, 'took timer.max': 30, 'took timer.upper_90': 30 });
  expect(figures['took timer.stddev']).toBeCloseTo(Math.sqrt(200 / 3), 9);
  expect(lines.taken).toBe(10);
});

test('tags in another order are the same series, of other kinds or sources it is another one', () => {
  const { take, flush, store } = intake({ lineSource: 'address' });
  take('a:1|c|#x:1,y:2\na:1|c|#y:2,x:1,,\na:1|c|#y:2,x:1', '10.0.0.1');
  take('a:1|c|#x:1,y:2\na:7|g|#x:1,y:2', '10.0.0.2');
  expect(flush()).toMatchObject({ 'a[x:1,y:2]@10.0.0.1 counter': 3, 'a[x:1,y:2]@10.0.0.2 counter': 1, 'a[x:1,y:2]@10.0.0.2 gauge': 7 });
  expect(store.seriesCount).toBe(3);
});

test('a name and its tags are not taken for a longer name, or for other tags', () => {
  const { take, flush } = intake();
  take('ab:1|c\na:1|c|#b\nab:1|c\na:1|c|#b');
  expect(flush()).toMatchObject({ 'ab counter': 2, 'a[b] counter': 2 });
});

test('the source may be a tag', () => {
  const { take, flush } = intake({ lineSource: 'host-tag' });
  take('a:1|c|#host:web-7,x\na:1|c|#x');
  expect(flush()).toMatchObject({ 'a[x]@web-7 counter': 1, 'a[x] counter': 1 });
});

test('names are kept as gostatsd keeps them; one of which nothing is left is bad', () => {
  const { take, flush, bad } = intake();
  take('a/b c§:1|c\n§§:1|c');
  expect(flush()).toHaveProperty(['a-b_c counter'], 1);
  expect(bad).toEqual(['no-name §§:1|c']);
});

test('a bad line counts nothing and stops nothing', () => {
  const { take, flush, bad, lines } = intake();
  take('a:1|c\nrubbish\na:1:x|c\n_e{1,1}:oops\n_sc|x\na:1|c');
  expect(bad).toEqual(['no-value rubbish', 'value a:1:x|c', 'event _e{1,1}:oops', 'service-check _sc|x']);
  expect(flush()).toHaveProperty(['a counter'], 2);
  expect(lines.taken).toBe(2);
});

test('events and service checks are handed on, and a metric may begin with an underscore', () => {
  const { take, events, flush } = intake({ lineSource: 'address' });
  take('_e{1,1}:a|b\n_sc|db|2\n_e:1|c');
  expect(events).toMatchObject([{ title: 'a', kind: 'event', source: '10.0.0.1' }, { title: 'db', type: 'error', kind: 'service-check' }]);
  expect(flush()).toHaveProperty(['_e@10.0.0.1 counter'], 1);
});

test('dropped metrics count as taken and make no series', () => {
  const drop = { matchMetrics: ['noisy'], excludeMetrics: [], matchTags: [], dropMetric: true, dropHost: false, dropTags: [], rewriteTags: {}, addTags: [] };
  const { take, lines, store } = intake({ filters: new Filters([drop]) });
  take('noisy:1|c\nnoisy:1|c\nquiet:1|c');
  expect([lines.taken, store.seriesCount]).toEqual([3, 1]);
});

test('more spellings than are remembered cost time and no counts', () => {
  const { take, flush } = intake({ knownLinesMax: 4 });
  for (let round = 0; round < 3; round++) for (let at = 0; at < 50; at++) take(`m${at}:1|c`);
  const figures = flush();
  for (let at = 0; at < 50; at++) expect(figures[`m${at} counter`]).toBe(3);
});

test('a line that came before, in whatever packet and place, counts as it did the first time', () => {
  const random = seededRandom(7);
  const values = ['1', '-2', '+3', '0.25', '1e3', '1:2:3', ':1', 'x', '', '12345678901234567890', '1:', 'ä'];
  const fields = ['c', 'g', 's', 'ms', 'c|@0.5', 'ms|@0.1|#a:b', 'g|#b,a', 'c|#', 'c|T1656581400', 'q', 'c|?', 'c\r', 'c||#x', ''];
  const lineOf = (): string => `${random.oneOf(['a', 'ab', 'api.hits', 'noisy', '_e{1,1}', '', 'käse', 'x'.repeat(1_030)])}${random.oneOf([':', ':', ':', ''])}${random.oneOf(values)}${random.oneOf(['|', '|', '|', ''])}${random.oneOf(fields)}`;
  const drop = { matchMetrics: ['noisy'], excludeMetrics: [], matchTags: [], dropMetric: true, dropHost: false, dropTags: [], rewriteTags: {}, addTags: [] };
  const options = { filters: new Filters([drop]), limits: { seriesMax: 12 } };
  const [known, fresh] = [intake({ ...options, knownLinesMax: 10_000 }), intake({ ...options, knownLinesMax: 0 })];
  for (let round = 0; round < 300; round++) {
    const lines = Array.from({ length: 1 + random.below(30) }, lineOf);
    known.take(lines.join('\n'));
    // One at a time, and never one that is known.
    for (const line of lines) fresh.take(line);
    if (round % 50 === 49) expect(known.flush()).toEqual(fresh.flush());
  }
  expect(known.store.losses).toEqual(fresh.store.losses);
  expect([known.lines.taken, known.events.length]).toEqual([fresh.lines.taken, fresh.events.length]);
  expect(known.bad).toEqual(fresh.bad);
});

test('a series that nothing comes for is forgotten, and begins anew when something comes', async () => {
  const { take, flush, clock, store } = intake();
  take('a:1|c\ng:5|g');
  flush();
  await clock.advance(300_000);
  expect(flush()).toEqual({});
  expect(store.seriesCount).toBe(2);
  await clock.advance(1);
  flush();
  expect(store.seriesCount).toBe(0);
  take('a:2|c\ng:+1|g');
  expect(flush()).toMatchObject({ 'a counter': 2, 'g gauge': 1 });
});

test('a line that is too long to be remembered takes nothing from one that was looked for before', async () => {
  const { take, flush, clock } = intake();
  take('a:1|c');
  flush();
  await clock.advance(300_001);
  flush();
  take(`a:1|c\nb:1|c|c:${'x'.repeat(5_000)}\na:1|c\nb:1|c|c:${'x'.repeat(5_000)}`);
  expect(flush()).toMatchObject({ 'a counter': 2, 'b counter': 2 });
});

test('a clock that is set back or forth expires nothing', () => {
  const { take, flush, clock, store } = intake();
  take('a:1|c');
  flush();
  clock.stepWallClock(86_400_000);
  flush();
  clock.stepWallClock(-2 * 86_400_000);
  flush();
  expect(store.seriesCount).toBe(1);
});

test('series beyond the limit are counted together under one name for each kind', () => {
  const { take, flush, store } = intake({ limits: { seriesMax: 100 } });
  for (let at = 0; at < 1_000; at++) take(`m${at}:2|c\nt${at}:1|ms|@0.5`);
  const figures = flush();
  const counted = Object.entries(figures).filter(([name]) => name.endsWith(' counter'));
  expect(counted.reduce((sum, [, value]) => sum + value, 0)).toBe(2_000);
  expect(figures[`${overflowName} counter`]).toBe(1_900);
  expect(figures[`${overflowName} timer.count`]).toBe(1_900);
  expect([store.seriesCount, store.losses.overflowed]).toEqual([100, 1_900]);
});

test('values and members beyond their limits are told, and the counts stay right', () => {
  const { take, flush, store } = intake({ limits: { timerValuesMax: 5, setMembersMax: 3 } });
  for (let at = 0; at < 10; at++) take(`took:${at}|ms\nlate:1|ms\nusers:u${at}|s`);
  expect(flush()).toMatchObject({ 'took timer.count': 10, 'took timer.max': 2, 'late timer.count': 10, 'users set': 3 });
  expect(store.losses).toEqual({ overflowed: 0, timerValues: 15, setMembers: 7 });
  take('took:1|ms\nusers:z|s');
  expect(flush()).toMatchObject({ 'took timer.mean': 1, 'users set': 1 });
});

test('a million series leave no more behind than the limit, and their sum is right', () => {
  const { take, flush, store } = intake({ limits: { seriesMax: 10_000, keyspaceSeriesMax: 10_000 }, knownLinesMax: 20_000 });
  const heapBefore = process.memoryUsage().heapUsed;
  for (let packet = 0; packet < 10_000; packet++) take(Array.from({ length: 100 }, (_, line) => `bomb.${packet * 100 + line}:1|c|#id:${packet}`).join('\n'));
  const sum = Object.entries(flush()).reduce((total, [name, value]) => (name.endsWith(' counter') ? total + value : total), 0);
  expect([sum, store.seriesCount, store.losses.overflowed]).toEqual([1_000_000, 10_000, 990_000]);
  // 10,000 series and 20,000 spellings at most; what else there is was left by the packets and goes with the next collection.
  expect(process.memoryUsage().heapUsed - heapBefore).toBeLessThan(200 * 2 ** 20);
});

test('what overflows is not looked up again until the next flush, is counted each time, and then has room where there is some', async () => {
  const { clock, take, flush, store } = intake({ limits: { seriesMax: 1, expiryMs: 1_000 } });
  take('a:1|c\nb:1|c\nb:1|c');
  expect(store.losses.overflowed).toBe(2);
  expect(flush()).toMatchObject({ 'a counter': 1, [`${overflowName} counter`]: 2 });
  await clock.advance(1_001);
  flush();
  take('b:1|c\nb:2|c\na:5|c');
  expect(flush()).toMatchObject({ 'b counter': 3, [`${overflowName} counter`]: 5 });
  expect(store.losses.overflowed).toBe(3);
});

test('senders are told apart however many there are', () => {
  const { take, flush } = intake({ lineSource: 'address', knownLinesMax: 100_000, limits: { seriesMax: 1_000_000, keyspaceSeriesMax: 1_000_000 } });
  for (let round = 0; round < 2; round++) for (let at = 0; at < 70_000; at++) take(`a:${at}|c`, `10.${at >> 16}.${(at >> 8) & 255}.${at & 255}`);
  const figures = flush();
  expect([figures['a@10.0.0.7 counter'], figures['a@10.1.0.7 counter']]).toEqual([14, 131_086]);
});
