import { expect, test } from '@jest/globals';
import { seededRandom } from '@binnacle/testing/seeded-random';
import type { Backend } from '../backends/backend.js';
import { Steadiness } from '../backends/steadiness.js';
import { Balancer } from './balancer.js';
import { defaultBalanceSettings } from './balance-settings.js';
import { retryAfterMs, type MoveOrder, type SessionCount } from './orders.js';
import { Router } from './router.js';
import { Scoring } from './scores.js';

interface SimulatedSession {
  backend: string;
  to?: string;
  doneAtMs: number;
  restsUntilMs: number;
  moves: number;
}

interface SimulatedBackend {
  healthy: boolean;
  draining: boolean;
  readonly steadiness: Steadiness;
}

/** As the workers: they report their counts every 100 ms, get orders and views with a delay, and a move takes its time and may fail. */
class Simulation {
  nowMs = 0;
  moves = 0;
  readonly sessions = new Set<SimulatedSession>();
  readonly backends = new Map<string, SimulatedBackend>();
  readonly movesBy = new Map<string, number>();
  readonly random: () => number;
  readonly #balancer = new Balancer(defaultBalanceSettings);
  readonly #router: Router;
  readonly #failing: number;
  #counts: SessionCount[] = [];
  #version = 0;

  constructor(seed: number, backends: number, failing = 0) {
    const seeded = seededRandom(seed);
    this.random = () => seeded.below(1_000_000) / 1_000_000;
    this.#router = new Router(this.random);
    this.#failing = failing;
    for (let i = 0; i < backends; i++) this.join(`b${i}`);
    this.#publish();
  }

  join(id: string): void {
    this.backends.set(id, { healthy: true, draining: false, steadiness: new Steadiness() });
  }

  health(id: string, healthy: boolean): void {
    const backend = this.backends.get(id)!;
    if (backend.healthy && !healthy) backend.steadiness.failed(this.nowMs);
    if (!backend.healthy && healthy) backend.steadiness.recovered(this.nowMs);
    backend.healthy = healthy;
  }

  connect(count: number): void {
    for (let i = 0; i < count; i++) {
      const chosen = this.#router.choose({ role: 'writer', exclude: new Set() });
      if (chosen === undefined) continue;
      this.#router.sessionsChanged(chosen.id, 1);
      this.sessions.add({ backend: chosen.id, doneAtMs: 0, restsUntilMs: 0, moves: 0 });
    }
  }

  disconnect(count: number): void {
    for (const session of this.#some(count, () => true)) {
      this.sessions.delete(session);
      this.#router.sessionsChanged(session.backend, -1);
    }
  }

  run(ms: number): void {
    for (const endMs = this.nowMs + ms; this.nowMs < endMs; ) {
      this.nowMs += 100;
      this.#finishMoves();
      // What the balancer sees is 100 ms old.
      const counts = this.#counts;
      this.#counts = this.#count();
      this.#publish();
      for (const order of this.#balancer.step(this.nowMs, this.#router.view, counts)) this.#obey(order);
    }
  }

  on(id: string): number {
    let count = 0;
    for (const session of this.sessions) if (session.backend === id) count++;
    return count;
  }

  movesMax(): number {
    return Math.max(0, ...[...this.sessions].map(({ moves }) => moves));
  }

  spread(): { most: number; least: number } {
    const counts = [...this.backends].filter(([, backend]) => backend.healthy && !backend.draining).map(([id]) => this.on(id));
    return { most: Math.max(...counts), least: Math.min(...counts) };
  }

  #publish(): void {
    const counts = new Map(this.#counts.map(({ backend, sessions }) => [backend, sessions]));
    const backends = [...this.backends].map(([id, state]): Backend => {
      const unsteady = state.healthy && !state.steadiness.isSteady(this.nowMs);
      const fixed = { host: id, port: 1, cluster: 'default', kind: 'mariadb', reason: '', readOnly: false, group: 'galera:1', labels: {} } as const;
      return { id, ...fixed, healthy: state.healthy, draining: state.draining, unsteady };
    });
    const scoring = new Scoring(defaultBalanceSettings, backends);
    const scored = backends.map((backend) => scoring.scored(backend, counts.get(backend.id) ?? 0));
    this.#router.update({ version: ++this.#version, routingPolicy: 'prefer-idle', backends: scored });
  }

  #count(): SessionCount[] {
    const none = { sessions: 0, leaving: 0, arriving: 0, resting: 0 };
    const counts = new Map([...this.backends.keys()].map((backend) => [backend, { backend, role: 'writer' as const, ...none }]));
    for (const session of this.sessions) {
      const count = counts.get(session.backend)!;
      count.sessions++;
      if (session.to !== undefined) {
        count.leaving++;
        counts.get(session.to)!.arriving++;
      } else if (session.restsUntilMs > this.nowMs) count.resting++;
    }
    return [...counts.values()];
  }

  #obey(order: MoveOrder): void {
    const able = this.#some(order.count, ({ backend, to, restsUntilMs }) => backend === order.from && to === undefined && restsUntilMs <= this.nowMs);
    for (const session of able) {
      session.to = order.to;
      session.doneAtMs = this.nowMs + 50 + Math.floor(this.random() * 500);
      this.movesBy.set(order.reason, (this.movesBy.get(order.reason) ?? 0) + 1);
    }
  }

  #finishMoves(): void {
    for (const session of this.sessions) {
      if (session.to === undefined || session.doneAtMs > this.nowMs) continue;
      if (this.random() < this.#failing || !this.backends.get(session.to)!.healthy) session.restsUntilMs = this.nowMs + retryAfterMs;
      else {
        session.backend = session.to;
        session.moves++;
        this.moves++;
      }
      delete session.to;
    }
  }

  #some(count: number, fits: (session: SimulatedSession) => boolean): SimulatedSession[] {
    const all = [...this.sessions].filter((session) => fits(session));
    for (let i = 0; i < Math.min(count, all.length); i++) {
      const j = i + Math.floor(this.random() * (all.length - i));
      [all[i], all[j]] = [all[j]!, all[i]!];
    }
    return all.slice(0, count);
  }
}

test.each([3, 10, 100])('with %i backends new clients spread by themselves: nothing moves', (backends) => {
  const simulation = new Simulation(1, backends);
  for (let second = 0; second < 60; second++) {
    simulation.connect(backends);
    simulation.run(1_000);
  }
  expect(simulation.moves).toBeLessThanOrEqual(backends / 10);
  const { most, least } = simulation.spread();
  expect(most).toBeLessThanOrEqual(Math.ceil((least + 1) * 1.2) + 1);
});

test.each([3, 10, 20])('a backend that joins %i is filled, by hardly more moves than it needs', (backends) => {
  const simulation = new Simulation(2, backends);
  simulation.connect(backends * 60);
  simulation.run(5_000);
  expect(simulation.moves).toBe(0);
  simulation.join('new');
  simulation.run(1_500_000);
  // Fewest: so many that the fullest has no more than 1.2 times it; that is at most an equal share.
  expect(simulation.on('new')).toBeGreaterThanOrEqual(backends === 3 ? 38 : 45);
  expect(simulation.moves).toBeLessThanOrEqual((backends * 60) / (backends + 1));
  expect(simulation.movesMax()).toBe(1);
  const moved = simulation.moves;
  simulation.run(300_000);
  expect(simulation.moves).toBe(moved);
});

test('half of a difference is gone after two minutes', () => {
  const simulation = new Simulation(3, 1);
  simulation.connect(1_000);
  simulation.join('new');
  simulation.run(120_000);
  expect(simulation.on('new')).toBeGreaterThanOrEqual(250);
  expect(simulation.on('new')).toBeLessThanOrEqual(500);
});

test.each([3, 100])('one of %i that is drained is empty within 6 s, every session having moved once', (backends) => {
  const simulation = new Simulation(4, backends);
  simulation.connect(backends * 50);
  simulation.run(1_000);
  simulation.backends.get('b1')!.draining = true;
  const before = simulation.on('b1');
  simulation.run(6_000);
  expect(simulation.on('b1')).toBe(0);
  expect(simulation.moves).toBe(before);
  expect(simulation.movesMax()).toBe(1);
  const { most, least } = simulation.spread();
  expect(most).toBeLessThanOrEqual((least + 1) * 1.2 + 1);
});

test('moves that fail are tried again after 3 s, and all get away', () => {
  const simulation = new Simulation(5, 4, 0.3);
  simulation.connect(400);
  simulation.backends.get('b0')!.draining = true;
  simulation.run(30_000);
  expect(simulation.on('b0')).toBe(0);
  expect(simulation.movesMax()).toBe(1);
});

test('a rolling restart of 5 moves a session no more often than it must', () => {
  const simulation = new Simulation(6, 5);
  simulation.connect(500);
  simulation.run(1_000);
  let forced = 0;
  for (const id of [...simulation.backends.keys()]) {
    forced += simulation.on(id);
    simulation.backends.get(id)!.draining = true;
    simulation.run(10_000);
    simulation.health(id, false);
    simulation.run(20_000);
    simulation.health(id, true);
    simulation.backends.get(id)!.draining = false;
    simulation.run(120_000);
  }
  // Those that had to leave, and those that fill the restarted ones again.
  expect(simulation.moves).toBeLessThanOrEqual(forced * 2);
  expect(simulation.movesMax()).toBeLessThanOrEqual(8);
  simulation.run(600_000);
  expect(simulation.spread().least).toBeGreaterThanOrEqual(80);
});

test('a backend that flaps for an hour costs each session few moves', () => {
  const simulation = new Simulation(7, 4);
  simulation.connect(400);
  simulation.run(1_000);
  for (let flap = 0; flap < 120; flap++) {
    simulation.health('b3', false);
    simulation.run(6_000);
    simulation.health('b3', true);
    simulation.run(24_000);
  }
  expect(simulation.movesMax()).toBeLessThanOrEqual(3);
  expect(simulation.moves).toBeLessThanOrEqual(150);
});

test.each([
  { backends: 10, minutes: 60 },
  { backends: 100, minutes: 8 },
])('$backends backends under $minutes minutes of churn: moves stay near what the churn forces', ({ backends, minutes }) => {
  const simulation = new Simulation(8, backends);
  simulation.connect(backends * 30);
  let forced = 0;
  let joined = 0;
  for (let minute = 0; minute < minutes; minute++) {
    const ids = [...simulation.backends.keys()].filter((id) => !simulation.backends.get(id)!.draining);
    const id = ids[Math.floor(simulation.random() * ids.length)]!;
    const event = simulation.random();
    if (event < 0.2) simulation.join(`new${joined++}`);
    else if (event < 0.4 && ids.length > 3) {
      forced += simulation.on(id);
      simulation.backends.get(id)!.draining = true;
    } else if (event < 0.6) {
      forced += simulation.on(id);
      simulation.health(id, false);
      simulation.run(8_000);
      simulation.health(id, true);
      joined++;
    }
    for (let part = 0; part < 10; part++) {
      const some = Math.floor(simulation.random() * backends);
      simulation.disconnect(some);
      simulation.connect(some);
      simulation.run(5_000);
    }
  }
  // What joins is to be filled with an equal share, about 30.
  expect(simulation.moves).toBeGreaterThan(0);
  expect(simulation.moves).toBeLessThanOrEqual(forced + joined * 40);
  expect(simulation.movesMax()).toBeLessThanOrEqual(6);
}, 60_000);
