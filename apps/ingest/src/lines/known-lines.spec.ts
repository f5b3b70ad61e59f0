import { expect, test } from '@jest/globals';
import { type CounterSeries, newSeries, type Series } from '../series/series.js';
import { Tallies } from '../series/tallies.js';
import { KnownLines, type LineTarget } from './known-lines.js';
import { LineWords } from './line-words.js';

const named = (name: string): Series => newSeries({ kind: 'counter', name, tags: [], source: '' });

function made(entriesMax: number, hash?: number) {
  const known = new KnownLines(entriesMax);
  const line = new LineWords();
  const entryOf = (text: string, sender = 0): number => {
    const bytes = Buffer.from(text);
    expect(line.read(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0, bytes.length, sender)).toBe(true);
    line.hash = hash ?? line.hash;
    return known.find(line);
  };
  const find = (text: string, sender = 0, interval = 0): LineTarget | undefined => {
    const entry = entryOf(text, sender);
    return entry < 0 ? undefined : known.target(entry, interval);
  };
  return {
    known,
    entryOf,
    find,
    learn: (text: string, target: LineTarget, sender = 0, interval?: number, sampleRate = 1) => {
      find(text, sender, interval);
      known.remember(line, target, sampleRate, interval);
    },
  };
}

test('every spelling is found, while there are more and more of them', () => {
  const { find, learn } = made(20_000);
  const targets = Array.from({ length: 20_000 }, (_, at) => named(`m${at}`));
  const lineOf = (at: number): string => `m${at}${'x'.repeat(at % 100)}:1|c|#tag:${at % 7}`;
  for (const [at, target] of targets.entries()) learn(lineOf(at), target);
  expect(targets.every((target, at) => find(lineOf(at)) === target)).toBe(true);
  expect(find('m20000:1|c|#tag:1')).toBeUndefined();
  // One more than there is room for: all are forgotten, and it is known.
  learn('more:1|c', null);
  expect([find(lineOf(0)), find('more:1|c')]).toEqual([undefined, null]);
});

test('kind, sender, and where the name ends make another spelling', () => {
  const { find, learn } = made(16);
  const target = named('ab');
  learn('ab:1|c|#c', target, 3);
  expect(find('ab:7|c|#c', 3)).toBe(target);
  for (const [other, sender] of [['ab:1|g|#c', 3], ['ab:1|c|#c', 4], ['a:1|c|#bc', 3], ['abc:1|c', 3], ['ab\0:1|c|#c', 3], ['ab:1|c|#c\0', 3], ['ab:1|c|#', 3]] as const) expect([other, find(other, sender)]).toEqual([other, undefined]);
});

test('spellings that are too long for all of them to stay take no more room for that', () => {
  const { find, learn } = made(1_000);
  for (let at = 0; at < 1_000; at++) learn(`${'x'.repeat(1_000)}${at}:1|c`, null);
  expect([find(`${'x'.repeat(1_000)}0:1|c`), find(`${'x'.repeat(1_000)}999:1|c`)]).toEqual([undefined, null]);
});

test('what is gone, or held for another interval, is not found, and what is learnt instead takes its place', () => {
  const { find, learn } = made(1);
  const [gone, overflow, next] = [named('a'), named('o'), named('a')];
  learn('a:1|c', gone);
  gone.isGone = true;
  expect(find('a:1|c')).toBeUndefined();
  learn('a:1|c', overflow, 0, 7);
  expect([find('a:1|c', 0, 7), find('a:1|c', 0, 8)]).toEqual([overflow, undefined]);
  learn('a:1|c', next);
  expect([find('a:1|c', 0, 7), find('a:1|c', 0, 8)]).toEqual([next, next]);
});

test('the sample rate of a spelling comes with it, and stays when it has another series', () => {
  const { known, entryOf, learn } = made(16);
  learn('a:1|c', named('a'));
  learn('a:1|c|@0.3', named('a'), 0, 7, 0.3);
  learn('a:1|c|@0.3', named('a'), 0, 8, 0.3);
  expect(['a:5|c', 'a:5|c|@0.3'].map((text) => known.sampleRate(entryOf(text)))).toEqual([1, 0.3]);
});

test('what may be counted in the tallies says where, and what overflows may not', () => {
  const { known, entryOf, learn } = made(16);
  const tallies = new Tallies();
  const [, counter, gauge, timer] = (['gauge', 'counter', 'gauge', 'timer'] as const).map((kind) => newSeries({ kind, name: 'x', tags: [], source: '' }, tallies));
  learn('c:1|c', counter as Series);
  learn('g:1|g', gauge as Series);
  learn('t:1|ms', timer as Series);
  learn('o:1|c', counter as Series, 0, 0);
  learn('d:1|c', null);
  const ids = [counter, gauge].map((each) => (each as CounterSeries).id);
  expect(['c:2|c', 'g:2|g'].map((text) => entryOf(text)).map((entry) => [known.series(entry), known.place(entry), known.isGauge(entry)])).toEqual([[ids[0], 1, false], [ids[1], 2, true]]);
  expect(['t:2|ms', 'o:2|c', 'd:2|c'].map((text) => known.series(entryOf(text)))).toEqual([-1, -1, -1]);
});

test('names that were chosen to have one hash are remembered up to a number, so that no line is a search', () => {
  const { find, learn } = made(1_000, 7);
  const targets = Array.from({ length: 1_000 }, (_, at) => named(`m${at}`));
  for (const [at, target] of targets.entries()) learn(`m${at}:1|c`, target);
  expect(targets.map((target, at) => find(`m${at}:1|c`) === target).lastIndexOf(true)).toBe(31);
  expect(targets.slice(32).some((_, at) => find(`m${at + 32}:1|c`) !== undefined)).toBe(false);
});
