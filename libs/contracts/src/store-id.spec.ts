import { expect, test } from '@jest/globals';
import { storeIdOf } from './store-id.js';

test('a store id depends on the node id alone, is a u32 and never 0', () => {
  // Clients keep these: they never change.
  expect([storeIdOf('storage-0'), storeIdOf('storage-1')]).toEqual([storeIdOf('storage-0'), storeIdOf('storage-1')]);
  const ids = Array.from({ length: 10_000 }, (_, index) => storeIdOf(`node-${index}`));
  expect(new Set(ids).size).toBe(10_000);
  for (const id of ids) expect(Number.isInteger(id) && id >= 1 && id <= 2 ** 32 - 1).toBe(true);
});
