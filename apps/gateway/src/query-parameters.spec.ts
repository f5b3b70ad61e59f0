import { expect, test } from '@jest/globals';
import { splitQuery } from './query-parameters.js';

test.each([
  ['', undefined, ''],
  ['seconds=10&x=%20', undefined, 'seconds=10&x=%20'],
  ['node=storage-0', 'storage-0', ''],
  ['a=1&node=*&b=2', '*', 'a=1&b=2'],
  ['n%6fde=x+y', 'x y', ''],
  ['node', '', ''],
  ['node=%zz', '%zz', ''],
  ['nodes=3&Node=4', undefined, 'nodes=3&Node=4'],
  ['x-typesense-api-key=secret&q=1', undefined, 'q=1'],
  ['X-Typesense-Api-Key=secret', undefined, ''],
  ['x%2Dtypesense%2Dapi%2Dkey=secret&x-binnacle-api-key=other&', undefined, ''],
])('%s', (query, node, rest) => {
  expect(splitQuery(query)).toEqual({ node, rest });
});

test('two nodes in one query are refused: which one was meant cannot be told', () => {
  expect(() => splitQuery('node=a&node=a')).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
});
