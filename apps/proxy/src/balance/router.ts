import { isInCluster, playsRole, type RouteWish, type RoutingView, type ScoredBackend } from '../backends/backend.js';
import { cpuStepPercent } from './scores.js';

const none: RoutingView = { version: 0, routingPolicy: 'prefer-idle', backends: [] };
/** With `prefer-idle`, backends with at most so many times the sessions of the idlest are as good as it: several proxies shall not all run to the same. */
const idleRatio = 1.2;

/** Finds backends for new sessions in one worker: synchronously, and between two views by what this worker itself has sent where. */
export class Router {
  #view = none;
  /** Sessions opened here minus closed since the view came, by backend. */
  readonly #since = new Map<string, number>();
  readonly #random: () => number;

  /** @param random from 0 to below 1 */
  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  get view(): RoutingView {
    return this.#view;
  }

  /** A view that is not newer is dropped. */
  update(view: RoutingView): void {
    if (view.version <= this.#view.version) return;
    this.#view = view;
    this.#since.clear();
  }

  backend(id: string): ScoredBackend | undefined {
    return this.#view.backends.find((backend) => backend.id === id);
  }

  /**
   * Never one that is dead or drained. One that failed again and again lately, or whose connections are used up, only if nothing else fits: a full
   * server's own error 1040 says more to the client than ours would.
   */
  choose(wish: RouteWish): ScoredBackend | undefined {
    const fitting = this.#view.backends.filter((backend) => fits(backend, wish));
    const free = fitting.filter((backend) => backend.full !== true);
    const steady = free.filter((backend) => backend.unsteady !== true);
    return this.#best(steady.length > 0 ? steady : free.length > 0 ? free : fitting);
  }

  /** To be told of every session that opens on a backend (+1), closes or leaves (-1), as soon as it is decided. */
  sessionsChanged(id: string, by: 1 | -1): void {
    this.#since.set(id, (this.#since.get(id) ?? 0) + by);
  }

  #best(backends: readonly ScoredBackend[]): ScoredBackend | undefined {
    if (backends.length < 2) return backends[0];
    const { routingPolicy } = this.#view;
    if (routingPolicy === 'random') return this.#any(backends);
    const scores = backends.map((backend) => this.#score(backend));
    const best = scores.reduce((a, b) => (b.before < a.before || (b.before === a.before && b.sessions < a.sessions) ? b : a));
    const sessionsMax = routingPolicy === 'idlest' ? best.sessions : best.sessions * idleRatio;
    return this.#any(backends.filter((_, index) => scores[index]!.before === best.before && scores[index]!.sessions <= sessionsMax));
  }

  #score(backend: ScoredBackend): { before: number; sessions: number } {
    const since = this.#since.get(backend.id) ?? 0;
    const { cpuStep: cpu } = backend;
    const sessions = Math.max(0, backend.score - backend.scoreBeforeSessions + since);
    if (cpu === undefined) return { before: backend.scoreBeforeSessions, sessions };
    const usage = Math.min(1, Math.max(0, cpu.usage + since * cpu.perSession));
    const steps = Math.floor((usage * 100) / cpuStepPercent) - Math.floor((cpu.usage * 100) / cpuStepPercent);
    return { before: backend.scoreBeforeSessions + cpu.weight * steps, sessions };
  }

  #any(backends: readonly ScoredBackend[]): ScoredBackend | undefined {
    return backends[Math.floor(this.#random() * backends.length)];
  }
}

function fits(backend: ScoredBackend, wish: RouteWish): boolean {
  if (!backend.healthy || backend.draining || wish.exclude.has(backend.id)) return false;
  if (wish.cluster !== undefined && !isInCluster(backend, wish.cluster)) return false;
  if (wish.group !== undefined && wish.group !== backend.group) return false;
  return playsRole(backend, wish.role);
}
