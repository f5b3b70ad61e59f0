import { expect, test } from '@jest/globals';
import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { clusterStateView, leaseView, nodeView, tenureView } from './cluster-view.js';

const owner = { nodeId: 's0', incarnation: 'secret-of-the-process', address: '10.0.0.1:7403' };
const record: NodeRecord = {
  id: 's0',
  incarnation: 'i',
  roles: ['storage'],
  host: 'fd00::1',
  port: 7403,
  state: 'running',
  version: '0.1.0',
  startedAtMs: Date.UTC(2026, 0, 1),
  appliedRevision: 90,
  outstandingRequests: 2,
  eventLoopDelayMs: 1.5,
  labels: { zone: 'a' },
};

test('a node shows its address, its start in ISO time and how far it lags', () => {
  expect(nodeView(record, 100)).toMatchObject({
    address: '[fd00::1]:7403',
    startedAt: '2026-01-01T00:00:00.000Z',
    lag: 10,
    resourceError: null,
    labels: { zone: 'a' },
  });
});

test('a node that has applied more than is known to be committed does not lag', () => {
  expect(nodeView(record, 80).lag).toBe(0);
});

test('a free lease has a null owner, a held one an owner without its incarnation', () => {
  expect(leaseView({ name: 'leader', term: 2, owner: undefined, remainingMs: 0, waiting: [] }).owner).toBeNull();
  expect(leaseView({ name: 'leader', term: 2, owner, remainingMs: 5, waiting: ['s1'] })).toEqual({
    name: 'leader',
    term: 2,
    owner: { nodeId: 's0', address: '10.0.0.1:7403' },
    remainingMs: 5,
    waiting: ['s1'],
  });
});

test('a tenure that runs has no end; one that ended says when and why', () => {
  expect(tenureView({ term: 1, owner, acquiredAtMs: 0 })).toEqual({
    term: 1,
    owner: { nodeId: 's0', address: '10.0.0.1:7403' },
    acquiredAt: '1970-01-01T00:00:00.000Z',
  });
  expect(tenureView({ term: 1, owner, acquiredAtMs: 0, endedAtMs: 1_000, endReason: 'handed over' })).toMatchObject({
    endedAt: '1970-01-01T00:00:01.000Z',
    endReason: 'handed over',
  });
});

test('the cluster state says of itself whether it is there and why not', () => {
  expect(clusterStateView('redis', { available: false, sinceMs: 0, reason: 'connection refused' })).toEqual({
    kind: 'redis',
    available: false,
    since: '1970-01-01T00:00:00.000Z',
    reason: 'connection refused',
  });
});
