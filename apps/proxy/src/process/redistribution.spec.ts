import { expect, test } from '@jest/globals';
import { seededRandom } from '@binnacle/testing/seeded-random';
import type { Backend } from '../backends/backend.js';
import type { SessionCount } from '../balance/orders.js';
import { redistribution } from './redistribution.js';

const backend = (id: string, more: Partial<Backend> = {}): Backend => ({
  id, host: id, port: 1, cluster: 'default', kind: 'mariadb', healthy: true, reason: '', draining: false, readOnly: false, group: 'g', labels: {}, ...more,
});
const on = (id: string, sessions: number): SessionCount => ({ backend: id, role: 'writer', sessions, leaving: 0, arriving: 0, resting: 0 });

test('every backend of a group gets its share, and nobody gets more than that', () => {
  const random = seededRandom(11);
  for (let round = 0; round < 300; round++) {
    const backends = Array.from({ length: 1 + random.below(6) }, (_, at) => backend(`b${at}`));
    const left = new Map(backends.map(({ id }) => [id, random.below(50)]));
    const total = [...left.values()].reduce((sum, each) => sum + each, 0);
    for (const { from, to, count } of redistribution(backends, [...left].map(([id, sessions]) => on(id, sessions)))) {
      left.set(from, (left.get(from) ?? 0) - count);
      left.set(to, (left.get(to) ?? 0) + count);
    }
    const spread = [...left.values()];
    expect(spread.reduce((sum, each) => sum + each, 0)).toBe(total);
    expect(Math.max(...spread) - Math.min(...spread)).toBeLessThanOrEqual(1);
  }
});

test('nothing goes to other data, to the sick, the drained or the read-only', () => {
  const backends = [backend('a'), backend('b', { group: 'other' }), backend('c', { healthy: false }), backend('d', { draining: true }), backend('e', { readOnly: true })];
  expect(redistribution(backends, [on('a', 40)])).toEqual([]);
  expect(redistribution([...backends, backend('f')], [on('a', 40)])).toEqual([{ from: 'a', to: 'f', role: 'writer', count: 20, reason: 'api' }]);
});
