import { describe, expect, test } from '@jest/globals';
import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { chooseTarget, type ClusterView } from './target-choice.js';

const node = (id: string, ...roles: string[]) => ({ id, roles, state: 'running' }) as unknown as NodeRecord;
const gateway = node('gateway-0', 'gateway');
const stores = [node('storage-0', 'storage'), node('storage-1', 'storage')] as const;
const profiling = node('profiling-0', 'profiling');
const all = [gateway, ...stores, profiling];

const view = (leaseOwner?: string): ClusterView => ({
  ownId: 'gateway-0',
  all: () => all,
  byId: (id) => all.find((each) => each.id === id),
  byRole: (role) => all.filter((each) => each.roles.includes(role)),
  leaseOwnerId: () => leaseOwner,
});

const self = { kind: 'self' } as const;
const storage = { kind: 'role', role: 'storage' } as const;
const leader = { kind: 'lease-owner', lease: 'leader', role: 'storage' } as const;
const profiled = { kind: 'subject', role: 'profiling', subjectRole: 'any' } as const;
const aboutStorage = { kind: 'subject', role: 'profiling', subjectRole: 'storage' } as const;

test('of storage nodes one that has the mode is chosen, and any where none has it', () => {
  const labelled = (id: string, mode: string) => ({ ...node(id, 'storage'), labels: { 'disagg-mode': mode } });
  const nodes = [labelled('w', 'Storage'), labelled('c', 'Compute'), labelled('b', 'Both')];
  const chosen = (mode: 'write' | 'compute', among: NodeRecord[]) => {
    const target = chooseTarget({ kind: 'role', role: 'storage', mode }, undefined, { ...view(), byRole: () => among });
    return target.kind === 'any' ? target.nodes.map(({ id }) => id) : target;
  };
  expect(chosen('write', nodes)).toEqual(['w', 'b']);
  expect(chosen('compute', nodes)).toEqual(['c', 'b']);
  expect(chosen('compute', nodes.slice(0, 1))).toEqual(['w']);
  const owner = { kind: 'lease-owner', lease: 'remote-gc', role: 'storage', mode: 'write' } as const;
  expect(chooseTarget(owner, undefined, { ...view(), byRole: () => nodes })).toMatchObject({ kind: 'any', nodes: [{ id: 'w' }, { id: 'b' }] });
});

describe('without a name', () => {
  test('self, and the role gateway, are this process', () => {
    expect(chooseTarget(self, undefined, view())).toEqual({ kind: 'own' });
    expect(chooseTarget({ kind: 'role', role: 'gateway' }, undefined, view())).toEqual({ kind: 'own' });
  });

  test('self, or rather a role, is a node of that role, also one that starts when there is no other; without one it is this process', () => {
    const rather = { kind: 'self', rather: 'storage' } as const;
    expect(chooseTarget(rather, undefined, view())).toEqual({ kind: 'any', nodes: stores, role: 'storage', subject: undefined });
    expect(chooseTarget(rather, 'gateway-0', view())).toEqual({ kind: 'own' });
    expect(chooseTarget(rather, '*', view())).toMatchObject({ kind: 'every', nodes: all });
    const starting = { ...stores[0], state: 'starting' } as NodeRecord;
    const of = (...nodes: NodeRecord[]): ClusterView => ({ ...view(), byRole: () => nodes });
    expect(chooseTarget(rather, undefined, of(starting, stores[1]))).toMatchObject({ kind: 'any', nodes: [stores[1]] });
    expect(chooseTarget(rather, undefined, of(starting))).toEqual({ kind: 'named', node: starting });
    expect(chooseTarget(rather, undefined, of())).toEqual({ kind: 'own' });
    expect(chooseTarget(rather, undefined, of(stores[0], gateway))).toEqual({ kind: 'own' });
  });

  test('a role is any node of it, also when there is none', () => {
    expect(chooseTarget(storage, undefined, view())).toMatchObject({ kind: 'any', nodes: stores });
    expect(chooseTarget({ kind: 'role', role: 'proxy' }, undefined, view())).toMatchObject({ kind: 'any', nodes: [], role: 'proxy' });
  });

  test('a lease is its owner; while nobody known owns it, any node of the role', () => {
    expect(chooseTarget(leader, undefined, view('storage-1'))).toEqual({ kind: 'owner', node: stores[1], others: stores });
    expect(chooseTarget(leader, undefined, view('gateway-0'))).toEqual({ kind: 'own' });
    expect(chooseTarget(leader, undefined, view())).toMatchObject({ kind: 'any', nodes: stores });
    expect(chooseTarget(leader, undefined, view('gone-9'))).toMatchObject({ kind: 'any', nodes: stores });
  });

  test('a subject route goes to its role, about nobody in particular', () => {
    expect(chooseTarget(profiled, undefined, view())).toEqual({ kind: 'any', nodes: [profiling], role: 'profiling', subject: undefined });
  });
});

describe('with a name', () => {
  test('self, role and lease go to that node', () => {
    for (const rule of [self, storage, leader]) expect(chooseTarget(rule, 'storage-1', view('storage-0'))).toEqual({ kind: 'named', node: stores[1] });
    expect(chooseTarget(self, 'gateway-0', view())).toEqual({ kind: 'own' });
  });

  test('a subject route stays with its role and is about that node', () => {
    expect(chooseTarget(profiled, 'storage-1', view())).toEqual({ kind: 'any', nodes: [profiling], role: 'profiling', subject: 'storage-1' });
  });

  test('a node that nobody knows is refused with those that are known', () => {
    expect(() => chooseTarget(self, 'storage-7', view())).toThrow(
      expect.objectContaining({ code: 'UNKNOWN_NODE', message: expect.stringContaining('Known: gateway-0, profiling-0, storage-0, storage-1;') }),
    );
    expect(() => chooseTarget(self, `<${'x'.repeat(5_000)}>`, view())).toThrow(expect.objectContaining({ message: expect.stringMatching(/^.{0,300}$/) }));
  });

  test('a node without the role is refused with those that have it', () => {
    for (const rule of [storage, leader, aboutStorage]) {
      expect(() => chooseTarget(rule, 'profiling-0', view())).toThrow(
        expect.objectContaining({ code: 'BAD_REQUEST', message: expect.stringContaining('Known: storage-0, storage-1;') }),
      );
    }
  });

  test('an empty name is a mistake and not the default', () => {
    expect(() => chooseTarget(storage, '', view())).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
  });
});

describe('node=*', () => {
  test('is every node that could be named', () => {
    expect(chooseTarget(self, '*', view())).toEqual({ kind: 'every', nodes: all, askedOf: undefined });
    expect(chooseTarget(storage, '*', view())).toEqual({ kind: 'every', nodes: stores, askedOf: undefined });
    expect(chooseTarget(leader, '*', view('storage-0'))).toEqual({ kind: 'every', nodes: stores, askedOf: undefined });
  });

  test('of a subject route asks its role about each', () => {
    expect(chooseTarget(profiled, '*', view())).toEqual({ kind: 'every', nodes: all, askedOf: [profiling] });
    expect(chooseTarget(aboutStorage, '*', view())).toEqual({ kind: 'every', nodes: stores, askedOf: [profiling] });
  });

  test('of a node that has left is passed on where what is kept of it is asked for, and anything that is no id refused', () => {
    const rule = { ...profiled, mayHaveLeft: true } as const;
    expect(chooseTarget(rule, 'gone', view())).toEqual({ kind: 'any', nodes: [profiling], role: 'profiling', subject: 'gone' });
    expect(() => chooseTarget(rule, 'x&kind=cpu', view())).toThrow('There is no node "x&kind=cpu"');
    expect(() => chooseTarget(profiled, 'gone', view())).toThrow('There is no node "gone"');
  });

  test('of a subject route that answers for all together goes to one node of its role', () => {
    expect(chooseTarget({ ...profiled, together: true }, '*', view())).toEqual({ kind: 'any', nodes: [profiling], role: 'profiling', subject: '*' });
  });
});
