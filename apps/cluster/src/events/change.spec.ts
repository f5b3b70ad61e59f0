import { expect, test } from '@jest/globals';
import type { Lease, NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { Settings } from '@binnacle/node-kit/settings';
import { leaseChanges, nodeChanges, settingsChange } from './change.js';

const node = (id: string, incarnation = 'a', state: NodeRecord['state'] = 'running') =>
  ({ id, incarnation, state, roles: ['storage'], version: '0.1.0', outstandingRequests: 0 }) as unknown as NodeRecord;
const lease = (name: string, term: number, owner: string | undefined) =>
  ({ name, term, owner: owner === undefined ? undefined : { nodeId: owner }, remainingMs: 100 }) as Lease;

test('nodes join, leave and change state; a new figure is no change', () => {
  expect(nodeChanges([], [node('a')])).toEqual([{ type: 'node-joined', node: 'a', roles: ['storage'], state: 'running', version: '0.1.0' }]);
  expect(nodeChanges([node('a')], [])).toEqual([{ type: 'node-left', node: 'a', roles: ['storage'] }]);
  expect(nodeChanges([node('a', 'a', 'starting')], [node('a')])).toEqual([{ type: 'node-changed', node: 'a', from: 'starting', to: 'running' }]);
  expect(nodeChanges([node('a')], [{ ...node('a'), outstandingRequests: 7 }])).toEqual([]);
});

test('a node that restarted between two looks has left and joined', () => {
  expect(nodeChanges([node('a', 'first')], [node('a', 'second')]).map(({ type }) => type)).toEqual(['node-left', 'node-joined']);
});

test('a lease changes hands, becomes free and is taken; a renewal is no change', () => {
  expect(leaseChanges([lease('l', 1, 'a')], [lease('l', 2, 'b')])).toEqual([{ type: 'lease-changed', lease: 'l', term: 2, owner: 'b', before: 'a' }]);
  expect(leaseChanges([lease('l', 1, 'a')], [lease('l', 1, undefined)])).toEqual([{ type: 'lease-changed', lease: 'l', term: 1, owner: null, before: 'a' }]);
  expect(leaseChanges([], [lease('l', 1, 'a')])).toEqual([{ type: 'lease-changed', lease: 'l', term: 1, owner: 'a', before: null }]);
  expect(leaseChanges([lease('l', 1, 'a')], [{ ...lease('l', 1, 'a'), remainingMs: 50 }])).toEqual([]);
});

test('the same owner in a later term is a change: it lost the lease in between', () => {
  expect(leaseChanges([lease('l', 1, 'a')], [lease('l', 2, 'a')])).toEqual([{ type: 'lease-changed', lease: 'l', term: 2, owner: 'a', before: 'a' }]);
});

test('settings are told by the names people configure them with, the changed ones only', () => {
  const after = Object.assign(new Settings(), { healthyReadLag: 77, skipWrites: true });
  expect(settingsChange(new Settings(), after, 4)).toEqual({
    type: 'settings-changed',
    version: 4,
    changed: { 'healthy-read-lag': 77, 'skip-writes': true },
  });
});
