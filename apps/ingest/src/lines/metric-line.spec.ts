import { expect, test } from '@jest/globals';
import { seededRandom } from '@binnacle/testing/seeded-random';
import { readDecimal } from './decimal.js';
import { identityBytesMax } from '../series/identity-limits.js';
import { eachValue, MetricLine, readMetricLine } from './metric-line.js';

function read(text: string): unknown {
  // In the middle of other bytes: nothing before or after a line may matter.
  const bytes = Buffer.from(`9|#${text}5|@0`);
  const line = new MetricLine();
  const bad = readMetricLine(bytes, 3, bytes.length - 4, line);
  if (bad !== undefined) return bad;
  const values: unknown[] = [];
  if (line.kind === 'set') values.push(bytes.toString('utf8', line.valuesStart, line.valuesEnd));
  else eachValue(bytes, line, (value, isSigned) => values.push(isSigned ? [value] : value));
  return [line.kind, bytes.toString('utf8', line.nameStart, line.nameEnd), values, line.sampleRate, bytes.toString('utf8', line.tagsStart, line.tagsEnd)];
}

test.each([
  ['hits:1|c', ['counter', 'hits', [1], 1, '']],
  ['hits:-3|c|@0.1', ['counter', 'hits', [[-3]], 0.1, '']],
  ['a.b:2.5|c|#env:prod,x', ['counter', 'a.b', [2.5], 1, 'env:prod,x']],
  ['a.b:2.5|c|@0.5|#env:prod,x', ['counter', 'a.b', [2.5], 0.5, 'env:prod,x']],
  ['a.b:2.5|c|#env:prod,x|@0.5', ['counter', 'a.b', [2.5], 0.5, 'env:prod,x']],
  ['load:1e3|g', ['gauge', 'load', [1000], 1, '']],
  ['load:+4|g', ['gauge', 'load', [[4]], 1, '']],
  ['load:-4|g', ['gauge', 'load', [[-4]], 1, '']],
  ['took:320|ms|@0.1', ['timer', 'took', [320], 0.1, '']],
  ['took:320.25|h', ['timer', 'took', [320.25], 1, '']],
  ['took:320|d', ['timer', 'took', [320], 1, '']],
  ['took:1:2:3.5|d|#a:b', ['timer', 'took', [1, 2, 3.5], 1, 'a:b']],
  ['load:1:+2:-3|g', ['gauge', 'load', [1, [2], [-3]], 1, '']],
  ['users:anna:1|s', ['set', 'users', ['anna:1'], 1, '']],
  ['hits:1|c|#a:b|c:0a1b2c|T1656581400|e:it-x|card:low', ['counter', 'hits', [1], 1, 'a:b']],
  ['ö:1|c|#größe:ü', ['counter', 'ö', [1], 1, 'größe:ü']],
])('%s', (text, expected) => expect(read(text)).toEqual(expected));

test.each([
  ['', 'no-name'],
  [':1|c', 'no-name'],
  ['hits', 'no-value'],
  ['hits:|c', 'no-value'],
  ['hits:1', 'type'],
  ['hits:1|', 'type'],
  ['hits:1|x', 'type'],
  ['hits:1|cc', 'type'],
  ['hits:1|m', 'type'],
  ['hits:x|c', 'value'],
  ['hits:1:|c', 'value'],
  ['hits:1:2x|c', 'value'],
  ['hits:NaN|c', 'value'],
  ['hits:Infinity|c', 'value'],
  ['hits:1e999|c', 'value'],
  ['hits:0x10|c', 'value'],
  ['hits:1 |c', 'value'],
  ['hits:1|c|@0', 'sample-rate'],
  ['hits:1|c|@2', 'sample-rate'],
  ['hits:1|c|@', 'sample-rate'],
  ['hits:1|c|@-0.5', 'sample-rate'],
  ['hits:1|c|', 'field'],
  ['hits:1|c|z:1', 'field'],
  [`${'n'.repeat(identityBytesMax + 1)}:1|c`, 'too-long'],
  [`users:${'n'.repeat(2_000)}|s`, 'too-long'],
])('%s is bad: %s', (text, reason) => expect(read(text)).toBe(reason));

test('a decimal is the nearest double, as JavaScript reads it', () => {
  const random = seededRandom(11);
  for (let round = 0; round < 20_000; round++) {
    const digits = Array.from({ length: random.below(18) }, () => random.below(10)).join('');
    const at = random.below(digits.length + 1);
    const text = `${random.oneOf(['', '+', '-'])}${digits.slice(0, at)}${random.oneOf(['', '.'])}${digits.slice(at)}${random.oneOf(['', '', '', 'e5', 'E-7', 'e'])}`;
    const expected = /^[+-]?(\d+\.?\d*|\.\d+)(e-?\d+)?$/i.test(text) ? Number(text) : NaN;
    expect([text, readDecimal(Buffer.from(text), 0, text.length)]).toEqual([text, expected]);
  }
});

test('no bytes make it throw', () => {
  const random = seededRandom(12);
  const line = new MetricLine();
  const parts = ['a', ':', '|', '@', '#', 'c', 'ms', '1', '-', '.', ',', '\0', 'ÿ', 'T', 'card:', '_e{'];
  for (let round = 0; round < 50_000; round++) {
    const bytes = Buffer.from(Array.from({ length: random.below(12) }, () => random.oneOf(parts)).join(''), 'latin1');
    readMetricLine(bytes, 0, bytes.length, line);
  }
});

test('a line that says when it was is told from those that do not', () => {
  const line = new MetricLine();
  const hasTime = (text: string): boolean => readMetricLine(Buffer.from(text), 0, text.length, line) === undefined && line.hasTime;
  expect(['a:1|c|T1656581400|c:x', 'a:1|c|#T1', 'a:1|c'].map(hasTime)).toEqual([true, false, false]);
});
