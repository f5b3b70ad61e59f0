import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { node } from '../test/cluster-state.contract.js';
import { openStore, type FlakyState } from '../test/flaky-state.js';
import type { NodeRecord, NodeState } from './cluster-state.js';
import { Membership } from './membership.js';

const ttlMs = 3_000;

let opened: ReturnType<typeof openStore>;
let line: FlakyState;
let state: NodeState;
let membership: Membership;
beforeEach(() => {
  opened = openStore();
  line = opened.line();
  state = 'starting';
  membership = new Membership(line.state, opened.clock, { record: () => node('n1', { state }), ttlMs });
});
afterEach(() => opened.close());

const registered = async (): Promise<(string | undefined)[]> => (await opened.store.nodes()).map((record) => record.state);

test('a node is registered once started, and stays by heartbeats every third of the ttl', async () => {
  await membership.start();
  expect(await registered()).toEqual(['starting']);
  await opened.clock.advance(20 * ttlMs);
  expect(await registered()).toEqual(['starting']);
  expect(line.count('heartbeat')).toBe(1 + 60);
});

test('a refresh sends the record as it is now', async () => {
  await membership.start();
  state = 'stopping';
  await membership.refresh();
  expect(await registered()).toEqual(['stopping']);
});

test('refreshes that come while a heartbeat is under way are sent once, after it, with the newest record', async () => {
  line.holdAnswers();
  const started = membership.start();
  state = 'running';
  const first = membership.refresh();
  state = 'stopping';
  const second = membership.refresh();
  line.releaseAnswers();
  await Promise.all([started, first, second]);
  expect(line.count('heartbeat')).toBe(2);
  expect(await registered()).toEqual(['stopping']);
});

test('a node stops being listed when it leaves, and sends nothing after that', async () => {
  await membership.start();
  const release = line.delayNextOperation();
  const refreshed = [membership.refresh(), membership.refresh()];
  const stopped = membership.stop();
  await opened.clock.advance(0);
  release();
  await Promise.all([...refreshed, stopped]);
  expect(await registered()).toEqual([]);
  await opened.clock.advance(10 * ttlMs);
  expect(await registered()).toEqual([]);
  expect(line.calls.at(-1)).toBe('deregister');
  expect(opened.clock.timerCount()).toBe(0);
});

test('starting without a store is no error; the node joins when the store is back', async () => {
  line.goAway();
  await membership.start();
  await opened.clock.advance(60_000);
  expect(await registered()).toEqual([]);
  line.comeBack();
  await opened.clock.advance(0);
  expect(await registered()).toEqual(['starting']);
});

test('a node that was cut off for longer than its ttl is back as soon as the line is', async () => {
  await membership.start();
  line.goAway();
  await opened.clock.advance(2 * ttlMs);
  expect(await registered()).toEqual([]);
  line.comeBack();
  await opened.clock.advance(0);
  expect(await registered()).toEqual(['starting']);
});

test('leaving without a store is no error; the record runs out', async () => {
  await membership.start();
  line.goAway();
  await membership.stop();
  await opened.clock.advance(ttlMs);
  expect(await registered()).toEqual([]);
});

test('it knows the committed revision as of the last heartbeat', async () => {
  expect(membership.committedRevision()).toBe(0);
  await membership.start();
  await opened.store.writeDocument({ key: 'd', value: '', expectedVersion: 0, requestId: 'r' });
  await opened.clock.advance(ttlMs / 3);
  expect(membership.committedRevision()).toBe(1);
});

describe('two processes with one node id', () => {
  const others: Membership[] = [];
  afterEach(async () => {
    for (const other of others.splice(0)) await other.stop();
  });

  function member(incarnation: string): { membership: Membership; heard: string[] } {
    const heard: string[] = [];
    const onDuplicateId = (other: NodeRecord): void => void heard.push(other.incarnation);
    const record = (): NodeRecord => node('n1', { incarnation });
    const one = new Membership(opened.line().state, opened.clock, { record, ttlMs, onDuplicateId });
    others.push(one);
    return { membership: one, heard };
  }

  test('both hear of the other, within a ttl and once a minute at most', async () => {
    const [one, two] = [member('first'), member('second')];
    await one.membership.start();
    await opened.clock.advance(100);
    await two.membership.start();
    await opened.clock.advance(ttlMs);
    expect([one.heard, two.heard]).toEqual([['second'], ['first']]);
    await opened.clock.advance(59_000 - ttlMs);
    expect([one.heard, two.heard]).toEqual([['second'], ['first']]);
    await opened.clock.advance(10_000);
    expect([one.heard, two.heard]).toEqual([['second', 'second'], ['first', 'first']]);
  });

  test('a process that takes over from one that was killed hears nothing, nor when the former had one heartbeat under way', async () => {
    await opened.store.heartbeat(node('n1', { incarnation: 'killed' }), ttlMs);
    const two = member('second');
    await two.membership.start();
    await opened.clock.advance(10);
    await opened.store.heartbeat(node('n1', { incarnation: 'killed' }), ttlMs);
    await opened.clock.advance(60_000);
    expect(two.heard).toEqual([]);
  });
});
