import { expect, test } from '@jest/globals';
import { IndexLag } from './index-lag.js';

/** Begun at version 100, with nothing to do. */
function begun(): IndexLag {
  const lag = new IndexLag();
  lag.progressed(100, 0);
  return lag;
}

test('tells by the speed it saw, not by the pauses, how long the rest takes', () => {
  const lag = begun();
  for (let nowMs = 0, version = 100; nowMs < 100_000; nowMs += 10_000) {
    lag.announced((version += 1_000), nowMs);
    lag.progressed(version - 500, nowMs + 50);
    lag.progressed(version, nowMs + 100);
  }
  expect(lag.versionsPerMs()).toBeCloseTo(10, 1);
  expect(lag.lagMs(10_100 + 5_000)).toBeCloseTo(500, -1);
  expect(lag.lagMs(10_000)).toBe(0);
});

test('follows a speed that changes', () => {
  const lag = begun();
  lag.announced(1_000_000, 0);
  for (let step = 1; step <= 4; step++) lag.progressed(100 + step * 10, step * 100);
  expect(lag.versionsPerMs()).toBeCloseTo(0.1, 1);
  for (let step = 5; step <= 20; step++) lag.progressed(step * 1_000, step * 100);
  expect(Math.round(lag.versionsPerMs())).toBe(10);
});

test('says nothing of a thread that is gone or has not begun, and takes where it begins for no speed', () => {
  const lag = new IndexLag();
  lag.announced(1_000_000, 0);
  expect(lag.lagMs(1_000_000)).toBe(0);
  lag.progressed(999_000, 1);
  expect([lag.lagMs(1_000_000), lag.versionsPerMs()]).toEqual([200, 5]);
  lag.begunAnew();
  expect(lag.lagMs(1_000_000)).toBe(0);
});
