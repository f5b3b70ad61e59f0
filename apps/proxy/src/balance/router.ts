import { playsRole, type RouteWish, type RoutingView, type ScoredBackend } from '../backends/backend.js';

const none: RoutingView = { version: 0, backends: [] };

/** Finds backends for new sessions in one worker: synchronously, and between two views by what this worker itself has sent where. */
export class Router {
  #view = none;
  /** Sessions opened here minus closed since the view came, by backend. */
  readonly #since = new Map<string, number>();

  get view(): RoutingView {
    return this.#view;
  }

  update(view: RoutingView): void {
    if (view.version <= this.#view.version) return;
    this.#view = view;
    this.#since.clear();
  }

  backend(id: string): ScoredBackend | undefined {
    return this.#view.backends.find((backend) => backend.id === id);
  }

  /** Undefined if no backend fits that is healthy and not drained. */
  choose(wish: RouteWish): ScoredBackend | undefined {
    let best: ScoredBackend | undefined;
    let bestScore = Infinity;
    for (const backend of this.#view.backends) {
      if (!fits(backend, wish)) continue;
      const score = backend.score + (this.#since.get(backend.id) ?? 0);
      if (score < bestScore) {
        best = backend;
        bestScore = score;
      }
    }
    return best;
  }

  /** To be told of every session that opens on a backend (+1), closes or leaves (-1), as soon as it is decided. */
  sessionsChanged(id: string, by: 1 | -1): void {
    this.#since.set(id, (this.#since.get(id) ?? 0) + by);
  }
}

function fits(backend: ScoredBackend, wish: RouteWish): boolean {
  if (!backend.healthy || backend.draining || wish.exclude.has(backend.id)) return false;
  if (wish.cluster !== undefined && wish.cluster !== backend.cluster) return false;
  if (wish.group !== undefined && wish.group !== backend.group) return false;
  return playsRole(backend, wish.role);
}
