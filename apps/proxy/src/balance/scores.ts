import type { Backend, BackendLoad, ScoredBackend } from '../backends/backend.js';
import type { BalanceSettings } from './balance-settings.js';

/*
 * A score is one number in which every factor has its digits, the most important one the highest; fewer than 53 bits in all, so a JavaScript number
 * holds it exactly. Sessions have the lowest digits, which lets whoever sends a session somewhere add 1 without knowing the rest.
 */

export type Factor = 'label' | 'status' | 'health' | 'memory' | 'cpu' | 'location' | 'conn';

/** How many values a factor's digit has. */
const levels: Record<Factor, number> = { label: 2, status: 2, health: 4, memory: 4, cpu: 32, location: 2, conn: 1 << 18 };

const orders: Record<BalanceSettings['policy'], readonly Factor[]> = {
  resource: ['label', 'status', 'health', 'memory', 'cpu', 'location', 'conn'],
  location: ['label', 'status', 'location', 'health', 'memory', 'cpu', 'conn'],
  connection: ['label', 'status', 'conn'],
};

/** One step of the CPU's digit is 5 % of all cores, so that jitter below that decides nothing. */
export const cpuStepPercent = 5;
/** A session is taken to need at least this share of a server: when clients come all at once, the usage lags behind them. */
const cpuPerSessionMin = 0.001;
/** Below this average the servers are taken for idle, and what a session needs is not learnt from them. */
const idleUsage = 0.1;

/** Those switched on, the most important first; `conn` is always the last. */
function factorsOf(settings: BalanceSettings): readonly Factor[] {
  return orders[settings.policy].filter((factor) => {
    if (factor === 'label') return settings.labelName !== '' && settings.labels[settings.labelName] !== undefined;
    if (factor === 'location') return settings.location.enabled && settings.labels.zone !== undefined;
    if (factor === 'health' || factor === 'memory' || factor === 'cpu') return settings[factor].enabled;
    return true;
  });
}

/** Neither dead nor to be left. */
export function isUsable(backend: Backend): boolean {
  return backend.healthy && !backend.draining;
}

/** The risk that it runs out of memory: 0, 1 or 2, and whether within minutes. Only the difference between 0 and 2 moves sessions. */
export function memoryRisk(memory: BackendLoad['memory']): { risk: number; soon: boolean } {
  if (memory === undefined) return { risk: 0, soon: false };
  if (memory.secondsToFull < 60) return { risk: 2, soon: true };
  if (memory.usage > 0.75) return { risk: 2, soon: false };
  if (memory.secondsToFull < 300) return { risk: 1, soon: true };
  return { risk: memory.usage > 0.6 ? 1 : 0, soon: false };
}

/** The scores of servers that stand for each other (one cluster), by settings and by how many sessions this node has on each. */
export class Scoring {
  readonly factors: readonly Factor[];
  /** The share of a server that one session needs on average. */
  readonly cpuPerSession: number;
  readonly #settings: BalanceSettings;
  /** A server whose usage is unknown can be compared to none: then the factor is left away for all. */
  readonly #cpuKnown: boolean;
  readonly #weights = new Map<Factor, number>();

  constructor(settings: BalanceSettings, backends: readonly Backend[]) {
    this.#settings = settings;
    const usable = backends.filter(isUsable);
    this.#cpuKnown = usable.length > 0 && usable.every((backend) => backend.load?.cpu !== undefined);
    this.factors = factorsOf(settings).filter((factor) => factor !== 'cpu' || this.#cpuKnown);
    this.cpuPerSession = perSession(usable);
    let weight = 1;
    for (const factor of this.factors.toReversed()) {
      this.#weights.set(factor, weight);
      weight *= levels[factor];
    }
  }

  /** The value of one factor, lower is better. */
  value(factor: Factor, backend: Backend, sessions: number): number {
    const { labels, labelName } = this.#settings;
    switch (factor) {
      case 'label':
        return backend.labels[labelName] === labels[labelName] ? 0 : 1;
      case 'status':
        return isUsable(backend) ? 0 : 1;
      case 'health':
        return backend.load?.errors ?? 0;
      case 'memory':
        return memoryRisk(backend.load?.memory).risk;
      case 'cpu':
        return Math.floor((this.cpuUsage(backend, sessions) * 100) / cpuStepPercent);
      case 'location':
        return backend.labels.zone === labels.zone ? 0 : 1;
      case 'conn':
        return Math.min(Math.max(0, sessions), levels.conn - 1);
    }
  }

  /** Its latest usage, corrected by the sessions that came and went since; 0 to 1. */
  cpuUsage(backend: Backend, sessions: number): number {
    const cpu = backend.load?.cpu;
    if (cpu === undefined) return 1;
    return Math.min(1, Math.max(0, cpu.latest + (sessions - cpu.sessions) * this.cpuPerSession));
  }

  score(backend: Backend, sessions: number): number {
    let score = 0;
    for (const [factor, weight] of this.#weights) score += weight * this.value(factor, backend, sessions);
    return score;
  }

  scored(backend: Backend, sessions: number): ScoredBackend {
    const score = this.score(backend, sessions);
    const scoreBeforeSessions = score - this.value('conn', backend, sessions);
    const weight = this.#weights.get('cpu');
    if (weight === undefined) return { ...backend, score, scoreBeforeSessions };
    return { ...backend, score, scoreBeforeSessions, cpuStep: { usage: this.cpuUsage(backend, sessions), perSession: this.cpuPerSession, weight } };
  }
}

/** Over all servers together: one of them may be busy with something that is no session's. */
function perSession(backends: readonly Backend[]): number {
  let usage = 0;
  let sessions = 0;
  for (const { load } of backends) {
    if (load?.cpu === undefined || load.cpu.latest <= 0 || load.cpu.sessions <= 0) continue;
    usage += load.cpu.latest;
    sessions += load.cpu.sessions;
  }
  if (sessions === 0) return cpuPerSessionMin;
  const share = usage / sessions;
  return share >= cpuPerSessionMin || usage / backends.length > idleUsage ? share : cpuPerSessionMin;
}
