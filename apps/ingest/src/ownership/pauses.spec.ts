import { expect, test } from '@jest/globals';
import type { Clock } from '@binnacle/cluster-state/clock';
import { Pauses } from './pauses.js';

/** Timers run when a test says so, as after a pause: late. */
class StoppedClock implements Clock {
  time = 0;
  timer: (() => void) | undefined;
  nowMs = (): number => this.time;
  monotonicMs = (): number => this.time;
  after = (_delayMs: number, callback: () => void): (() => void) => {
    this.timer = callback;
    return () => (this.timer = undefined);
  };
}

test.each(['what arrives', 'the timer'])('a pause is noticed when %s comes first, and is over a second later', (first) => {
  const clock = new StoppedClock();
  const pauses = new Pauses(clock, 5_000);
  pauses.start();
  for (clock.time = 1_250; clock.time <= 5_000; clock.time += 1_250) clock.timer?.();
  expect(pauses.isJustOver()).toBe(false);
  clock.time += 5_001;
  if (first === 'the timer') clock.timer?.();
  expect(pauses.isJustOver()).toBe(true);
  clock.timer?.();
  clock.time += 999;
  expect(pauses.isJustOver()).toBe(true);
  clock.time += 1;
  expect(pauses.isJustOver()).toBe(false);
  pauses.stop();
  expect(clock.timer).toBeUndefined();
});
