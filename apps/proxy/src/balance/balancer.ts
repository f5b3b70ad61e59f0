import { clustersOf, mayMove, playsRole, type Backend, type BackendRole, type RoutingView } from '../backends/backend.js';
import type { BalanceSettings } from './balance-settings.js';
import { totalSessions, type MoveOrder, type MoveReason, type SessionCount } from './orders.js';
import { isUsable, memoryRisk, Scoring, type Factor } from './scores.js';

/** For so long an order counts as not yet seen in the workers' counts. */
const settleMs = 300;
/** A backend that has to be left is empty after 5 s, the settings not saying otherwise: half a second is for the moves themselves. */
const leaveSeconds = 4.5;
/** As long a difference in sessions takes to become small; slower and slower, since the difference does. */
const sessionsSeconds = 120;
const memorySeconds = 60;
/** Where a difference of CPU of 30 % is to become 20 % in 30 s. */
const cpuMovesDivisor = 600;
const cpuRatio = 1.2;
/** After a pause of this process, a speed makes up for no more than this. */
const creditMsMax = 1_000;

/** A backend with the sessions of one role on it, as this step sees them. */
interface Place {
  readonly backend: Backend;
  /** Of all roles, those on their way here included and those on their way out not. */
  sessions: number;
  /** Of one role, those that rest included and those on their way out not. */
  readonly staying: number;
  /** Of these, that can be ordered away now; an order that comes after them is obeyed by nobody, and does no harm. */
  readonly movable: number;
  /** Of these, surely not ordered away by an earlier step. */
  readonly settled: number;
  /** Ordered away by earlier steps, and perhaps not in the counts yet. */
  readonly unsettledOut: number;
  unsettledIn: number;
}

/** How fast something goes on: whole sessions are taken from what has accumulated. */
interface Pace {
  perSecond: number;
  credit: number;
  atMs: number;
}

/**
 * Decides which sessions should be elsewhere. Pure: no clock, no I/O; what it remembers is how fast it goes and what it has ordered lately. Call it
 * several times a second with the newest counts.
 */
export class Balancer {
  #settings: BalanceSettings;
  readonly #paces = new Map<string, Pace>();
  #unsettled: { order: MoveOrder; atMs: number }[] = [];

  constructor(settings: BalanceSettings) {
    this.#settings = settings;
  }

  set settings(settings: BalanceSettings) {
    this.#settings = settings;
  }

  /** Orders since the last call. Nothing moves between groups or clusters, to a dead or drained backend, nor from one that is better off. */
  step(nowMs: number, view: RoutingView, counts: readonly SessionCount[]): MoveOrder[] {
    this.#unsettled = this.#unsettled.filter(({ atMs }) => nowMs - atMs < settleMs);
    const orders: MoveOrder[] = [];
    const used = new Set<string>();
    const totals = totalSessions(counts);
    for (const backends of grouped(view.backends, clustersOf)) {
      const scoring = new Scoring(this.#settings, backends);
      for (const group of grouped(backends, (backend) => backend.group)) {
        for (const role of ['writer', 'replica', 'any'] as const) {
          const ofRole = counts.filter((count) => count.role === role);
          if (ofRole.length === 0) continue;
          const places = group.map((backend) => this.#place(backend, role, ofRole, totals));
          const step = new PoolStep(this.#settings, scoring, role, places, (key, perSecond) => this.#take(nowMs, key, perSecond, used));
          orders.push(...step.leave(), ...step.balance());
        }
      }
    }
    for (const key of this.#paces.keys()) if (!used.has(key)) this.#paces.delete(key);
    for (const order of orders) this.#unsettled.push({ order, atMs: nowMs });
    return orders;
  }

  #place(backend: Backend, role: BackendRole, ofRole: readonly SessionCount[], totals: ReadonlyMap<string, number>): Place {
    let [unsettledOut, unsettledIn, unsettledOfRole] = [0, 0, 0];
    for (const { order } of this.#unsettled) {
      if (order.to === backend.id) unsettledIn += order.count;
      if (order.from !== backend.id) continue;
      unsettledOut += order.count;
      if (order.role === role) unsettledOfRole += order.count;
    }
    let [staying, movable] = [0, 0];
    for (const { backend: id, sessions, leaving, resting } of ofRole) {
      if (id !== backend.id) continue;
      staying += sessions - leaving;
      movable += sessions - leaving - resting;
    }
    return { backend, sessions: totals.get(backend.id) ?? 0, staying, movable, settled: Math.max(0, movable - unsettledOfRole), unsettledOut, unsettledIn };
  }

  /** How many sessions are due at this speed. Where one has to leave, the first goes at once; else a difference that comes and goes moves nothing. */
  #take(nowMs: number, key: string, perSecond: (before: number) => number, used: Set<string>): { due: number; spend: (count: number) => void } {
    const pace = this.#paces.get(key) ?? { perSecond: 0, credit: key.startsWith('leave ') ? 1 : 0, atMs: nowMs };
    this.#paces.set(key, pace);
    used.add(key);
    pace.perSecond = perSecond(pace.perSecond);
    const passedMs = Math.min(nowMs - pace.atMs, creditMsMax);
    pace.credit = Math.min(pace.credit + (pace.perSecond * passedMs) / 1_000, Math.max(1, pace.perSecond));
    pace.atMs = nowMs;
    return { due: Math.floor(pace.credit + 1e-9), spend: (count) => (pace.credit -= count) };
  }
}

type Take = (key: string, perSecond: (before: number) => number) => { due: number; spend: (count: number) => void };

/** One step for the sessions of one role among servers of the same data. */
class PoolStep {
  readonly #settings: BalanceSettings;
  readonly #scoring: Scoring;
  readonly #role: BackendRole;
  readonly #places: readonly Place[];
  readonly #take: Take;

  constructor(settings: BalanceSettings, scoring: Scoring, role: BackendRole, places: readonly Place[], take: Take) {
    this.#settings = settings;
    this.#scoring = scoring;
    this.#role = role;
    this.#places = places;
    this.#take = take;
  }

  /** Away from where sessions of this role must not stay: all within 5 s, spread over the best of the rest. */
  leave(): MoveOrder[] {
    const orders = new Map<string, MoveOrder>();
    for (const from of this.#places) {
      const reason = reasonToLeave(from.backend, this.#role);
      const targets = reason === undefined || from.staying === 0 ? [] : this.#targets(from.backend, true);
      if (reason === undefined || targets.length === 0) continue;
      const speed = this.#settings.statusPerSecond;
      // As it was when it began: a share of what is left would never come to an end.
      const key = `leave ${this.#role} ${clustersOf(from.backend)} ${from.backend.id}`;
      const { due, spend } = this.#take(key, (before) => speed || Math.max(before, from.staying / leaveSeconds));
      const count = Math.min(due, from.movable);
      for (let i = 0; i < count; i++) {
        const to = this.#idlest(targets)!;
        this.#add(orders, from, to, 1, reason);
      }
      spend(count);
    }
    return [...orders.values()];
  }

  /** From the one with the highest score to the one with the lowest, by the first factor that asks for it. */
  balance(): MoveOrder[] {
    const from = this.#busiest();
    const to = from && this.#idlest(this.#targets(from.backend, false));
    if (from === undefined || to === undefined) return [];
    for (const factor of this.#scoring.factors) {
      const difference = this.#value(factor, from) - this.#value(factor, to);
      // What follows is of less importance, and moving for it would make this factor worse.
      if (difference < 0) return [];
      const perSecond = difference === 0 ? 0 : this.#perSecond(factor, from, to);
      if (perSecond <= 0) continue;
      const { due, spend } = this.#take(`${factor} ${this.#role} ${clustersOf(from.backend)} ${from.backend.group}`, () => perSecond);
      const count = Math.min(due, from.settled, factor === 'conn' ? this.#excess(from, to) : due);
      if (count <= 0) return [];
      spend(count);
      const orders = new Map<string, MoveOrder>();
      this.#add(orders, from, to, count, factor);
      return [...orders.values()];
    }
    return [];
  }

  #value(factor: Factor, place: Place): number {
    return this.#scoring.value(factor, place.backend, place.sessions);
  }

  /** Sessions a second; 0: this factor asks for nothing between the two. */
  #perSecond(factor: Factor, from: Place, to: Place): number {
    const { health, memory, cpu, location, sessionsPerSecond } = this.#settings;
    const many = Math.max(from.sessions, to.sessions);
    switch (factor) {
      case 'label':
        return 1;
      case 'status':
        return 0;
      case 'location':
        return location.perSecond || 1;
      case 'health':
        return this.#value('health', from) - this.#value('health', to) < 2 ? 0 : health.perSecond || many / leaveSeconds;
      case 'memory':
        if (this.#value('memory', from) - this.#value('memory', to) < 2) return 0;
        return memory.perSecond || many / (memoryRisk(from.backend.load?.memory).soon ? leaveSeconds : memorySeconds);
      case 'cpu':
        return this.#cpuDiffers(from, to) ? cpu.perSecond || 1 / this.#scoring.cpuPerSession / cpuMovesDivisor : 0;
      case 'conn':
        if (this.#excess(from, to) <= 0) return 0;
        return sessionsPerSecond || this.#excess(from, to) / sessionsSeconds;
    }
  }

  /** The busier they are, the smaller a difference counts: 10 % and 25 % are as good as the same, 80 % and 95 % are not. */
  #cpuDiffers(from: Place, to: Place): boolean {
    const [a, b] = [from.backend.load?.cpu, to.backend.load?.cpu];
    if (a === undefined || b === undefined || a.average < this.#settings.cpu.minBalanceUsage) return false;
    const differs = (high: number, low: number): boolean => 1.3 - low > (1.3 - high) * cpuRatio;
    // An order that the usage does not show yet counts at both ends, so that what is already decided is not decided again.
    const perSession = this.#scoring.cpuPerSession;
    const high = this.#scoring.cpuUsage(from.backend, from.sessions) - from.unsettledOut * perSession;
    const low = this.#scoring.cpuUsage(to.backend, to.sessions) + to.unsettledIn * perSession;
    return differs(Math.min(1, a.average), Math.min(1, b.average)) && differs(high, low);
  }

  /** How many sessions make the ratio right. Orders that may be counted already or not are taken the way that moves less. */
  #excess(from: Place, to: Place): number {
    const ratio = this.#settings.sessionsRatio;
    const [high, low] = [from.sessions - from.unsettledOut, to.sessions + to.unsettledIn + 1];
    return high <= low * ratio ? 0 : Math.max(1, Math.floor((high + low) / (1 + ratio) - low));
  }

  #busiest(): Place | undefined {
    let busiest: Place | undefined;
    for (const place of this.#places) {
      if (place.settled === 0 || reasonToLeave(place.backend, this.#role) !== undefined) continue;
      if (busiest === undefined || this.#score(place) > this.#score(busiest)) busiest = place;
    }
    return busiest;
  }

  /** What may take sessions of `from`. Without need nothing goes where it may have to leave again soon. */
  #targets(from: Backend, needed: boolean): Place[] {
    const able = this.#places.filter(({ backend }) => isUsable(backend) && backend.full !== true && mayMove(from, backend, this.#role));
    const steady = able.filter(({ backend }) => backend.unsteady !== true);
    return needed && steady.length === 0 ? able : steady;
  }

  #idlest(targets: readonly Place[]): Place | undefined {
    return targets.length === 0 ? undefined : targets.reduce((best, place) => (this.#score(place) < this.#score(best) ? place : best));
  }

  #score(place: Place): number {
    return this.#scoring.score(place.backend, place.sessions + place.unsettledIn);
  }

  #add(orders: Map<string, MoveOrder>, from: Place, to: Place, count: number, reason: MoveReason): void {
    const key = `${from.backend.id} ${to.backend.id}`;
    orders.set(key, { from: from.backend.id, to: to.backend.id, role: this.#role, count: (orders.get(key)?.count ?? 0) + count, reason });
    to.unsettledIn += count;
    from.sessions -= count;
  }
}

function reasonToLeave(backend: Backend, role: BackendRole): MoveReason | undefined {
  if (!backend.healthy) return 'status';
  if (backend.draining) return 'drain';
  return playsRole(backend, role) ? undefined : 'role';
}

function grouped(backends: readonly Backend[], by: (backend: Backend) => string): Iterable<Backend[]> {
  const groups = new Map<string, Backend[]>();
  for (const backend of backends) {
    const group = groups.get(by(backend));
    if (group === undefined) groups.set(by(backend), [backend]);
    else group.push(backend);
  }
  return groups.values();
}
