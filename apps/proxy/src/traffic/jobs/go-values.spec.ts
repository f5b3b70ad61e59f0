import { expect, test } from '@jest/globals';
import { goDurationText, goTimeText, parseGoBoolean, parseGoDuration, parseGoTime } from './go-values.js';

test.each([
  ['90m', 5_400_000],
  ['1h30m', 5_400_000],
  ['1.5s', 1_500],
  ['100ms', 100],
  ['2µs', 0.002],
  ['0', 0],
  ['-5s', -5_000],
])('reads the duration %s', (text, ms) => expect(parseGoDuration(text)).toBe(ms));

test.each([
  ['10', 'time: missing unit in duration "10"'],
  ['1d', 'time: unknown unit "d" in duration "1d"'],
  ['1h3d', 'time: unknown unit "d" in duration "1h3d"'],
  ['', 'time: invalid duration ""'],
  ['soon', 'time: invalid duration "soon"'],
])('refuses the duration %j in the words of Go', (text, words) => expect(() => parseGoDuration(text)).toThrow(words));

test.each([
  [5_400_000, '1h30m0s'],
  [120_000, '2m0s'],
  [1_500, '1.5s'],
  [250, '250ms'],
  [0, '0s'],
  [86_400_000, '24h0m0s'],
])('writes %d ms as %s', (ms, text) => {
  expect(goDurationText(ms)).toBe(text);
  expect(parseGoDuration(text)).toBe(ms);
});

test('reads booleans as Go does, and no others', () => {
  expect(['1', 't', 'TRUE', '0', 'F', 'false', 'yes', '', 'constructor'].map(parseGoBoolean)).toEqual([true, true, true, false, false, false, undefined, undefined, undefined]);
});

test('a time has a zone', () => {
  expect(parseGoTime('2026-11-21T17:05:07.470123456+08:00')).toBe(Date.UTC(2026, 10, 21, 9, 5, 7, 470));
  expect(['2026-11-21T09:05:07', '2026-11-21 09:05:07Z', '2026-13-21T09:05:07Z', 'now'].map(parseGoTime)).toEqual([undefined, undefined, undefined, undefined]);
  expect(goTimeText(Date.UTC(2026, 10, 21, 9, 5, 7, 999))).toBe('2026-11-21T09:05:07Z');
});
