import { expect, test } from '@jest/globals';
import { type CrashRound, crashRounds } from './crash-rounds.js';

test('ten processes killed while they write lose nothing acknowledged and leave nothing in part', async () => {
  const rounds: CrashRound[] = [];
  await crashRounds(10, (round) => rounds.push(round));
  expect(rounds).toHaveLength(10);
  // Otherwise nothing was put to the test.
  expect(rounds.reduce((sum, { acknowledged }) => sum + acknowledged, 0)).toBeGreaterThan(300);
  expect(rounds.some(({ replayedOperations }) => replayedOperations > 0)).toBe(true);
});
