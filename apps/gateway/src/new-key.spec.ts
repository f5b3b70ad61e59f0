import { expect, test } from '@jest/globals';
import { parseNewKey } from './new-key.js';

const actions = ['operations/snapshot:create', 'metrics.json:list', 'documents:*', '*'];

test('what the typesense client sends is a key', () => {
  const body = { description: 'Search-only key.', actions, collections: ['*'], expires_at: 1_900_000_000, value: 'k'.repeat(32) };
  expect(parseNewKey(body)).toEqual(body);
  expect(parseNewKey({ actions: ['*'] }).actions).toEqual(['*']);
});

test.each([
  [{}, 'Could not find a `actions` key.'],
  [{ actions: 'all' }, 'Wrong format for `actions`. It should be an array of string.'],
  [{ actions: [] }, 'Wrong format for `actions`. It should be an array of string.'],
  [{ actions: [1] }, 'Wrong format for `actions`. It should be an array of string.'],
  [{ actions: ['snapshot'] }, 'An action is `*` or `resource:verb`, such as `documents:*`.'],
  [{ actions: ['a:b:c d'] }, 'An action is `*` or `resource:verb`, such as `documents:*`.'],
  [{ actions: new Array(33).fill('*') }, 'A key has at most 32 actions.'],
  [{ actions: [`${'a'.repeat(64)}:b`] }, 'An action is at most 64 characters.'],
  [{ actions, collections: ['books'] }, 'API keys cannot be limited to collections: `collections` must be ["*"].'],
  [{ actions, collections: '*' }, 'Wrong format for `collections`. It should be an array of string.'],
  [{ actions, value: 'k'.repeat(31) }, '`value` is 32 to 128 random characters.'],
  [{ actions, value: 'k y'.repeat(12) }, '`value` is made of printable ASCII characters without spaces.'],
  [{ actions, value: 1 }, 'Wrong format for `value`. It should be a string.'],
  [{ actions, expires_at: -1 }, 'Wrong format for `expires_at`. It should be an unsigned integer.'],
  [{ actions, expires_at: '2030' }, 'Wrong format for `expires_at`. It should be an unsigned integer.'],
  [{ actions, expires_at: Date.now() * 1_000 }, '`expires_at` is in seconds since 1970.'],
  [{ actions, description: 'd'.repeat(257) }, '`description` is at most 256 characters.'],
  [{ actions, expire_at: 1 }, '`expire_at` is not a field of an API key; did you mean "expires_at"?'],
])('%j is refused', (body, message) => {
  expect(() => parseNewKey(body)).toThrow(message);
});
