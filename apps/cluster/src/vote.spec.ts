import { describe, expect, test } from '@jest/globals';
import type { Lease, NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { decideVote, type VoteFacts, voteOutcome } from './vote.js';

const node = (id: string, facts: Partial<NodeRecord> = {}): NodeRecord => ({
  id,
  incarnation: `${id}-1`,
  roles: ['storage'],
  host: '127.0.0.1',
  port: 1,
  state: 'running',
  version: '0.1.0',
  startedAtMs: 0,
  appliedRevision: 1_000,
  outstandingRequests: 0,
  eventLoopDelayMs: 0,
  labels: {},
  ...facts,
});

const decide = (facts: Partial<VoteFacts>) =>
  decideVote({ nodes: [node('s0'), node('s1')], leaderId: 's0', committedRevision: 1_000, lagMax: 500, targetId: undefined, ...facts });

describe('a vote for a named node', () => {
  test('elects a follower that is caught up, at the limit of the lag too', () => {
    expect(decide({ targetId: 's1' })).toMatchObject({ elect: { id: 's1' } });
    expect(decide({ targetId: 's1', committedRevision: 1_500 })).toMatchObject({ elect: { id: 's1' } });
  });

  test.each<[string, Partial<VoteFacts>, string]>([
    ['the leader', { targetId: 's0' }, 'node s0 is the leader already'],
    ['the leader of a single node', { targetId: 's0', nodes: [node('s0')] }, 'node s0 is the leader already, and the only storage node'],
    ['an unknown node', { targetId: 's9' }, 'there is no node s9; storage nodes: s0, s1'],
    ['a node of another role', { targetId: 'g', nodes: [node('s0'), node('g', { roles: ['gateway'] })] }, 'node g is no storage node; storage nodes: s0'],
    ['a node that stops', { targetId: 's1', nodes: [node('s0'), node('s1', { state: 'stopping' })] }, 'node s1 is stopping'],
    ['a node that starts', { targetId: 's1', nodes: [node('s0'), node('s1', { state: 'starting' })] }, 'node s1 is starting'],
    ['a node that lags', { targetId: 's1', committedRevision: 1_501 }, 'node s1 is not caught up: 501 revisions behind, at most 500 allowed'],
  ])('refuses %s', (_name, facts, refuse) => {
    expect(decide(facts)).toEqual({ refuse });
  });

  test('elects the only storage node while nobody leads', () => {
    expect(decide({ targetId: 's0', nodes: [node('s0')], leaderId: undefined })).toMatchObject({ elect: { id: 's0' } });
  });
});

describe('a vote without a name', () => {
  test('elects the follower with the least lag, of equals the first by name', () => {
    const nodes = [node('s0'), node('s3', { appliedRevision: 990 }), node('s2', { appliedRevision: 999 }), node('s1', { appliedRevision: 999 })];
    expect(decide({ nodes })).toMatchObject({ elect: { id: 's1' } });
  });

  test('passes over nodes of other roles, that stop or that lag', () => {
    const nodes = [node('s0'), node('a', { roles: ['gateway'] }), node('b', { state: 'stopping' }), node('c', { appliedRevision: 0 }), node('d')];
    expect(decide({ nodes })).toMatchObject({ elect: { id: 'd' } });
  });

  test('says of every storage node why not', () => {
    expect(decide({ nodes: [node('s0')] })).toEqual({
      refuse: 'no other storage node can become the leader: s0 is the leader already, and the only storage node',
    });
    expect(decide({ nodes: [node('s0'), node('s1', { state: 'stopping' })] })).toEqual({
      refuse: 'no other storage node can become the leader: s0 is the leader already; s1 is stopping',
    });
    expect(decide({ nodes: [] })).toEqual({ refuse: 'there is no storage node' });
  });
});

describe('the outcome of a vote', () => {
  const lease = (ownerId: string | undefined, term: number): Lease => ({
    name: 'leader',
    term,
    owner: ownerId === undefined ? undefined : { nodeId: ownerId, incarnation: 'i', address: '127.0.0.1:1' },
    remainingMs: 0,
    waiting: [],
  });

  test('is true only once the target owns the lease', () => {
    expect(voteOutcome(lease('s1', 8), 's1', 7)).toEqual({ success: true });
  });

  test('is open while the lease is free, unknown, or still with the leader of before', () => {
    expect(voteOutcome(undefined, 's1', 0)).toBeUndefined();
    expect(voteOutcome(lease(undefined, 7), 's1', 7)).toBeUndefined();
    expect(voteOutcome(lease('s0', 7), 's1', 7)).toBeUndefined();
  });

  test('is false when somebody else took it, the leader of before in a new term included', () => {
    expect(voteOutcome(lease('s2', 8), 's1', 7)).toEqual({ success: false, error: 's2 became the leader instead, in term 8' });
    expect(voteOutcome(lease('s0', 8), 's1', 7)).toMatchObject({ success: false });
  });
});
