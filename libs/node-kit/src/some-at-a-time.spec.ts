import { expect, test } from '@jest/globals';
import { SomeAtATime } from './some-at-a-time.js';

test('never runs more than that, in the order it came, and goes on behind what fails', async () => {
  const some = new SomeAtATime(3);
  const started: number[] = [];
  let running = 0;
  let runningMax = 0;
  const results = await Promise.allSettled(
    Array.from({ length: 20 }, (_, number) =>
      some.run(async () => {
        started.push(number);
        runningMax = Math.max(runningMax, ++running);
        await new Promise((resolve) => setImmediate(resolve));
        running--;
        if (number % 5 === 0) throw new Error('failed');
        return number;
      }),
    ),
  );
  expect(runningMax).toBe(3);
  expect(started).toEqual(Array.from({ length: 20 }, (_, number) => number));
  expect(results.filter(({ status }) => status === 'rejected')).toHaveLength(4);
});
