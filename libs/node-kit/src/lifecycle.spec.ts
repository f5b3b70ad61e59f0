import { expect, test } from '@jest/globals';
import { Lifecycle, type StoreStatus } from './lifecycle.js';

test('a node goes from idle to terminated, one step at a time, and tells each', () => {
  const lifecycle = new Lifecycle();
  const seen: StoreStatus[] = [lifecycle.status()];
  const unsubscribe = lifecycle.onChange((status) => seen.push(status));
  for (const status of ['Ready', 'Running', 'Stopping'] as const) lifecycle.moveTo(status);
  unsubscribe();
  lifecycle.moveTo('Terminated');
  expect(seen).toEqual(['Idle', 'Ready', 'Running', 'Stopping']);
  expect(lifecycle.status()).toBe('Terminated');
});

test.each([
  ['Idle', 'Running'],
  ['Running', 'Ready'],
  ['Stopping', 'Running'],
  ['Terminated', 'Idle'],
  ['Running', 'Terminated'],
] as const)('it cannot go from %s to %s', (from, to) => {
  const lifecycle = new Lifecycle();
  const way: StoreStatus[] = ['Idle', 'Ready', 'Running', 'Stopping', 'Terminated'];
  for (const status of way.slice(1, way.indexOf(from) + 1)) lifecycle.moveTo(status);
  expect(() => lifecycle.moveTo(to)).toThrow(`a node cannot go from ${from} to ${to}`);
});

test('a start that failed may stop from any state before running', () => {
  const lifecycle = new Lifecycle();
  lifecycle.moveTo('Stopping');
  lifecycle.moveTo('Terminated');
  expect(lifecycle.status()).toBe('Terminated');
});
