import { expect, test } from '@jest/globals';
import { checkId, newDocumentId } from './document-id.js';

test('generated ids are UUIDs of version 7, none twice, in the order they were given, also when the clock goes back', () => {
  const ids = Array.from({ length: 10_000 }, (_, index) => newDocumentId(2_000_000_000_000 - index));
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids.toSorted()).toEqual(ids);
});

test.each(['a/b', '"', "'", '😀', ' ', '%2F', '..', 'ä'.repeat(256), '\n', '__proto__'])('%j can be an id', (id) => {
  expect(() => checkId(id)).not.toThrow();
});

test.each([7, null, undefined, {}, '', 'a\0b', '\ud800', 'a'.repeat(513), 'ä'.repeat(257)])('%j cannot', (id) => {
  expect(() => checkId(id)).toThrow(/`id`/);
});
