import { expect, test } from '@jest/globals';
import { presentedKey, queryWithoutKey } from './presented-key.js';

test('a key is taken from either header, a bearer token in any case, or the query', () => {
  expect(presentedKey({ 'x-typesense-api-key': 'a' }, '')).toBe('a');
  expect(presentedKey({ 'x-binnacle-api-key': 'b' }, '')).toBe('b');
  expect(presentedKey({ authorization: 'bEaReR c' }, '')).toBe('c');
  expect(presentedKey({}, 'q=1&x-typesense-api-key=d')).toBe('d');
});

test('a header comes before the query', () => {
  expect(presentedKey({ 'x-typesense-api-key': 'header' }, 'x-typesense-api-key=query')).toBe('header');
});

test('a key in the query is unescaped, and a broken escape is taken as it stands', () => {
  expect(presentedKey({}, 'X-Typesense-API-Key=a%2Bb%3D')).toBe('a+b=');
  expect(presentedKey({}, 'x-typesense-api-key=a%zz')).toBe('a%zz');
});

test('other authorization schemes, empty headers and other parameters are no key', () => {
  expect(presentedKey({ authorization: 'Basic dXNlcg==' }, '')).toBeUndefined();
  expect(presentedKey({ 'x-typesense-api-key': '' }, 'x-typesense-api-key2=no&=x-typesense-api-key')).toBeUndefined();
  expect(presentedKey({ authorization: 'Bearer' }, '')).toBeUndefined();
});

test('the query for the log has no key, however its name is written', () => {
  expect(queryWithoutKey('q=a&x-typesense-api-key=secret&page=2')).toBe('q=a&page=2');
  expect(queryWithoutKey('X-TYPESENSE-API-KEY=secret')).toBe('');
  expect(queryWithoutKey('x%2Dtypesense-api%2dkey=secret&q=b')).toBe('q=b');
  expect(queryWithoutKey('x-binnacle-api-key=secret')).toBe('');
  expect(queryWithoutKey('q=%zz')).toBe('q=%zz');
});
