import { expect, test } from '@jest/globals';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { pino } from 'pino';
import type { NodeQuestions, WorkerOrder, WorkerQuestions, WorkerSetup } from './worker-protocol.js';
import { Workers, type WorkerUplink } from './workers.js';

interface FakeWorker {
  readonly number: number;
  readonly uplink: WorkerUplink;
  readonly orders: WorkerOrder[];
  ended: boolean;
  die(): void;
}

/** Workers without processes: each notes what it is told, and answers with its number. */
function described(total: number, options: { startFails?: () => boolean; diesAtStart?: () => boolean } = {}) {
  const clock = new FakeClock();
  const made: FakeWorker[] = [];
  const lost: [number, number][] = [];
  const workers = new Workers(
    {
      clock,
      log: pino({ level: 'silent' }),
      setup: (number) => ({ number }) as WorkerSetup,
      view: () => ({ version: 7, routingPolicy: 'prefer-idle', backends: [] }),
      make: (number, uplink, died) => {
        const worker: FakeWorker = { number, uplink, orders: [], ended: false, die: () => died('signal SIGKILL') };
        made.push(worker);
        const answer = async (kind: keyof WorkerQuestions): Promise<unknown> => {
          if (kind === 'start' && options.diesAtStart?.()) {
            // As the end of a process: who waits for its answer hears of it too.
            worker.die();
            throw new Error('the peer has gone');
          }
          if (kind === 'start' && options.startFails?.()) throw new Error('port 6000 is in use');
          return kind === 'start' ? { addresses: ['127.0.0.1:6000'] } : { sessions: [{ id: number }], total: 1 };
        };
        return { order: (order) => void worker.orders.push(order), ask: (kind) => answer(kind) as Promise<WorkerQuestions[typeof kind]['answer']>, end: async () => void (worker.ended = true) };
      },
      reported: () => {},
      asked: async () => undefined as NodeQuestions[keyof NodeQuestions]['answer'],
      lost: (worker, sessions) => void lost.push([worker, sessions]),
    },
    total,
  );
  return { clock, made, lost, workers };
}

const counts = (sessions: number) => ({ kind: 'counts', counts: [], sessions, tenants: {} }) as const;

test('each worker hears what the others have, and their lists are one', async () => {
  const { made, workers } = described(2);
  await workers.start();
  made[0]!.uplink.report(counts(5));
  expect(workers.sessions()).toEqual([5, 0]);
  expect(made[1]!.orders.at(-1)).toEqual({ kind: 'others', sessions: 5, tenants: {} });
  expect(await workers.list({ limit: 1 })).toEqual({ sessions: [{ id: 0 }], total: 2 });
});

test('one that dies is started again with the view of now, later each time it dies soon', async () => {
  const { clock, made, lost, workers } = described(2);
  await workers.start();
  made[1]!.uplink.report(counts(3));
  for (const delayMs of [100, 200, 400]) {
    made.findLast(({ number }) => number === 1)!.die();
    expect(workers.sessions()).toEqual([0, 0]);
    const before = made.length;
    await clock.advance(delayMs - 1);
    expect(made.length).toBe(before);
    await clock.advance(1);
    expect(made.length).toBe(before + 1);
    expect(made.at(-1)!.orders[0]).toMatchObject({ kind: 'view', view: { version: 7 } });
  }
  expect(lost[0]).toEqual([1, 3]);

  await clock.advance(60_000);
  made.findLast(({ number }) => number === 1)!.die();
  await clock.advance(100);
  expect(workers.runningNumbers()).toEqual([0, 1]);
});

test('a worker that cannot start again is tried again; at the first start it is an error', async () => {
  let fails = false;
  const { clock, made, workers } = described(1, { startFails: () => fails });
  await workers.start();
  fails = true;
  made[0]!.die();
  await clock.advance(100);
  await clock.advance(200);
  expect([made.length, workers.runningNumbers()]).toEqual([3, []]);
  fails = false;
  await clock.advance(400);
  expect(workers.runningNumbers()).toEqual([0]);
  await expect(described(1, { startFails: () => true }).workers.start()).rejects.toThrow('port 6000 is in use');
});

test('one that dies while it starts is followed by one, and the first start says what it died of', async () => {
  let dies = false;
  const { clock, made, workers } = described(1, { diesAtStart: () => dies });
  await workers.start();
  dies = true;
  made[0]!.die();
  for (const delayMs of [100, 200, 400]) {
    const before = made.length;
    await clock.advance(delayMs);
    expect([made.length, clock.timerCount()]).toEqual([before + 1, 1]);
  }
  dies = false;
  await clock.advance(800);
  expect([made.length, workers.runningNumbers(), clock.timerCount()]).toEqual([5, [0], 0]);
  await expect(described(1, { diesAtStart: () => true }).workers.start()).rejects.toThrow('died while it started: signal SIGKILL');
});

test('nothing is started again once the end has begun', async () => {
  const { clock, made, workers } = described(1);
  await workers.start();
  workers.startNoMore();
  made[0]!.die();
  await clock.advance(60_000);
  expect(made).toHaveLength(1);
  expect(clock.timerCount()).toBe(0);
});

test('one that died before the end has begun is not started again either', async () => {
  const { clock, made, workers } = described(1);
  await workers.start();
  made[0]!.die();
  workers.startNoMore();
  await clock.advance(60_000);
  expect(made).toHaveLength(1);
  expect(clock.timerCount()).toBe(0);
});

test('one that is starting again when the end begins is ended', async () => {
  let ends = false;
  const { clock, made, workers } = described(1, {
    startFails: () => {
      if (ends) workers.startNoMore();
      return false;
    },
  });
  await workers.start();
  ends = true;
  made[0]!.die();
  await clock.advance(60_000);
  expect(made.map(({ ended }) => ended)).toEqual([false, true]);
  expect([workers.runningNumbers(), clock.timerCount()]).toEqual([[], 0]);
});
