import { expect, test } from '@jest/globals';
import { Limiter } from './limiter.js';

test('never more tasks than allowed run at a time, all run, in order, also after failures', async () => {
  const limiter = new Limiter(3);
  const started: number[] = [];
  let running = 0;
  let runningMax = 0;
  const results = await Promise.allSettled(
    Array.from({ length: 20 }, (_, index) =>
      limiter.run(async () => {
        started.push(index);
        runningMax = Math.max(runningMax, ++running);
        await new Promise((resolve) => setImmediate(resolve));
        running--;
        if (index % 4 === 0) throw new Error(`task ${index}`);
        return index;
      }),
    ),
  );
  expect(runningMax).toBe(3);
  expect(started).toEqual(Array.from({ length: 20 }, (_, index) => index));
  expect(results.filter(({ status }) => status === 'rejected')).toHaveLength(5);
});
