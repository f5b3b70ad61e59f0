import { expect, test } from '@jest/globals';
import { scopeAllows } from './api-key-scopes.js';
import { routes } from './routes.js';

test.each([
  ['operations/snapshot:create', 'operations/snapshot:create'],
  ['operations/*:create', 'operations/snapshot:create'],
  ['operations/*:create', 'operations/db/compact:create'],
  ['operations/*:*', 'operations/vote:create'],
  ['documents:*', 'documents:search'],
  ['*:list', 'metrics.json:list'],
  ['*/vote:create', 'operations/vote:create'],
  ['op*/v*e:create', 'operations/vote:create'],
  ['*:*', 'keys:delete'],
  ['*', 'keys:delete'],
])('scope %s allows %s', (scope, action) => expect(scopeAllows(['nothing:here', scope], action)).toBe(true));

test.each([
  ['operations/snapshot:create', 'operations/vote:create'],
  ['operations/*:create', 'operations/vote:list'],
  ['operations/*:create', 'operations:create'],
  ['operations:*', 'operations/vote:create'],
  ['documents:*', 'documents.x:search'],
  ['metrics.json:list', 'metricsXjson:list'],
  ['documents:search', 'documents:searching'],
  ['documents', 'documents:search'],
  ['documents*', 'documents:search'],
  ['ab*ba:create', 'aba:create'],
  ['a*bc*c:create', 'abc:create'],
  ['a*bc*d*:create', 'adbc:create'],
  ['', 'documents:search'],
  [':', 'documents:search'],
  ['Documents:search', 'documents:search'],
])('scope %j does not allow %s', (scope, action) => expect(scopeAllows([scope], action)).toBe(false));

test('no scopes allow nothing', () => expect(scopeAllows([], 'documents:search')).toBe(false));

test.each(['', ':', 'documents', ':list', 'documents:'])('no scope allows %j, which is no action', (action) =>
  expect(scopeAllows(['*', '*:*'], action)).toBe(false),
);

test('every action of the table is allowed by itself and by the star', () => {
  const actions = routes.map((route) => route.action).filter((action) => action !== 'public');
  expect(actions.filter((action) => !scopeAllows([action], action) || !scopeAllows(['*'], action))).toEqual([]);
});

test('a scope full of stars is judged at once', () => {
  const started = performance.now();
  expect(scopeAllows([`${'*a'.repeat(5_000)}:create`], `${'a'.repeat(4_999)}:create`)).toBe(false);
  expect(performance.now() - started).toBeLessThan(1_000);
});
