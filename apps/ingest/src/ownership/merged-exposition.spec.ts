import { expect, test } from '@jest/globals';
import { exposition } from '../exposition.js';
import { CounterSeries, GaugeSeries, type Series } from '../series/series.js';
import { mergedExposition } from './merged-exposition.js';

async function whole(pieces: AsyncIterable<string>): Promise<string> {
  let text = '';
  for await (const piece of pieces) text += piece;
  return text;
}

function counter(name: string, source: string, value: number): Series {
  const series = new CounterSeries({ kind: 'counter', name, tags: [], source });
  series.total = value;
  return series;
}

function gauge(name: string, value: number): Series {
  const series = new GaugeSeries({ kind: 'gauge', name, tags: [], source: 'x' });
  series.value = value;
  return series;
}

test.each(['prometheus', 'openMetrics'] as const)('families of several nodes come once each, in %s', async (format) => {
  const [first, second] = [[counter('hits', 'a', 1), gauge('load', 3)], [gauge('depth', 4), counter('hits', 'b', 2)]];
  const merged = await whole(mergedExposition([await whole(exposition(first, format)), await whole(exposition(second, format))], [], format));
  const lines = (text: string): string[] => text.split('\n').sort();
  expect(lines(merged)).toEqual(lines(await whole(exposition([...first, ...second], format))));
  expect(merged.endsWith('# EOF\n')).toBe(format === 'openMetrics');
});

test.each(['prometheus', 'openMetrics'] as const)('what two nodes show under one name is added up of counters, as on one node, in %s', async (format) => {
  const [first, second] = [[counter('a.b', 'x', 5), gauge('c.d', 1)], [counter('a-b', 'x', 2), gauge('c-d', Infinity)]];
  const merged = await whole(mergedExposition([await whole(exposition(first, format)), await whole(exposition(second, format))], [], format));
  expect(merged).toContain('a_b_total{source="x"} 7\n');
  expect(merged).toContain('c_d{source="x"} +Inf\n');
  expect(merged).toBe(await whole(exposition([...first, ...second], format)));
});

test('one name of two types is two families', async () => {
  const merged = await whole(mergedExposition([await whole(exposition([gauge('hits.total', 1)], 'prometheus')), await whole(exposition([counter('hits', 'a', 2)], 'prometheus'))], [], 'prometheus'));
  expect(merged).toBe('# TYPE hits_total gauge\nhits_total{source="x"} 1\n# TYPE hits_total_counter counter\nhits_total_counter{source="a"} 2\n');
});

test('it says which nodes are missing', async () => {
  expect(await whole(mergedExposition([''], ['b', 'c'], 'openMetrics'))).toBe('# TYPE binnacle_ingest_node_away gauge\nbinnacle_ingest_node_away{node="b"} 1\nbinnacle_ingest_node_away{node="c"} 1\n# EOF\n');
});
