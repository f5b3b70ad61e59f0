import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { node } from '../test/cluster-state.contract.js';
import { openStore, type FlakyState } from '../test/flaky-state.js';
import { NodeDirectory } from './node-directory.js';

const ttlMs = 60_000;

let opened: ReturnType<typeof openStore>;
let line: FlakyState;
let directory: NodeDirectory;
let changes: number;
beforeEach(() => {
  opened = openStore();
  line = opened.line();
  directory = new NodeDirectory(line.state, opened.clock);
  changes = 0;
  directory.onChange(() => changes++);
});
afterEach(async () => {
  directory.stop();
  await opened.close();
});

const ids = (): string[] => directory.all().map(({ id }) => id);

test('it knows the nodes that are there once started, by id and by role', async () => {
  await opened.store.heartbeat(node('n1', { roles: ['gateway'] }), ttlMs);
  await opened.store.heartbeat(node('n2', { roles: ['gateway', 'storage'], state: 'stopping' }), ttlMs);
  await directory.start();
  expect(ids()).toEqual(['n1', 'n2']);
  expect(directory.byId('n2')?.state).toBe('stopping');
  expect(directory.byId('n3')).toBeUndefined();
  expect(directory.byRole('gateway').map(({ id }) => id)).toEqual(['n1', 'n2']);
  expect(directory.byRole('storage').map(({ id }) => id)).toEqual(['n2']);
  expect(directory.byRole('proxy')).toEqual([]);
});

test('joins, changes and leaves are seen at once', async () => {
  await directory.start();
  await opened.store.heartbeat(node('n1'), ttlMs);
  await opened.clock.advance(0);
  expect(ids()).toEqual(['n1']);
  await opened.store.heartbeat(node('n1', { state: 'stopping' }), ttlMs);
  await opened.clock.advance(0);
  expect(directory.byId('n1')?.state).toBe('stopping');
  await opened.store.deregister('n1', 'n1-1');
  await opened.clock.advance(0);
  expect(ids()).toEqual([]);
  expect(changes).toBe(3);
});

test('a node that died without a word is gone a second after its ttl; figures are current within a second', async () => {
  await opened.store.heartbeat(node('n1'), 5_000);
  await opened.store.heartbeat(node('n2'), ttlMs);
  await directory.start();
  await opened.store.heartbeat(node('n2', { outstandingRequests: 50 }), ttlMs);
  await opened.clock.advance(1_000);
  expect(directory.byId('n2')?.outstandingRequests).toBe(50);
  await opened.clock.advance(5_000);
  expect(ids()).toEqual(['n2']);
});

test('listeners hear nothing while nothing changes', async () => {
  await opened.store.heartbeat(node('n1'), 3_600_000);
  await directory.start();
  expect(changes).toBe(1);
  await opened.clock.advance(30_000);
  expect(changes).toBe(1);
});

test('while the store is away the last view stays, and it is current as soon as it is back', async () => {
  await opened.store.heartbeat(node('n1'), ttlMs);
  await directory.start();
  line.goAway();
  await opened.store.deregister('n1', 'n1-1');
  await opened.clock.advance(30_000);
  expect(ids()).toEqual(['n1']);
  line.comeBack();
  await opened.clock.advance(0);
  expect(ids()).toEqual([]);
});

test('a change during a read is read again', async () => {
  line.holdAnswers();
  const started = directory.start();
  await opened.store.heartbeat(node('n1'), ttlMs);
  await opened.clock.advance(0);
  line.releaseAnswers();
  await started;
  await opened.clock.advance(0);
  expect(ids()).toEqual(['n1']);
});

test('starting without a store is no error, and stopping leaves no timer', async () => {
  line.goAway();
  await directory.start();
  expect(ids()).toEqual([]);
  directory.stop();
  expect(opened.clock.timerCount()).toBe(0);
});
