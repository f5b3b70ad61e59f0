import { expect, test } from '@jest/globals';
import { newSessionId, sessionIdMin } from './session-ids.js';
import { workerOf } from './workers.js';

test('ids are thread ids that no server gives out, and tell which worker holds them', () => {
  for (const total of [1, 2, 3, 7, 64]) {
    for (let number = 0; number < total; number++) {
      for (let round = 0; round < 50; round++) {
        const id = newSessionId(number, total, () => false);
        expect(id).toBeGreaterThanOrEqual(sessionIdMin);
        expect(id).toBeLessThan(2 ** 32);
        expect(workerOf(id, total)).toBe(number);
      }
    }
  }
});

test('an id that is taken is not given out again', () => {
  const asked: number[] = [];
  const id = newSessionId(0, 1, (candidate) => asked.push(candidate) < 5);
  expect(asked).toHaveLength(5);
  expect(id).toBe(asked[4]);
});
