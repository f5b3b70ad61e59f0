import { expect, test } from '@jest/globals';
import { seededRandom } from '@binnacle/testing/seeded-random';
import type { MoveOrder, SessionCount } from '../balance/orders.js';
import { splitOrder, summedCounts } from './split-orders.js';

const on = (backend: string, sessions: number, busy: Partial<SessionCount> = {}): SessionCount => ({ backend, role: 'writer', sessions, leaving: 0, arriving: 0, resting: 0, ...busy });
const order = (count: number): MoveOrder => ({ from: 'a:1', to: 'b:1', role: 'writer', count, reason: 'conn' });

test('counts of all workers add up by backend and role', () => {
  const sum = summedCounts([[on('a:1', 3, { leaving: 1 }), on('b:1', 1)], [on('a:1', 4, { resting: 2 }), on('a:1', 9, { role: 'replica' })]]);
  expect(sum).toEqual([on('a:1', 7, { leaving: 1, resting: 2 }), on('b:1', 1), on('a:1', 9, { role: 'replica' })]);
});

test('each worker moves its share, and never more than it has to move', () => {
  expect(splitOrder(order(10), [[on('a:1', 75)], [on('a:1', 25)], [on('b:1', 50)]]).map(({ count }) => count)).toEqual([8, 2, 0]);
  expect(splitOrder(order(10), [[on('a:1', 5, { leaving: 4 })], [on('a:1', 3, { resting: 3 })]]).map(({ count }) => count)).toEqual([1, 0]);
});

test('together they move exactly what was ordered, as long as there is so much', () => {
  const random = seededRandom(7);
  for (let round = 0; round < 500; round++) {
    const counts = Array.from({ length: 1 + random.below(8) }, () => [on('a:1', random.below(40))]);
    const wished = random.below(100);
    const shares = splitOrder(order(wished), counts);
    const total = counts.reduce((sum, [count]) => sum + (count as SessionCount).sessions, 0);
    expect(shares.reduce((sum, { count }) => sum + count, 0)).toBe(Math.min(wished, total));
    shares.forEach(({ count }, at) => expect(count).toBeLessThanOrEqual((counts[at]?.[0] as SessionCount).sessions));
  }
});
