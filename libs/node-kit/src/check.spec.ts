import { expect, test } from '@jest/globals';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { CachedCheck, runChecks } from './check.js';

function counted(answer: (signal: AbortSignal) => Promise<string>, clock = new FakeClock()) {
  const calls: AbortSignal[] = [];
  const check = new CachedCheck(
    'redis',
    (signal) => {
      calls.push(signal);
      return answer(signal);
    },
    { clock, deadlineMs: 2_000, cacheMs: 1_000 },
  );
  return { clock, check, calls };
}

test('a result is kept for its time and then asked for again', async () => {
  const { clock, check, calls } = counted(async () => 'answers');
  expect(await check.run()).toEqual({ name: 'redis', ok: true, detail: 'answers' });
  await clock.advance(999);
  await check.run();
  expect(calls).toHaveLength(1);
  await clock.advance(1);
  await check.run();
  expect(calls).toHaveLength(2);
});

test('concurrent callers share one run', async () => {
  let answer = (_detail: string): void => {};
  const { check, calls } = counted(() => new Promise((resolve) => (answer = resolve)));
  const runs = [check.run(), check.run(), check.run()];
  answer('answers');
  expect(new Set((await Promise.all(runs)).map((result) => result.detail))).toEqual(new Set(['answers']));
  expect(calls).toHaveLength(1);
});

test('a check that hangs has failed at its deadline and is told to stop', async () => {
  const { clock, check, calls } = counted(() => new Promise(() => {}));
  const run = check.run();
  await clock.advance(2_000);
  expect(await run).toEqual({ name: 'redis', ok: false, detail: 'no answer within 2000 ms' });
  expect(calls[0]?.aborted).toBe(true);
});

test('a failure is a result like any other: kept, and with its reason', async () => {
  const { clock, check, calls } = counted(async () => {
    throw new Error('connection refused');
  });
  expect(await check.run()).toEqual({ name: 'redis', ok: false, detail: 'connection refused' });
  await check.run();
  expect(calls).toHaveLength(1);
  expect(clock.timerCount()).toBe(0);
});

test('a check that throws before its first wait has failed too', async () => {
  const { check } = counted(() => {
    throw new Error('at once');
  });
  expect((await check.run()).detail).toBe('at once');
});

test('one failed check makes 500, and both lists say why', async () => {
  const options = { clock: new FakeClock(), deadlineMs: 100, cacheMs: 0 };
  const good = new CachedCheck('disk', async () => '80 % free', options);
  const bad = new CachedCheck('redis', async () => Promise.reject(new Error('away')), options);
  expect(await runChecks([good, bad])).toEqual({ status: 500, body: { ok: ['disk: 80 % free'], failed: ['redis: away'] } });
  expect(await runChecks([good])).toEqual({ status: 200, body: { ok: ['disk: 80 % free'], failed: [] } });
});
