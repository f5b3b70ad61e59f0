import { expect, test } from '@jest/globals';
import { nodeRecord } from '../test/fake-node.js';
import { planRound } from './continuous-round.js';

const limits = { nodesAtOnceMax: 8, eventLoopDelayMsMax: 500, after: undefined };
const many = (count: number) => Array.from({ length: count }, (_, at) => nodeRecord(`n${String(at).padStart(3, '0')}`));

/** Captures that run at once, each for the longest turn. */
function atOnce(delaysMs: readonly number[]): number {
  return Math.max(...delaysMs.map((start) => delaysMs.filter((other) => other <= start && start < other + 11_000).length));
}

test('the nodes of a small cluster are spread over the minute', () => {
  const { turns, left } = planRound(many(3), limits);
  expect(turns.map(({ node, delayMs }) => [node.id, delayMs])).toEqual([['n000', 0], ['n001', 23_000], ['n002', 46_000]]);
  expect(left).toBe(0);
});

test('one node alone begins at once, and none is no round', () => {
  expect(planRound(many(1), limits).turns).toMatchObject([{ delayMs: 0 }]);
  expect(planRound([], limits).turns).toEqual([]);
});

test.each([1, 2, 8, 100])('at most %i captures run at once, and all end within the minute', (nodesAtOnceMax) => {
  const delaysMs = planRound(many(1_000), { ...limits, nodesAtOnceMax }).turns.map(({ delayMs }) => delayMs);
  expect(atOnce(delaysMs)).toBeLessThanOrEqual(nodesAtOnceMax);
  expect(delaysMs.length).toBeGreaterThan(4 * nodesAtOnceMax);
  expect(Math.max(...delaysMs)).toBeLessThan(48_000);
});

test('where there are more nodes than turns, every node has one after some rounds', () => {
  const nodes = many(100);
  const seen: string[] = [];
  let after: string | undefined;
  for (let round = 0; round < 3; round++) {
    const plan = planRound(nodes, { ...limits, after });
    seen.push(...plan.turns.map(({ node }) => node.id));
    after = plan.after;
  }
  expect(new Set(seen).size).toBe(100);
  expect(seen.slice(0, 100)).toEqual(nodes.map(({ id }) => id));
});

test('a node in trouble is left alone, with the reason', () => {
  const nodes = [nodeRecord('a', { eventLoopDelayMs: 500 }), nodeRecord('b', { resourceError: 'OUT_OF_MEMORY' }), nodeRecord('c', { state: 'stopping' }), nodeRecord('d', { resourceError: 'OUT_OF_DISK' })];
  const { turns, skipped } = planRound(nodes, limits);
  expect(turns.map(({ node }) => node.id)).toEqual(['d']);
  expect(skipped).toEqual([
    { nodeId: 'a', reason: 'its event loop is 500 ms late' },
    { nodeId: 'b', reason: 'it is short of memory' },
    { nodeId: 'c', reason: 'it is stopping' },
  ]);
});
