import { expect, test } from '@jest/globals';
import type { Backend, BackendRole, RoutingView } from '../backends/backend.js';
import { defaultBalanceSettings, type BalanceSettings } from './balance-settings.js';
import { Balancer } from './balancer.js';
import type { MoveOrder, SessionCount } from './orders.js';
import { Scoring } from './scores.js';

function backend(id: string, more: Partial<Backend> = {}): Backend {
  return { id, host: id, port: 1, cluster: 'c', kind: 'tidb', healthy: true, reason: '', draining: false, readOnly: false, group: 'tidb:c', labels: {}, ...more };
}

function count(id: string, sessions: number, more: Partial<SessionCount> = {}): SessionCount {
  return { backend: id, role: 'writer', sessions, leaving: 0, arriving: 0, resting: 0, ...more };
}

/** Steps every 200 ms for so long, with sessions where they were ordered to be: what was ordered in all, by from, to and reason. */
function ordered(backends: readonly Backend[], counts: SessionCount[], seconds: number, settings: BalanceSettings = defaultBalanceSettings): Record<string, number> {
  const balancer = new Balancer(settings);
  const now = counts.map((each) => ({ ...each }));
  const sums: Record<string, number> = {};
  for (let nowMs = 200; nowMs <= seconds * 1_000; nowMs += 200) {
    for (const order of balancer.step(nowMs, view(backends, now, settings), now)) {
      sums[`${order.from} ${order.to} ${order.reason}`] = (sums[`${order.from} ${order.to} ${order.reason}`] ?? 0) + order.count;
      move(now, order);
    }
  }
  return sums;
}

function move(counts: { backend: string; role: BackendRole; sessions: number }[], { from, to, role, count: moved }: MoveOrder): void {
  counts.find((each) => each.backend === from && each.role === role)!.sessions -= moved;
  const there = counts.find((each) => each.backend === to && each.role === role);
  if (there === undefined) counts.push(count(to, moved, { role }) as never);
  else there.sessions += moved;
}

function view(backends: readonly Backend[], counts: readonly { backend: string; sessions: number }[], settings: BalanceSettings): RoutingView {
  const scoring = new Scoring(settings, backends);
  const sessions = (id: string): number => counts.reduce((sum, each) => sum + (each.backend === id ? each.sessions : 0), 0);
  return { version: 1, routingPolicy: 'prefer-idle', backends: backends.map((each) => scoring.scored(each, sessions(each.id))) };
}

const withLoad = (id: string, load: Backend['load'], more: Partial<Backend> = {}): Backend => backend(id, { load: load!, ...more });
const cpu = (usage: number, sessions: number): Backend['load'] => ({ cpu: { average: usage, latest: usage, sessions } });

test('what is dead or drained is left within 5 s, for the best of the rest', () => {
  const three = [backend('a', { healthy: false }), backend('b'), backend('c')];
  expect(ordered(three, [count('a', 50), count('b', 10), count('c', 40)], 5)).toEqual({ 'a b status': 40, 'a c status': 10 });
  expect(ordered([backend('a', { draining: true }), backend('b')], [count('a', 50)], 5)).toEqual({ 'a b drain': 50 });
});

test('there is nowhere to go without another backend of the same data that is alive, free and of the right role', () => {
  const a = backend('a', { healthy: false });
  for (const other of [{ group: 'x' }, { cluster: 'd' }, { healthy: false }, { draining: true }, { full: true }, { readOnly: true }]) {
    expect(ordered([a, backend('b', other)], [count('a', 10)], 10)).toEqual({});
  }
});

test('a backend that failed again and again gets sessions only from where they must leave', () => {
  const unsteady = backend('b', { unsteady: true });
  expect(ordered([backend('a'), unsteady], [count('a', 100)], 60)).toEqual({});
  expect(ordered([backend('a', { healthy: false }), unsteady], [count('a', 10)], 6)).toEqual({ 'a b status': 10 });
  expect(ordered([backend('a', { healthy: false }), unsteady, backend('c')], [count('a', 10), count('c', 100)], 6)).toEqual({ 'a c status': 10 });
});

test('writers leave a backend that became read-only, readers stay; nobody goes from a writer to a replica unasked', () => {
  const pair = [backend('a', { readOnly: true }), backend('b')];
  const counts = [count('a', 20), count('a', 30, { role: 'replica' }), count('a', 5, { role: 'any' })];
  expect(ordered(pair, counts, 5)).toEqual({ 'a b role': 20 });
  expect(ordered([backend('a'), backend('b', { readOnly: true })], [count('a', 100, { role: 'any' })], 60)).toEqual({});
  expect(ordered([backend('a'), backend('b', { readOnly: true })], [count('a', 10, { role: 'replica' })], 5)).toEqual({ 'a b role': 10 });
});

test('sessions that rest, or are on their way, are not ordered again', () => {
  const pair = [backend('a', { draining: true }), backend('b')];
  expect(ordered(pair, [count('a', 10, { resting: 6, leaving: 4 })], 1)).toEqual({});
  expect(ordered(pair, [count('a', 10, { resting: 6 })], 0.2)).toEqual({ 'a b drain': 1 });
});

test('sessions move where one backend has more than 1.2 times those of another, and no further', () => {
  const pair = [backend('a'), backend('b')];
  expect(ordered(pair, [count('a', 13), count('b', 10)], 600)).toEqual({});
  expect(ordered(pair, [count('a', 120), count('b', 99)], 600)).toEqual({});
  const moved = ordered(pair, [count('a', 200)], 3_600)['a b conn']!;
  expect(200 - moved).toBeLessThanOrEqual(1.2 * (moved + 1));
  expect(moved).toBeLessThanOrEqual(100);
});

test('speeds and thresholds are those of the settings', () => {
  const pair = [backend('a'), backend('b')];
  const settings = { ...defaultBalanceSettings, sessionsPerSecond: 10 };
  expect(ordered(pair, [count('a', 1_000)], 5, settings)['a b conn']).toBeGreaterThanOrEqual(48);
  expect(ordered(pair, [count('a', 20), count('b', 10)], 600, { ...defaultBalanceSettings, sessionsRatio: 2 })).toEqual({});
  expect(ordered([backend('a', { draining: true }), backend('b')], [count('a', 100)], 5, { ...defaultBalanceSettings, statusPerSecond: 2 })['a b drain']).toBeLessThanOrEqual(11);
});

test('another label or zone is left at one session a second', () => {
  const pair = [backend('a', { labels: { zone: 'west', app: 'x' } }), backend('b', { labels: { zone: 'east', app: 'y' } })];
  expect(ordered(pair, [count('a', 50)], 10.2, { ...defaultBalanceSettings, labels: { zone: 'east' } })).toEqual({ 'a b location': 10 });
  expect(ordered(pair, [count('a', 50)], 10.2, { ...defaultBalanceSettings, labels: { app: 'y' }, labelName: 'app' })).toEqual({ 'a b label': 10 });
  // The label counts more than the zone, which then must not pull sessions back.
  const both = { ...defaultBalanceSettings, labels: { zone: 'west', app: 'y' }, labelName: 'app' };
  expect(ordered(pair, [count('b', 50)], 10, both)).toEqual({});
});

test('with the policy `location` nearness counts more than load, with `resource` less', () => {
  const pair = [withLoad('near', cpu(0.9, 50), { labels: { zone: 'east' } }), withLoad('far', cpu(0.1, 1))];
  const labels = { zone: 'east' };
  expect(ordered(pair, [count('near', 50), count('far', 1)], 5, { ...defaultBalanceSettings, labels, policy: 'location' })).toEqual({ 'far near location': 1 });
  expect(Object.keys(ordered(pair, [count('near', 50), count('far', 1)], 60, { ...defaultBalanceSettings, labels }))).toEqual(['near far cpu']);
  expect(Object.keys(ordered(pair, [count('near', 1), count('far', 50)], 60, { ...defaultBalanceSettings, labels, policy: 'connection' }))).toEqual(['far near conn']);
});

test('CPU: a great difference moves sessions, the same difference at low usage does not, an unknown one counts for nothing', () => {
  const pair = (a: Backend['load'], b: Backend['load']): Backend[] => [withLoad('a', a), backend('b', b === undefined ? {} : { load: b })];
  const counts = [count('a', 100), count('b', 100)];
  expect(Object.keys(ordered(pair(cpu(0.95, 100), cpu(0.75, 100)), counts, 60))).toEqual(['a b cpu']);
  expect(ordered(pair(cpu(0.25, 100), cpu(0.1, 100)), counts, 60)).toEqual({});
  expect(ordered(pair(cpu(0.95, 100), undefined), counts, 60)).toEqual({});
  expect(ordered(pair(cpu(0.95, 100), cpu(0.3, 100)), counts, 60, { ...defaultBalanceSettings, cpu: { enabled: false, perSecond: 0, minBalanceUsage: 0 } })).toEqual({});
  // It stops when what was moved makes up for the difference, long before the servers show it.
  expect(ordered(pair(cpu(0.9, 100), cpu(0.5, 100)), counts, 3_600)['a b cpu']).toBeLessThan(40);
});

test('memory that is about to run out is relieved within 5 s, high memory within a minute, some not at all', () => {
  const memory = (usage: number, secondsToFull: number): Backend['load'] => ({ memory: { usage, secondsToFull } });
  const counts = [count('a', 60), count('b', 60)];
  const fast = ordered([withLoad('a', memory(0.7, 30)), withLoad('b', memory(0.2, Infinity))], counts, 5);
  const slow = ordered([withLoad('a', memory(0.8, Infinity)), withLoad('b', memory(0.2, Infinity))], counts, 5);
  expect(fast['a b memory']).toBeGreaterThan(50);
  expect(slow['a b memory']).toBeGreaterThan(3);
  expect(slow['a b memory']).toBeLessThan(12);
  expect(ordered([withLoad('a', memory(0.65, Infinity)), withLoad('b', memory(0.2, Infinity))], counts, 60)).toEqual({});
});

test('trouble behind a backend is left only for one that has none', () => {
  const counts = [count('a', 60), count('b', 60)];
  expect(ordered([withLoad('a', { errors: 2 }), withLoad('b', { errors: 0 })], counts, 5)['a b health']).toBeGreaterThan(50);
  expect(ordered([withLoad('a', { errors: 2 }), withLoad('b', { errors: 1 })], counts, 5)).toEqual({});
});

test('a process that stood still makes up for a second of it, not for all', () => {
  const balancer = new Balancer({ ...defaultBalanceSettings, sessionsPerSecond: 10 });
  const pair = view([backend('a'), backend('b')], [count('a', 1_000)], defaultBalanceSettings);
  balancer.step(0, pair, [count('a', 1_000)]);
  expect(balancer.step(60_000, pair, [count('a', 1_000)])).toEqual([{ from: 'a', to: 'b', role: 'writer', count: 10, reason: 'conn' }]);
});
