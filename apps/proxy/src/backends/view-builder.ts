import type { Clock } from '@binnacle/cluster-state/clock';
import type { Logger } from 'pino';
import { balanceSettings, type BalanceSettings } from '../balance/balance-settings.js';
import { isUsable, Scoring } from '../balance/scores.js';
import type { SettingsView } from '../settings/proxy-settings.js';
import type { BackendChecker } from './backend-checker.js';
import { clustersOf, isInCluster, type Backend, type RoutingView, type ScoredBackend } from './backend.js';
import type { Discovered } from './discovery.js';
import { followersIn, groupsOf } from './groups.js';

/** A backend as its sources and its checks know it. */
export interface Entry {
  found: Discovered & { readonly clusters: readonly string[] };
  /** No source knows it any more; it stays until its last session has left. */
  gone: boolean;
  readonly checker: Pick<BackendChecker, 'state' | 'load' | 'steady'>;
}

/** What a view is made of. */
export interface ViewParts {
  readonly entries: ReadonlyMap<string, Entry>;
  readonly settings: SettingsView;
  readonly drained: readonly { readonly id: string; readonly sinceMs: number }[];
  /** Of this node, by backend. */
  readonly sessions: ReadonlyMap<string, number>;
}

/** Makes views; remembers what depends on the one before: groups during a failover, and since when a backend is on the fail list. */
export class ViewBuilder {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #failedSinceMs = new Map<string, number>();
  #groups: ReadonlyMap<string, string> = new Map();
  #followers: ReadonlySet<string> = new Set();
  #ignoresFailList = false;
  #shown = '';

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
  }

  /** Undefined if it would say the same as the last one. */
  next(version: number, parts: ViewParts): RoutingView | undefined {
    const settings = balanceSettings(parts.settings);
    const { routingPolicy } = settings;
    const backends = scoreByCluster(settings, this.#backends(parts), parts.sessions);
    const shown = JSON.stringify([routingPolicy, backends], (key, value: unknown) => (key === 'storedFunctions' ? functionsKey(value as ReadonlySet<string>) : value));
    if (shown === this.#shown) return undefined;
    this.#shown = shown;
    return { version, routingPolicy, backends };
  }

  #backends(parts: ViewParts): Backend[] {
    const entries = [...parts.entries];
    const servers = entries.map(([id, { found, checker: { state } }]) => ({ id, cluster: found.cluster, kind: state.kind, healthy: state.healthy, ...(state.facts !== undefined && { facts: state.facts }) }));
    this.#groups = groupsOf(servers, this.#groups);
    this.#followers = followersIn(servers);
    const drained = new Map(parts.drained.map(({ id, sinceMs }) => [id, sinceMs]));
    const failoverMs = parts.settings.proxy.failoverTimeoutS * 1_000;
    const backends = entries.map(([id, entry]) => this.#backend(id, entry, drained.get(id), failoverMs));
    return this.#withFailList(backends, parts, failoverMs);
  }

  #backend(id: string, { found, gone, checker }: Entry, drainedSinceMs: number | undefined, failoverMs: number): Backend {
    const { state, load, steady } = checker;
    const { host, port, cluster, clusters } = found;
    const { facts, greeting, storedFunctions, signsTokens } = state;
    const why = drainedSinceMs !== undefined ? 'drained by an operator' : gone ? 'no source knows it any more' : (found.leaving ?? '');
    return {
      id,
      host,
      port,
      cluster,
      ...(clusters.length > 1 && { clusters }),
      kind: state.kind,
      ...(greeting !== undefined && { greeting }),
      healthy: state.healthy,
      reason: state.healthy ? why : state.reason,
      draining: why !== '',
      ...(drainedSinceMs !== undefined && { closeAtMs: drainedSinceMs + failoverMs }),
      ...(state.full && { full: true }),
      ...(state.healthy && (state.suspect || !steady) && { unsteady: true }),
      ...(load !== undefined && { load }),
      readOnly: (facts?.readOnly ?? false) || this.#followers.has(id),
      group: this.#groups.get(id) ?? id,
      ...(facts?.gtidPosition !== undefined && { gtidPosition: facts.gtidPosition }),
      ...(signsTokens !== undefined && { signsTokens }),
      labels: found.labels ?? {},
      ...(storedFunctions !== undefined && { storedFunctions }),
    };
  }

  /** The fail list drains; in a cluster where it would leave nothing to go to, it is ignored. */
  #withFailList(backends: readonly Backend[], { entries, settings }: ViewParts, failoverMs: number): Backend[] {
    const list = new Set(settings.proxy.failBackendList);
    const isListed = ({ id }: Backend): boolean => list.has(id) || (entries.get(id)?.found.names ?? []).some((name) => list.has(name));
    const listed = new Set(list.size === 0 ? [] : backends.filter(isListed));
    const leaves = (cluster: string): boolean => backends.some((backend) => isInCluster(backend, cluster) && isUsable(backend) && !listed.has(backend));
    const obeyed = new Set([...listed].filter((backend) => (backend.clusters ?? [backend.cluster]).every(leaves)));
    this.#sayIgnored(obeyed.size < listed.size);
    const ids = new Set([...obeyed].map(({ id }) => id));
    for (const id of this.#failedSinceMs.keys()) if (!ids.has(id)) this.#failedSinceMs.delete(id);
    return backends.map((backend) => {
      if (!obeyed.has(backend)) return backend;
      const sinceMs = this.#failedSinceMs.get(backend.id) ?? this.#clock.nowMs();
      this.#failedSinceMs.set(backend.id, sinceMs);
      const closeAtMs = Math.min(sinceMs + failoverMs, backend.closeAtMs ?? Infinity);
      return { ...backend, draining: true, closeAtMs, reason: backend.healthy ? 'on the fail list' : backend.reason };
    });
  }

  #sayIgnored(ignores: boolean): void {
    if (ignores && !this.#ignoresFailList) this.#log.warn('proxy.fail-backend-list is ignored where it would leave no backend');
    this.#ignoresFailList = ignores;
  }
}

/** Scores of one cluster tell nothing about another; all in one list, best first, is good enough for who wants any. */
function scoreByCluster(settings: BalanceSettings, backends: readonly Backend[], sessions: ReadonlyMap<string, number>): ScoredBackend[] {
  const scored = [...new Set(backends.map(clustersOf))].flatMap((clusters) => {
    const own = backends.filter((backend) => clustersOf(backend) === clusters);
    const scoring = new Scoring(settings, own);
    return own.map((backend) => scoring.scored(backend, sessions.get(backend.id) ?? 0));
  });
  return scored.toSorted((a, b) => a.score - b.score || (a.id < b.id ? -1 : 1));
}

const keys = new WeakMap<ReadonlySet<string>, number>();
let lastKey = 0;

/** The same for the same set; a set is never changed. */
function functionsKey(functions: ReadonlySet<string>): number {
  const key = keys.get(functions) ?? ++lastKey;
  keys.set(functions, key);
  return key;
}

