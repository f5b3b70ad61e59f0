import { expect, test } from '@jest/globals';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { pino } from 'pino';
import { Shutdown } from './shutdown.js';
import type { WorkerOrder } from './worker-protocol.js';
import type { Workers } from './workers.js';

function described(workers = [0, 1]) {
  const clock = new FakeClock();
  const orders: WorkerOrder[] = [];
  const pool = { startNoMore: () => {}, sessions: () => [3, 4], runningNumbers: () => workers, order: (order: WorkerOrder) => void orders.push(order) };
  const shutdown = new Shutdown(clock, pino({ level: 'silent' }), () => pool as unknown as Workers);
  return { clock, orders, shutdown };
}

test('the port stays open while load balancers hear of it, then closes, and the end waits for every worker', async () => {
  const { clock, orders, shutdown } = described();
  shutdown.opened();
  let ended = false;
  const end = shutdown.run({ waitMs: 5_000, graceMs: 15_000 }).then(() => (ended = true));
  await clock.advance(4_999);
  expect([shutdown.state, orders]).toEqual(['waiting', []]);
  await clock.advance(1);
  expect([shutdown.state, orders]).toEqual(['closing', [{ kind: 'shutdown', graceMs: 15_000 }]]);
  shutdown.drained(0, 0);
  await clock.advance(1_000);
  expect(ended).toBe(false);
  shutdown.drained(1, 2);
  await end;
  expect(clock.timerCount()).toBe(0);
});

test('a worker that says nothing does not hold it up for longer than the deadline', async () => {
  const { clock, shutdown } = described();
  shutdown.opened();
  const end = shutdown.run({ waitMs: 0, graceMs: 2_000 });
  await clock.advance(3_000);
  await end;
});

test('a port that was never open needs no end', async () => {
  const { orders, shutdown } = described();
  await shutdown.run({ waitMs: 5_000, graceMs: 2_000 });
  expect(orders).toEqual([]);
});
