import { expect, test } from '@jest/globals';
import { disaggMode } from './disagg-mode.js';

test.each([
  [['write'], 'Storage'],
  [['compute'], 'Compute'],
  [['compute', 'write'], 'Both'],
  [[], 'None'],
])('modes %j are %s', (modes, expected) => {
  expect(disaggMode(modes)).toBe(expected);
});
