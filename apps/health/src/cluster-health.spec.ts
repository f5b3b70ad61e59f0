import { expect, test } from '@jest/globals';
import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { healthAnswer } from './cluster-health.js';

const storage = (facts: Partial<NodeRecord> = {}): NodeRecord => ({
  id: 'storage-0',
  incarnation: 'i',
  roles: ['storage'],
  host: '127.0.0.1',
  port: 1,
  state: 'running',
  version: '0.1.0',
  startedAtMs: 0,
  appliedRevision: 100,
  outstandingRequests: 0,
  eventLoopDelayMs: 0,
  labels: {},
  ...facts,
});

test('one storage node that is caught up is enough', () => {
  const nodes = [storage({ appliedRevision: 0 }), storage({ id: 'storage-1', appliedRevision: 90 })];
  expect(healthAnswer(nodes, 100, 10)).toEqual({ status: 200, body: { ok: true } });
});

test('503 from one revision over the allowed lag on, and without any storage node', () => {
  expect(healthAnswer([storage({ appliedRevision: 89 })], 100, 10)).toEqual({ status: 503, body: { ok: false } });
  expect(healthAnswer([], 0, 1_000)).toEqual({ status: 503, body: { ok: false } });
});

test.each(['starting', 'stopping'] as const)('a node that is %s does not count', (state) => {
  expect(healthAnswer([storage({ state })], 100, 10).status).toBe(503);
});

test('a shortage is told and stays 200; of two, disk is told', () => {
  expect(healthAnswer([storage({ resourceError: 'OUT_OF_MEMORY' })], 100, 10)).toEqual({ status: 200, body: { ok: true, resource_error: 'OUT_OF_MEMORY' } });
  const both = [storage({ resourceError: 'OUT_OF_MEMORY' }), storage({ resourceError: 'OUT_OF_DISK' })];
  expect(healthAnswer(both, 100, 10).body.resource_error).toBe('OUT_OF_DISK');
  expect(healthAnswer([storage({ resourceError: 'OUT_OF_DISK', appliedRevision: 0 })], 100, 10)).toEqual({
    status: 503,
    body: { ok: false, resource_error: 'OUT_OF_DISK' },
  });
});
