import { expect, test } from '@jest/globals';
import { formatAmong, profileFilterOf, queryOf } from './profile-query.js';

test('without parameters everything is meant, the newest hundred', () => {
  expect(profileFilterOf({})).toEqual({ node: undefined, kind: undefined, fromMs: undefined, toMs: undefined, limit: 100 });
});

test.each([
  ['2026-11-21', Date.UTC(2026, 10, 21)],
  ['2026-11-21T03:12', Date.UTC(2026, 10, 21, 3, 12)],
  ['2026-11-21T03:12:05.5Z', Date.UTC(2026, 10, 21, 3, 12, 5, 500)],
  ['2026-11-21T03:12:00+01:00', Date.UTC(2026, 10, 21, 2, 12)],
  ['2026-11-21T03:12:00 01:00', Date.UTC(2026, 10, 21, 2, 12)],
])('%s is a time, in UTC unless it says otherwise', (from, fromMs) => {
  expect(profileFilterOf({ from }).fromMs).toBe(fromMs);
});

test('a filter survives the way to another node', () => {
  const filter = profileFilterOf({ node: '*', kind: 'cpu', from: '2026-11-21T03:12', to: '2026-11-21T03:13', limit: '7' });
  expect(profileFilterOf(Object.fromEntries(new URLSearchParams(queryOf(filter))))).toEqual(filter);
});

test.each([
  [{ node: '../etc' }, 'node is no node id'],
  [{ node: ['a', 'b'] }, 'node is given more than once'],
  [{ kind: 'wall' }, 'kind must be one of cpu, heap, native-heap'],
  [{ from: 'yesterday' }, 'from must be a time like'],
  [{ from: '2026-13-45' }, 'from must be a time like'],
  [{ to: '1763694720' }, 'to must be a time like'],
  [{ from: '2026-11-22', to: '2026-11-21' }, 'from is later than to'],
  [{ limit: '0' }, 'limit must be a whole number from 1 to 1000'],
  [{ limit: '1001' }, 'limit must be'],
  [{ limit: '1e2' }, 'limit must be'],
  [{ nodes: 'a' }, '"nodes" is no parameter of this path: node, kind, from, to, limit'],
])('%j is refused: %s', (query, message) => {
  expect(() => profileFilterOf(query)).toThrow(message);
});

test('an unknown format is refused with those there are', () => {
  expect(formatAmong({}, ['svg', 'pprof'], 'svg')).toBe('svg');
  expect(() => formatAmong({ format: 'pdf' }, ['svg', 'pprof'], 'svg')).toThrow('format must be one of svg, pprof');
});
