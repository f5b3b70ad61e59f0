import { expect, test } from '@jest/globals';
import { disaggMode, isInMode } from './disagg-mode.js';

test.each([
  [['write'], 'Storage'],
  [['compute'], 'Compute'],
  [['compute', 'write'], 'Both'],
  [[], 'None'],
])('modes %j are %s', (modes, expected) => {
  expect(disaggMode(modes)).toBe(expected);
});

test('a node is in the modes that its label says, and one without it in none', () => {
  const inModes = (labels: Record<string, string>) => [isInMode({ labels }, 'write'), isInMode({ labels }, 'compute')];
  expect([{ 'disagg-mode': 'Storage' }, { 'disagg-mode': 'Compute' }, { 'disagg-mode': 'Both' }, { 'disagg-mode': 'None' }, {}].map((labels) => inModes(labels as Record<string, string>))).toEqual([
    [true, false],
    [false, true],
    [true, true],
    [false, false],
    [false, false],
  ]);
});
