import { expect, test } from '@jest/globals';
import type { Backend, BackendRole, RoutingPolicy } from '../backends/backend.js';
import { defaultBalanceSettings } from './balance-settings.js';
import { Router } from './router.js';
import { Scoring } from './scores.js';

function backend(id: string, more: Partial<Backend> = {}): Backend {
  return { id, host: id, port: 1, cluster: 'c', kind: 'tidb', healthy: true, reason: '', draining: false, readOnly: false, group: 'g', labels: {}, ...more };
}

let version = 0;
function routerFor(backends: readonly Backend[], sessions: Record<string, number> = {}, routingPolicy: RoutingPolicy = 'idlest'): Router {
  let turn = 0;
  const router = new Router(() => (turn = (turn + 0.37) % 1));
  const scoring = new Scoring(defaultBalanceSettings, backends);
  router.update({ version: ++version, routingPolicy, backends: backends.map((each) => scoring.scored(each, sessions[each.id] ?? 0)) });
  return router;
}

const wish = (role: BackendRole = 'any', more: object = {}): Parameters<Router['choose']>[0] => ({ role, exclude: new Set<string>(), ...more });

/** Opens so many sessions: how many went where. */
function open(router: Router, sessions: number): Record<string, number> {
  const counts: Record<string, number> = {};
  for (let i = 0; i < sessions; i++) {
    const { id } = router.choose(wish())!;
    router.sessionsChanged(id, 1);
    counts[id] = (counts[id] ?? 0) + 1;
  }
  return counts;
}

test('between two views sessions spread by what this worker itself has sent', () => {
  expect(open(routerFor([backend('a'), backend('b'), backend('c')]), 30)).toEqual({ a: 10, b: 10, c: 10 });
  expect(open(routerFor([backend('a'), backend('b')], { a: 10 }), 20)).toEqual({ a: 5, b: 15 });
});

test('what it sent raises the CPU it expects there, so a rush does not end on one backend', () => {
  const busy = (id: string, latest: number): Backend => backend(id, { load: { cpu: { average: latest, latest, sessions: 20 } } });
  const counts = open(routerFor([busy('a', 0.4), busy('b', 0.2)], { a: 20, b: 20 }), 60);
  expect(counts.b).toBeGreaterThan(counts.a!);
  expect(counts.a).toBeGreaterThan(15);
});

test('`prefer-idle` takes any of those that are about as idle, `random` any', () => {
  const three = [backend('a'), backend('b'), backend('c')];
  const idle = open(routerFor(three, { a: 100, b: 110, c: 300 }, 'prefer-idle'), 10);
  expect(Object.keys(idle).toSorted()).toEqual(['a', 'b']);
  expect(Object.keys(open(routerFor(three, { c: 300 }, 'random'), 20)).toSorted()).toEqual(['a', 'b', 'c']);
});

test('the dead, the drained and those tried before get nothing', () => {
  const router = routerFor([backend('a', { healthy: false }), backend('b', { draining: true }), backend('c')]);
  expect(router.choose(wish())!.id).toBe('c');
  expect(router.choose(wish('any', { exclude: new Set(['c']) }))).toBeUndefined();
});

test('the full and the unsteady get something only if nothing else is there', () => {
  const [steady, unsteady, full] = [backend('a'), backend('b', { unsteady: true }), backend('c', { full: true })];
  expect(routerFor([steady, unsteady, full], { a: 1_000 }).choose(wish())!.id).toBe('a');
  expect(routerFor([unsteady, full], { b: 1_000 }).choose(wish())!.id).toBe('b');
  expect(routerFor([full]).choose(wish())!.id).toBe('c');
});

test('role, cluster and group are kept to', () => {
  const router = routerFor([backend('a'), backend('b', { readOnly: true }), backend('c', { cluster: 'd', clusters: ['d', 'e'], group: 'h' })]);
  expect(router.choose(wish('writer', { cluster: 'c' }))!.id).toBe('a');
  expect(router.choose(wish('replica'))!.id).toBe('b');
  expect(router.choose(wish('any', { cluster: 'e' }))!.id).toBe('c');
  expect(router.choose(wish('any', { group: 'h' }))!.id).toBe('c');
  expect(router.choose(wish('replica', { cluster: 'd' }))).toBeUndefined();
});

test('a view that is not newer is dropped, and a new one begins without corrections', () => {
  const router = routerFor([backend('a'), backend('b')]);
  open(router, 10);
  const { view } = router;
  router.update({ ...view, backends: [] });
  expect(router.backend('a')).toBeDefined();
  router.update({ ...view, version: view.version + 1 });
  expect(open(router, 2)).toEqual({ a: 1, b: 1 });
});
