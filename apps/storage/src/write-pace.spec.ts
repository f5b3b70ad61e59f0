import { beforeEach, expect, test } from '@jest/globals';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { delayMsMax, WritePace } from './write-pace.js';

let clock: FakeClock;
let pace: WritePace;
let lag: { ms: number; msPerVersion: number };

beforeEach(() => {
  clock = new FakeClock();
  pace = new WritePace(clock, 2_000);
  lag = { ms: 0, msPerVersion: 0.2 };
  pace.add({ lag: () => lag });
});

/** How long a batch waits. */
async function waitMs(changes: number): Promise<number> {
  const beganMs = clock.monotonicMs();
  let endedMs: number | undefined;
  void pace.wait(changes).then(() => (endedMs = clock.monotonicMs()));
  for (let turn = 0; turn < 2 * delayMsMax && endedMs === undefined; turn++) await clock.advance(1);
  return (endedMs ?? Infinity) - beganMs;
}

test('nobody waits while the lag is allowed', async () => {
  lag.ms = 2_000;
  expect([await waitMs(1_000), pace.delayedMs, pace.lagMs()]).toEqual([0, 0, 2_000]);
});

test('beyond it a batch takes as long as it keeps the follower busy, longer in proportion to the lag, never more than a second', async () => {
  lag.ms = 2_002;
  expect(Math.round(await waitMs(1_000))).toBeCloseTo(200, -1);
  lag.ms = 4_000;
  expect(await waitMs(1_000)).toBe(400);
  lag = { ms: 60_000, msPerVersion: 100 };
  expect(await waitMs(1_000)).toBe(delayMsMax);
  expect(pace.delayedMs).toBeGreaterThanOrEqual(1_600);
});

test('small batches wait for several of them at once', async () => {
  lag.ms = 4_000;
  const waits: number[] = [];
  for (let batch = 0; batch < 26; batch++) waits.push(await waitMs(1));
  // 0.4 ms each: every thirteenth waits for 5.2.
  expect(waits.filter((ms) => ms > 0)).toHaveLength(2);
});
