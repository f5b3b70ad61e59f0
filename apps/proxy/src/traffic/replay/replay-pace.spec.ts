import { expect, test } from '@jest/globals';
import { ReplayPace } from './replay-pace.js';

test('commands are due as far apart as they were, divided by the speed, whatever was late before', () => {
  let nowMs = 5_000;
  const pace = new ReplayPace(2, () => nowMs);
  expect(pace.dueMs(1_000_000)).toBe(5_000);
  nowMs = 9_999;
  expect(pace.dueMs(3_000_000)).toBe(6_000);
  expect(pace.dueMs(2_001_000)).toBe(5_500.5);
  expect(pace.dueMs(1)).toBe(5_000);
});

test('lag is how late commands go out: the last one, and the latest', () => {
  let nowMs = 0;
  const pace = new ReplayPace(1, () => nowMs);
  pace.sent(1_000);
  expect(pace.lagMs).toBe(0);
  nowMs = 30;
  pace.sent(11_000);
  expect(pace.lagMs).toBe(20);
  pace.sent(41_000);
  expect([pace.lagMs, pace.lagMaxMs]).toEqual([0, 20]);
});
