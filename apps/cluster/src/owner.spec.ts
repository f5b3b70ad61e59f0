import { expect, test } from '@jest/globals';
import type { Lease, NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { modeWithoutOwnership, ownerInfo, wrongModeAnswer } from './owner.js';

const held: Lease = {
  name: 'remote-gc',
  term: 3,
  owner: { nodeId: 'w0', incarnation: 'i', address: '172.31.9.1:3930' },
  remainingMs: 40_000,
  waiting: [],
};

test('the owner says IsOwner, another node NotOwner, both with the address of the owner', () => {
  expect(ownerInfo(held, 'w0').body).toEqual({ status: 'IsOwner', owner_id: '172.31.9.1:3930' });
  expect(ownerInfo(held, 'w1').body).toEqual({ status: 'NotOwner', owner_id: '172.31.9.1:3930' });
});

test('without a name the owner is asked', () => {
  expect(ownerInfo(held, undefined).body).toEqual({ status: 'IsOwner', owner_id: '172.31.9.1:3930' });
});

test.each([undefined, { ...held, owner: undefined }])('nobody owns it: NoLeader with an empty id', (lease) => {
  expect(ownerInfo(lease, undefined).body).toEqual({ status: 'NoLeader', owner_id: '' });
  expect(ownerInfo(lease, 'w0').body).toEqual({ status: 'NoLeader', owner_id: '' });
});

test.each([
  [{ 'disagg-mode': 'Storage' }, undefined],
  [{ 'disagg-mode': 'Both' }, undefined],
  [{ 'disagg-mode': 'Compute' }, 'Compute'],
  [{}, 'None'],
])('a node labelled %j cannot own the lease because of mode %s', (labels, mode) => {
  expect(modeWithoutOwnership({ labels } as unknown as NodeRecord)).toBe(mode);
});

test('the wrong role is told in the words of the original', () => {
  expect(wrongModeAnswer('can not get gc owner', 'Compute')).toEqual({
    body: { message: 'can not get gc owner, disagg_mode=Compute' },
    wrongMode: 'Compute',
  });
});
