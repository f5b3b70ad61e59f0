import { expect, test } from '@jest/globals';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { pino } from 'pino';
import { runShutdown, ShutdownDeadlineError } from './shutdown.js';

function options(clock: FakeClock, lines: string[] = []) {
  const log = pino({}, { write: (line: string) => void lines.push(line) });
  return { clock, deadlineMs: 5_000, log, describeRest: () => 'GET /slow' };
}

test('steps run one after the other, each when the one before has ended', async () => {
  const clock = new FakeClock();
  const seen: string[] = [];
  const steps = ['a', 'b'].map((name) => ({
    name,
    run: async () => {
      seen.push(`${name} begins`);
      await new Promise<void>((resolve) => clock.after(1_000, resolve));
      seen.push(`${name} ends`);
    },
  }));
  const done = runShutdown(steps, options(clock));
  await clock.advance(2_000);
  await done;
  expect(seen).toEqual(['a begins', 'a ends', 'b begins', 'b ends']);
  expect(clock.timerCount()).toBe(0);
});

test('a step that fails is logged and does not keep the next one from running', async () => {
  const lines: string[] = [];
  const seen: string[] = [];
  await runShutdown(
    [
      { name: 'drain gateway', run: () => Promise.reject(new Error('broken')) },
      { name: 'stop gateway', run: () => void seen.push('stopped') },
    ],
    options(new FakeClock(), lines),
  );
  expect(seen).toEqual(['stopped']);
  expect(lines.join('')).toMatch(/drain gateway.*broken|broken.*drain gateway/s);
});

test('at the deadline it says which step and which requests still run, and starts no further step', async () => {
  const clock = new FakeClock();
  const seen: string[] = [];
  let release = (): void => {};
  const done = runShutdown(
    [
      { name: 'drain gateway', run: () => new Promise<void>((resolve) => (release = resolve)) },
      { name: 'stop gateway', run: () => void seen.push('stopped') },
    ],
    options(clock),
  );
  const failure = expect(done).rejects.toThrow(new ShutdownDeadlineError('not stopped within 5000 ms: "drain gateway" still ran; requests in flight: GET /slow'));
  await clock.advance(5_000);
  await failure;
  release();
  await clock.advance(0);
  expect(seen).toEqual([]);
});
