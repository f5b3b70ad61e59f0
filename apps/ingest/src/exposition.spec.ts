import { expect, test } from '@jest/globals';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { exposition, expositionFormat, type ExpositionFormat } from './exposition.js';
import { LineIntake } from './lines/line-intake.js';
import { Filters } from './series/filters.js';
import { SeriesStore } from './series/series-store.js';

async function shown(lines: string[], format: ExpositionFormat = 'prometheus'): Promise<string[]> {
  const clock = new FakeClock();
  const store = new SeriesStore({ seriesMax: 100, keyspaceSeriesMax: 100, timerValuesMax: 100, setMembersMax: 100, expiryMs: 1_000 }, clock);
  const intake = new LineIntake({ store, clock, filters: new Filters([]), lineSource: 'host-tag', knownLinesMax: 10, onEvent: () => {}, onBadLine: (reason) => expect(reason).toBe('') });
  const bytes = Buffer.from(lines.join('\n'));
  intake.take(bytes, 0, bytes.length, '');
  store.flush({ intervalS: 10, percents: [90] });
  let text = '';
  for await (const piece of exposition(store.all(), format)) text += piece;
  return text.trimEnd().split('\n');
}

test('counters, gauges and sets', async () => {
  expect(await shown(['web.hits:2|c|#env:prod,canary,host:web-1', 'web.hits:3|c', 'load:0.5|g', 'users:a|s', 'users:b|s'])).toEqual([
    '# TYPE web_hits_total counter',
    'web_hits_total{canary="true",env="prod",source="web-1"} 2',
    'web_hits_total 3',
    '# TYPE load gauge',
    'load 0.5',
    '# TYPE users_unique gauge',
    'users_unique 2',
  ]);
});

test('timers are summaries, with the figures of the last interval beside', async () => {
  expect(await shown(['took:10|ms|#a:b', 'took:30|ms|@0.5|#a:b'])).toEqual([
    '# TYPE took summary',
    'took_count{a="b"} 3',
    'took_sum{a="b"} 60',
    'took{a="b",quantile="0.9"} 30',
    '# TYPE took_mean gauge',
    'took_mean{a="b"} 20',
    '# TYPE took_median gauge',
    'took_median{a="b"} 20',
    '# TYPE took_stddev gauge',
    'took_stddev{a="b"} 10',
    '# TYPE took_min gauge',
    'took_min{a="b"} 10',
    '# TYPE took_max gauge',
    'took_max{a="b"} 30',
  ]);
});

test('OpenMetrics names a counter without its ending, and has an end', async () => {
  expect(await shown(['hits:2|c'], 'openMetrics')).toEqual(['# TYPE hits counter', 'hits_total 2', '# EOF']);
  expect(expositionFormat('application/openmetrics-text;version=1.0.0,text/plain;q=0.5')).toBe('openMetrics');
  expect([undefined, '*/*', 'text/plain'].map(expositionFormat)).toEqual(['prometheus', 'prometheus', 'prometheus']);
});

test('names and values are made such as Prometheus takes them', async () => {
  expect(await shown(['2xx-rate.é:1|g|#__own:1,quantile:2,le:3,a.b:x,a-b:y,ü:z,say:"hi\\'])).toEqual([
    '# TYPE _2xx_rate_ gauge',
    '_2xx_rate_{_own="1",a_b="y,x",tag_le="3",tag_quantile="2",say="\\"hi\\\\",tag="z"} 1',
  ]);
});

test('kinds that share a name are families of their own', async () => {
  expect(await shown(['a:1|g', 'a:2|ms', 'a_total:3|g', 'a:4|c'])).toEqual(expect.arrayContaining(['# TYPE a gauge', '# TYPE a_summary summary', 'a_summary_count 1', '# TYPE a_total gauge', '# TYPE a_total_counter counter', 'a_total_counter 4']));
});

test.each([
  ['prometheus', ['# TYPE a_b_total counter', 'a_b_total{x_y="1"} 6', '# TYPE a_b summary', 'a_b_count{x_y="1"} 3', 'a_b_sum{x_y="1"} 6']],
  ['openMetrics', ['# TYPE a_b counter', 'a_b_total{x_y="1"} 6', '# TYPE a_b_summary summary', 'a_b_summary_count{x_y="1"} 3', 'a_b_summary_sum{x_y="1"} 6']],
] as const)('what comes to one name and the same labels is one sample, in %s', async (format, expected) => {
  const lines = await shown(['a.b:1|c|#x.y:1', 'a-b:2|c|#x.y:1', 'a_b:3|c|#x_y:1', 'a.b:1|ms|#x.y:1', 'a-b:2|ms|#x.y:1', 'a_b:3|ms|#x_y:1', 'a.b_mean:9|g|#x_y:1'], format);
  expect(lines.slice(0, 5)).toEqual(expected);
  const samples = lines.filter((line) => !line.startsWith('#')).map((line) => line.slice(0, line.lastIndexOf(' ')));
  expect(new Set(samples).size).toBe(samples.length);
});

test('no other family has the names of a summary or a counter', async () => {
  expect(await shown(['t:1|ms', 't_count:2|g', 't_sum:3|g', 'u_sum:4|g', 'u:5|ms'])).toEqual(expect.arrayContaining(['t_count 1', 't_sum 1', 't_count_gauge 2', 't_sum_gauge 3', 'u_sum 4', 'u_summary_sum 5']));
  expect(await shown(['hits:1|c', 'hits_total:2|g'], 'openMetrics')).toEqual(['# TYPE hits counter', 'hits_total 1', '# TYPE hits_total_gauge gauge', 'hits_total_gauge 2', '# EOF']);
});
