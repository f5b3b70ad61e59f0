import { describe, expect, test } from '@jest/globals';
import { formatOf, frequencyOf, goSecondsOf, isV8Source, secondsOf, targetOf, targetOrAllOf } from './capture-query.js';

const refused = (message: RegExp) => expect.objectContaining({ code: 'BAD_REQUEST', message: expect.stringMatching(message) });
const rule = { absent: 10, max: 600 };

describe('seconds', () => {
  test.each([
    ['0.1', 0.1],
    ['1', 1],
    ['2.5', 2.5],
    ['600', 600],
  ])('%s is %d', (text, seconds) => expect(secondsOf({ seconds: text }, rule)).toBe(seconds));

  test('absent is the default', () => expect(secondsOf({}, rule)).toBe(10));

  test.each(['0', '-1', 'abc', '', '0.09', '600.1', '1e2', '1s', ' 1', '0x1', 'Infinity', '99999999999'])('%j is refused with the range', (seconds) => {
    expect(() => secondsOf({ seconds }, rule)).toThrow(refused(/^seconds must be a number from 0\.1 to 600$/));
  });

  test('given twice is refused', () => expect(() => secondsOf({ seconds: ['1', '2'] }, rule)).toThrow(refused(/more than once/)));

  test('0 is allowed where it means at this moment', () => {
    expect(secondsOf({ seconds: '0' }, { ...rule, zero: true })).toBe(0);
    expect(() => secondsOf({ seconds: '-1' }, { ...rule, zero: true })).toThrow(refused(/0\.1 to 600, or 0$/));
  });

  test.each(['0', '-1', 'abc', '', '0.0'])('in Go, %j is the default', (seconds) => expect(goSecondsOf({ seconds }, { absent: 30, max: 600 })).toBe(30));

  test('in Go, what is above the range is refused all the same', () => {
    expect(goSecondsOf({ seconds: '5' }, { absent: 30, max: 600 })).toBe(5);
    expect(() => goSecondsOf({ seconds: '601' }, { absent: 30, max: 600 })).toThrow(refused(/600/));
  });
});

test('frequency is a whole number from 1 to 1000, 99 if absent', () => {
  expect([undefined, '1', '1000'].map((frequency) => frequencyOf({ frequency }))).toEqual([99, 1, 1000]);
  for (const frequency of ['0', '-1', '1001', '99999', 'abc', '1.5', '']) expect(() => frequencyOf({ frequency })).toThrow(refused(/from 1 to 1000/));
});

test('format is one of those there are, or nothing', () => {
  expect([undefined, 'pprof', 'svg', 'collapsed', 'json'].map((format) => formatOf({ format }))).toEqual([undefined, 'pprof', 'svg', 'collapsed', 'json']);
  for (const format of ['', 'PPROF', 'png']) expect(() => formatOf({ format })).toThrow(refused(/pprof, svg, collapsed, json/));
});

test('source is v8 or jemalloc', () => {
  expect([undefined, 'jemalloc', 'v8'].map((source) => isV8Source({ source }))).toEqual([false, false, true]);
  expect(() => isV8Source({ source: 'glibc' })).toThrow(refused(/source/));
});

test('the target is the named node, or this one; * only where all are meant', () => {
  expect(targetOf({}, 'n0')).toBe('n0');
  expect(targetOf({ node: 'n1' }, 'n0')).toBe('n1');
  expect(targetOrAllOf({ node: '*' }, 'n0')).toBe('*');
  for (const node of ['*', '', 'a b', '../x', 'x'.repeat(65)]) expect(() => targetOf({ node }, 'n0')).toThrow(refused(/node id/));
});
