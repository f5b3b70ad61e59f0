import { expect, test } from '@jest/globals';
import { parseKeyspaceId, parseTableId, syncStatusText } from './sync-status.js';

const table = { regions: [256, 257, 258].map((id) => ({ id, writeNode: 'n1', term: 1 })) };

test('regions count whose replica lags two minutes at most', () => {
  const lags = new Map([[256, 0], [257, 120_000], [258, 120_001]]);
  expect(syncStatusText(table, (id) => lags.get(id) ?? Infinity)).toBe('2\n256 257\n');
});

test('an unknown table, and one none of whose replicas is known to be near, have none', () => {
  expect(syncStatusText(undefined, () => 0)).toBe('0\n\n');
  expect(syncStatusText(table, () => Infinity)).toBe('0\n\n');
});

test.each(['', 'x', '-1', '1x', ' 1', '1.5', '0x10', '99999999999999999999'])('%p is no number of a table', (text) => {
  expect(() => parseTableId(text)).toThrow('invalid table id in request');
});

test('ids of tables have 63 bits, ids of keyspaces 32', () => {
  expect(parseTableId('100')).toBe(100);
  expect(parseTableId('9223372036854775807')).toBeGreaterThan(2 ** 62);
  expect(parseKeyspaceId('4294967295')).toBe(2 ** 32 - 1);
  expect(() => parseKeyspaceId('4294967296')).toThrow('invalid keyspace id in request');
});
