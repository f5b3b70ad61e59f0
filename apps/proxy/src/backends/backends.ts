import type { SecureContextOptions } from 'node:tls';
import type { Clock } from '@binnacle/cluster-state/clock';
import { Listeners } from '@binnacle/cluster-state/listeners';
import type { Logger } from 'pino';
import { Agent } from 'undici';
import { totalSessions, type CloseOrder, type SessionCount } from '../balance/orders.js';
import type { BackendTls } from '../connection/greeted-backend.js';
import type { ProxySettings } from '../settings/proxy-settings.js';
import { areSame, BackendChecker, type CheckerDeps, type CheckerOptions, type CheckerState } from './backend-checker.js';
import type { Backend, RoutingView, ScoredBackend } from './backend.js';
import type { Discovery } from './discovery.js';
import { discoveriesOf, mergeFound, staticBackends, type NamespaceInstances } from './sources.js';
import { ViewBuilder, type Entry } from './view-builder.js';

export interface BackendsDeps {
  readonly settings: ProxySettings;
  readonly clock: Clock;
  readonly log: Logger;
  /** Backends that operators took out; call `refresh` when that changes. */
  readonly drained: () => readonly { readonly id: string; readonly sinceMs: number }[];
  /** Over all workers, as of the last reports. */
  readonly counts: () => readonly SessionCount[];
  /** For the health user's login. */
  readonly tls: () => BackendTls;
  /** For PD and status ports; undefined: they are asked without TLS. */
  readonly clusterTls: () => { readonly context: SecureContextOptions; readonly verify: boolean } | undefined;
  readonly env?: NodeJS.ProcessEnv;
}

/** What people and metrics want to know of a backend. */
export interface BackendReport extends ScoredBackend {
  readonly state: CheckerState;
  readonly sessions: number;
  /** Something that is not as it should be, and does not make it unhealthy. Empty: nothing. */
  readonly notice: string;
}

interface CheckedEntry extends Entry {
  /** Monotonic: when it was last known to a source. */
  knownAtMs: number;
  readonly checker: BackendChecker;
}

/** Changes within this time become one view. */
const gatherMs = 20;
/** Scores follow counts and load, and drained time passes, without anything that calls. */
const rescoreMs = 500;
const closeAgainMs = 1_000;
/** By then workers have told of every session they have. */
const countsMs = 1_000;

/**
 * Knows the backends: where they are, how they are, who may get sessions. Runs in the node's main process and tells everyone by views; nothing here is
 * asked, or waited for, when a session is opened.
 */
export class Backends {
  readonly #deps: BackendsDeps;
  readonly #entries = new Map<string, CheckedEntry>();
  readonly #discoveries = new Map<string, Discovery>();
  readonly #listeners = new Listeners<RoutingView>();
  readonly #closedAtMs = new Map<string, number>();
  readonly #problems = new Map<string, string>();
  #namespaces: readonly NamespaceInstances[] = [];
  #view: RoutingView = { version: 1, routingPolicy: 'prefer-idle', backends: [] };
  #running = false;
  #unsubscribe: () => void = () => {};
  #cancelGather: (() => void) | undefined;
  #cancelRescore: () => void = () => {};
  #clusterTls: { material: SecureContextOptions; agent: Agent } | undefined;
  readonly #builder: ViewBuilder;

  constructor(deps: BackendsDeps) {
    this.#deps = deps;
    this.#builder = new ViewBuilder(deps.clock, deps.log);
  }

  start(): void {
    this.#running = true;
    this.#unsubscribe = this.#deps.settings.onChange(() => this.#lookAtSources());
    this.#lookAtSources();
    const rescore = (): void => {
      this.#publish();
      this.#cancelRescore = this.#deps.clock.after(rescoreMs, rescore);
    };
    this.#cancelRescore = this.#deps.clock.after(rescoreMs, rescore);
  }

  stop(): void {
    this.#running = false;
    this.#unsubscribe();
    this.#cancelGather?.();
    this.#cancelRescore();
    for (const discovery of this.#discoveries.values()) discovery.stop();
    for (const { checker } of this.#entries.values()) checker.stop();
    this.#discoveries.clear();
    this.#entries.clear();
    void this.#clusterTls?.agent.destroy();
  }

  view(): RoutingView {
    return this.#view;
  }

  /** @returns what ends it */
  onView(listener: (view: RoutingView) => void): () => void {
    return this.#listeners.add(listener);
  }

  /** Backends that namespaces bring with them. */
  setNamespaces(namespaces: readonly NamespaceInstances[]): void {
    this.#namespaces = namespaces.filter(({ instances }) => instances.length > 0);
    if (this.#running) this.#refreshEntries();
  }

  /** Something that `deps` give has changed. */
  refresh(): void {
    this.#gather();
  }

  /** A session found it dead, or not as it should be. */
  checkSoon(id: string): void {
    this.#entries.get(id)?.checker.checkSoon();
  }

  /** Backends whose sessions have had their time to leave: at most once a second for each, as long as there are sessions. */
  closeOrders(nowMs: number): CloseOrder[] {
    const orders: CloseOrder[] = [];
    const sessions = this.#sessions();
    for (const { id, closeAtMs, reason } of this.#view.backends) {
      if (closeAtMs === undefined || nowMs < closeAtMs || (sessions.get(id) ?? 0) === 0) continue;
      if (nowMs - (this.#closedAtMs.get(id) ?? -Infinity) < closeAgainMs) continue;
      this.#closedAtMs.set(id, nowMs);
      orders.push({ from: id, reason });
    }
    return orders;
  }

  reports(): BackendReport[] {
    const sessions = this.#sessions();
    return this.#view.backends.flatMap((backend) => {
      const entry = this.#entries.get(backend.id);
      return entry === undefined ? [] : [{ ...backend, state: entry.checker.state, sessions: sessions.get(backend.id) ?? 0, notice: noticeOf(backend, entry.checker.state) }];
    });
  }

  /** Why the list of backends may not be what it should be: one line for each source. */
  problems(): string[] {
    return [...this.#problems].map(([what, problem]) => `${what}: ${problem}`);
  }

  #lookAtSources(): void {
    const { proxy } = this.#deps.settings.current;
    const { clock, env = process.env } = this.#deps;
    const keepMs = (): number => this.#deps.settings.current.proxy.failoverTimeoutS * 1_000;
    const wanted = discoveriesOf(proxy, { clock, env, keepMs, clusterTls: () => this.#clusterAgent() });
    for (const [key, discovery] of this.#discoveries) {
      if (wanted.has(key)) continue;
      discovery.stop();
      this.#discoveries.delete(key);
      this.#problems.delete(discovery.what);
    }
    for (const [key, make] of wanted) {
      if (this.#discoveries.has(key)) continue;
      const discovery = make();
      this.#discoveries.set(key, discovery);
      discovery.start(() => this.#found(discovery));
    }
    if (proxy.kubernetesEndpoints !== '' && ![...wanted.keys()].some((key) => key.startsWith('kubernetes '))) {
      this.#say('Kubernetes', 'proxy.kubernetes-endpoints is set, but this is no pod: KUBERNETES_SERVICE_HOST is missing');
    }
    this.#refreshEntries();
  }

  #found(discovery: Discovery): void {
    if (!this.#running) return;
    this.#say(discovery.what, discovery.problem());
    this.#refreshEntries();
  }

  #say(what: string, problem: string): void {
    const before = this.#problems.get(what) ?? '';
    if (problem === before) return;
    if (problem === '') this.#problems.delete(what);
    else this.#problems.set(what, problem);
    if (problem === '') this.#deps.log.info({ source: what }, 'backends can be looked up again');
    else this.#deps.log.warn({ source: what, problem }, 'looking up backends: trouble');
  }

  #refreshEntries(): void {
    const found = [...this.#discoveries.values()].flatMap((discovery) => discovery.current());
    const merged = mergeFound([...staticBackends(this.#deps.settings.current.proxy, this.#namespaces), ...found]);
    for (const [id, each] of merged) this.#enter(id, each);
    // What a new source will find is not known before it has looked once.
    const complete = [...this.#discoveries.values()].every((discovery) => discovery.looked());
    const nowMs = this.#deps.clock.monotonicMs();
    for (const [id, entry] of this.#entries) {
      if (!entry.gone) entry.knownAtMs = nowMs;
      if (!merged.has(id)) entry.gone = complete;
    }
    this.#gather();
  }

  #enter(id: string, found: Entry['found']): void {
    const known = this.#entries.get(id);
    if (known !== undefined) {
      known.found = found;
      known.gone = false;
      known.checker.found = found;
      return;
    }
    const checker = new BackendChecker(found, this.#checkerDeps());
    this.#entries.set(id, { found, gone: false, knownAtMs: this.#deps.clock.monotonicMs(), checker });
    this.#deps.log.info({ backend: id, cluster: found.cluster }, 'backend found');
    checker.start();
  }

  #checkerDeps(): CheckerDeps {
    let before: CheckerState | undefined;
    return {
      clock: this.#deps.clock,
      options: () => this.#checkerOptions(),
      sessions: (id) => this.#sessions().get(id) ?? 0,
      changed: (checker) => {
        this.#logChange(checker, before);
        before = checker.state;
        this.#shareFunctions(checker);
        this.#gather();
      },
    };
  }

  #checkerOptions(): CheckerOptions {
    const { proxy } = this.#deps.settings.current;
    const statusTls = this.#clusterAgent();
    return {
      intervalMs: proxy.healthCheckIntervalMs,
      timeoutMs: proxy.healthCheckTimeoutMs,
      retries: proxy.healthCheckRetries,
      retryMs: proxy.healthCheckRetryIntervalMs,
      healthUser: proxy.healthUser,
      healthPassword: proxy.healthPassword,
      proxyHeader: proxy.proxyProtocol === 'v2',
      tls: this.#deps.tls(),
      ...(statusTls !== undefined && { statusTls }),
    };
  }

  #logChange({ id, state }: BackendChecker, before: CheckerState | undefined): void {
    const { log } = this.#deps;
    if (state.healthy !== before?.healthy) {
      if (state.healthy) log.info({ backend: id, version: state.greeting?.serverVersion }, 'backend is healthy');
      else log.warn({ backend: id, reason: state.reason }, 'backend is unhealthy');
    }
    if (state.full && before?.full !== true) log.warn({ backend: id }, 'backend has no connection left');
    if (state.notice !== '' && state.notice !== before?.notice) log.warn({ backend: id, notice: state.notice }, 'backend answers, but not everything');
  }

  /** Servers of the same data have the same functions, and a view that goes to workers holds an object once that is in it several times. */
  #shareFunctions(checker: BackendChecker): void {
    const own = checker.state.storedFunctions;
    if (own === undefined) return;
    for (const other of this.#entries.values()) {
      const theirs = other.checker.state.storedFunctions;
      if (other.checker !== checker && theirs !== undefined && areSame(theirs, own)) return checker.share(theirs);
    }
  }

  /** Made anew when certificates change; requests under way end with the old one. */
  #clusterAgent(): Agent | undefined {
    const tls = this.#deps.clusterTls();
    if (tls === undefined) return undefined;
    if (this.#clusterTls?.material !== tls.context) {
      void this.#clusterTls?.agent.close();
      this.#clusterTls = { material: tls.context, agent: new Agent({ connect: { ...tls.context, rejectUnauthorized: tls.verify } }) };
    }
    return this.#clusterTls.agent;
  }

  #gather(): void {
    if (!this.#running) return;
    this.#cancelGather ??= this.#deps.clock.after(gatherMs, () => {
      this.#cancelGather = undefined;
      this.#publish();
    });
  }

  #publish(): void {
    const sessions = this.#sessions();
    this.#forget(sessions);
    const { settings, drained } = this.#deps;
    const view = this.#builder.next(this.#view.version + 1, { entries: this.#entries, settings: settings.current, drained: drained(), sessions });
    if (view === undefined) return;
    this.#view = view;
    this.#listeners.notify(this.#view);
  }

  /** Not before a login that was under way there can have ended, and its session was counted: without its backend nothing would move it. */
  #forget(sessions: ReadonlyMap<string, number>): void {
    const { clock, settings } = this.#deps;
    const forgottenMs = clock.monotonicMs() - settings.current.proxy.loginTimeoutMs - countsMs;
    for (const [id, { gone, knownAtMs, checker }] of this.#entries) {
      if (!gone || (sessions.get(id) ?? 0) > 0 || knownAtMs > forgottenMs) continue;
      checker.stop();
      this.#entries.delete(id);
      this.#closedAtMs.delete(id);
      this.#deps.log.info({ backend: id }, 'backend is gone');
    }
  }

  #sessions(): Map<string, number> {
    return totalSessions(this.#deps.counts());
  }
}

function noticeOf({ readOnly }: Backend, { notice, facts }: CheckerState): string {
  if (notice !== '' || !readOnly || facts === undefined || facts.readOnly) return notice;
  return `it replicates from ${facts.source?.host}:${facts.source?.port} and lacks read_only: no session that may write comes here all the same`;
}
