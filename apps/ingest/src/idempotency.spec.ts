import { expect, test } from '@jest/globals';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { Idempotency } from './idempotency.js';

test('a key is known as long as it is tried again within ten minutes, and not for longer', async () => {
  const clock = new FakeClock();
  const keys = new Idempotency(clock);
  let taken = 0;
  const take = (key: string): Promise<void> => keys.once(key, async () => void (taken += 1));
  for (let round = 0; round < 4; round++) {
    await take('tried again');
    await take(`another ${round}`);
    await clock.advance(400_000);
  }
  expect([taken, keys.recognised]).toEqual([5, 3]);
  await clock.advance(400_000);
  await take('another 4');
  await take('tried again');
  expect([taken, keys.recognised]).toEqual([7, 3]);
});

test('one that failed is forgotten, also when it was tried again meanwhile', async () => {
  const keys = new Idempotency(new FakeClock());
  let refuse = (_error: Error): void => {};
  const first = keys.once('key', () => new Promise((_resolve, reject) => (refuse = reject)));
  const second = keys.once('key', async () => {});
  refuse(new Error('the disk is full'));
  await expect(first).rejects.toThrow('full');
  await expect(second).rejects.toThrow('full');
  await keys.once('key', async () => {});
  expect(keys.recognised).toBe(1);
});
