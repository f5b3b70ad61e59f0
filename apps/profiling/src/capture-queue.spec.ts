import { expect, test } from '@jest/globals';
import { setTimeout as delay } from 'node:timers/promises';
import { CaptureQueue } from './capture-queue.js';

const never = new AbortController().signal;
const wait = { whenBusy: 'wait', signal: never } as const;

/** A capture that ends when the test says so. */
function capture(name: string, order: string[] = []) {
  let end = (): void => {};
  let fail = (): void => {};
  const promise = new Promise<string>((resolve, reject) => {
    end = () => resolve(name);
    fail = () => reject(new Error(name));
  });
  const run = (): Promise<string> => {
    order.push(name);
    return promise;
  };
  return { run, end, fail };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('captures of one target go one after the other in the order they came, those of others at the same time', async () => {
  const queue = new CaptureQueue(8);
  const order: string[] = [];
  const captures = ['a', 'b', 'c'].map((name) => capture(name, order));
  const results = captures.map(({ run }) => queue.run('n0', wait, run));
  const other = capture('other', order);
  void queue.run('n1', wait, other.run);
  await turn();
  expect(order).toEqual(['a', 'other']);
  expect(queue.waitingFor('n0')).toBe(2);
  captures.forEach(({ end }) => end());
  expect(await Promise.all(results)).toEqual(['a', 'b', 'c']);
  expect(order).toEqual(['a', 'other', 'b', 'c']);
  expect(queue.waitingFor('n0')).toBeUndefined();
});

test('who may not wait is refused in the words of TiFlash, and gets in when it is free again', async () => {
  const queue = new CaptureQueue(8);
  const refuse = { whenBusy: 'refuse', signal: never } as const;
  const first = capture('first');
  const running = queue.run('n0', refuse, first.run);
  await expect(queue.run('n0', refuse, async () => 'second')).rejects.toMatchObject({ code: 'ALREADY_PROFILING', message: 'Already in Profiling' });
  first.end();
  await running;
  expect(await queue.run('n0', refuse, async () => 'third')).toBe('third');
});

test('one in the background gives way to the first that comes, which then has the turn to itself', async () => {
  const queue = new CaptureQueue(8);
  const hour = ({ signal }: { signal: AbortSignal }) => delay(3_600_000, undefined, { signal }).catch(() => signal.throwIfAborted());
  const background = queue.run('n0', { whenBusy: 'give way', signal: never }, hour);
  const first = capture('first');
  const refuse = { whenBusy: 'refuse', signal: never } as const;
  // The node may still be ending the other: this one asks again instead of being refused.
  const running = queue.run('n0', refuse, async ({ whenBusy }) => (expect(whenBusy).toBe('wait'), first.run()));
  await expect(background).rejects.toMatchObject({ code: 'ALREADY_PROFILING' });
  await expect(queue.run('n0', refuse, async () => 'second')).rejects.toMatchObject({ code: 'ALREADY_PROFILING' });
  await expect(queue.run('n0', { whenBusy: 'give way', signal: never }, async () => 'later')).rejects.toMatchObject({ code: 'ALREADY_PROFILING' });
  first.end();
  await running;
  expect(queue.waitingFor('n0')).toBeUndefined();
});

test('of fifty at once one runs, eight wait and the others hear when to come again', async () => {
  const queue = new CaptureQueue(8);
  const results = await Promise.allSettled(Array.from({ length: 50 }, (_, index) => queue.run('n0', wait, async () => index)));
  const reasons = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as { code: string; retryAfterS: number }] : []));
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(9);
  expect(reasons).toHaveLength(41);
  for (const reason of reasons) expect(reason).toMatchObject({ code: 'OVERLOADED', retryAfterS: 10 });
});

test('who goes away leaves the queue, and does not run when its turn would have come', async () => {
  const queue = new CaptureQueue(1);
  const order: string[] = [];
  const first = capture('first', order);
  const running = queue.run('n0', wait, first.run);
  const client = new AbortController();
  const gone = queue.run('n0', { whenBusy: 'wait', signal: client.signal }, capture('gone', order).run);
  await turn();
  client.abort(new Error('hung up'));
  await expect(gone).rejects.toThrow('hung up');
  const third = queue.run('n0', wait, async () => void order.push('third'));
  first.end();
  await Promise.all([running, third]);
  expect(order).toEqual(['first', 'third']);
});

test('who had gone before it came never runs', async () => {
  const queue = new CaptureQueue(8);
  await expect(queue.run('n0', { whenBusy: 'wait', signal: AbortSignal.abort(new Error('gone')) }, async () => 1)).rejects.toThrow('gone');
  expect(queue.waitingFor('n0')).toBeUndefined();
});

test('a capture that fails, or throws at once, ends its turn', async () => {
  const queue = new CaptureQueue(8);
  const first = capture('first');
  const running = queue.run('n0', wait, first.run);
  const second = queue.run('n0', wait, () => {
    throw new Error('at once');
  });
  const third = queue.run('n0', wait, async () => 'third');
  first.fail();
  await expect(running).rejects.toThrow('first');
  await expect(second).rejects.toThrow('at once');
  expect(await third).toBe('third');
});
