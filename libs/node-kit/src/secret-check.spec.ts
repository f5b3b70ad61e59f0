import { expect, test } from '@jest/globals';
import { secretCheck } from './secret-check.js';

test.each([
  ['secret', true],
  ['secreT', false],
  ['secre', false],
  ['secrets', false],
  ['secret\0', false],
  ['', false],
  ['x'.repeat(100_000), false],
  [undefined, false],
  [['secret'], false],
])('%j is the secret: %s', (given, expected) => {
  expect(secretCheck('secret')(given)).toBe(expected);
});

test('what was asked before leaves nothing behind', () => {
  const matches = secretCheck('gehëim');
  expect(matches('gehëim')).toBe(true);
  expect(matches('gehë')).toBe(false);
  expect(matches('gehëim')).toBe(true);
});
