import { expect, test } from '@jest/globals';
import { globMatches } from './glob.js';

test.each([
  ['app_*', 'app_1', true],
  ['app_*', 'app_', true],
  ['app_*', 'App_1', false],
  ['app_*', 'xapp_1', false],
  ['*', '', true],
  ['', '', true],
  ['', 'a', false],
  ['tenant_??', 'tenant_ab', true],
  ['tenant_??', 'tenant_a', false],
  ['*a*b*', 'xxaxxbxx', true],
  ['*a*b', 'xxaxxbxx', false],
  ['a.c', 'abc', false],
  ['[a]', 'a', false],
])('%j on %j: %j', (pattern, name, matches) => {
  expect(globMatches(pattern, name)).toBe(matches);
});

test('a pattern made to be slow is not', () => {
  const startedAtMs = performance.now();
  expect(globMatches(`${'*a'.repeat(2_000)}b`, 'a'.repeat(4_000))).toBe(false);
  expect(performance.now() - startedAtMs).toBeLessThan(1_000);
});
