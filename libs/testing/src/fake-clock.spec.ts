import { expect, test } from '@jest/globals';
import { FakeClock } from './fake-clock.js';

test('timers fire in the order they are due, each at its own time, with promises settled in between', async () => {
  const clock = new FakeClock();
  const seen: string[] = [];
  clock.after(20, () => {
    seen.push(`b@${clock.monotonicMs()}`);
    void Promise.resolve().then(() => seen.push('after b'));
  });
  clock.after(10, () => {
    seen.push(`a@${clock.monotonicMs()}`);
    clock.after(5, () => seen.push(`nested@${clock.monotonicMs()}`));
  });
  clock.after(30, () => seen.push('c'));
  await clock.advance(29);
  expect(seen).toEqual(['a@10', 'nested@15', 'b@20', 'after b']);
  expect(clock.timerCount()).toBe(1);
});

test('a cancelled timer does not fire', async () => {
  const clock = new FakeClock();
  let fired = false;
  const cancel = clock.after(10, () => {
    fired = true;
  });
  cancel();
  await clock.advance(100);
  expect(fired).toBe(false);
});

test('a step of the wall clock leaves monotonic time and timers alone', async () => {
  const clock = new FakeClock(1_000_000);
  let fired = false;
  clock.after(10, () => {
    fired = true;
  });
  clock.stepWallClock(-500_000);
  expect(clock.nowMs()).toBe(500_000);
  expect(clock.monotonicMs()).toBe(0);
  await clock.advance(9);
  expect(fired).toBe(false);
  await clock.advance(1);
  expect(fired).toBe(true);
  expect(clock.nowMs()).toBe(500_010);
});

test('a frozen process sees the time gone by before any of its timers ran', async () => {
  const clock = new FakeClock();
  let firedAtMs: number | undefined;
  clock.after(10, () => {
    firedAtMs = clock.monotonicMs();
  });
  clock.freezeFor(1_000);
  expect(firedAtMs).toBeUndefined();
  await clock.advance(0);
  expect(firedAtMs).toBe(1_000);
});

test('timers that re-arm themselves without delay end the test instead of hanging it', async () => {
  const clock = new FakeClock();
  const rearm = (): void => {
    clock.after(0, rearm);
  };
  rearm();
  await expect(clock.advance(1)).rejects.toThrow('more than 100000 timers');
});
