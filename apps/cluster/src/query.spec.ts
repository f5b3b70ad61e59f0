import { expect, test } from '@jest/globals';
import { historyLimitOf, leaseNameOf, nodeIdOf } from './query.js';

test('a node id is taken as it is; absent and empty are none', () => {
  expect(nodeIdOf({ node: 'storage-0' })).toBe('storage-0');
  expect(nodeIdOf({ node: '' })).toBeUndefined();
  expect(nodeIdOf({})).toBeUndefined();
});

test.each([{ node: ['a', 'b'] }, { node: 'a b' }, { node: '*' }, { node: 'x'.repeat(65) }, { node: '../x' }])('%j is a bad request', (query) => {
  expect(() => nodeIdOf(query)).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
});

test.each(['0', '-1', '1001', '10x', '1e2', '', '99999999999', ['1', '2']])('limit %j is a bad request', (limit) => {
  expect(() => historyLimitOf({ limit })).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
});

test('a limit is read, and has a default', () => {
  expect(historyLimitOf({ limit: '1000' })).toBe(1_000);
  expect(historyLimitOf({})).toBe(100);
});

test.each(['a:history', 'a b', '', 'x'.repeat(65), 'é'])('no lease can be called %j', (name) => {
  expect(() => leaseNameOf(name)).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
});
