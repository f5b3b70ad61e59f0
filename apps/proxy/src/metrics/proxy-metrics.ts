import type { Clock } from '@binnacle/cluster-state/clock';
import type { Logger } from 'pino';
import type { MoveOutcome } from '../process/worker-protocol.js';
import type { ProxySettings } from '../settings/proxy-settings.js';
import type { RefusalReason } from '../tenants/namespace.js';
import { BackendMeter } from './backend-meter.js';
import { families, Family, type FamilyName, type MetricsSnapshot } from './families.js';
import { Interactions } from './interactions.js';
import { SessionMeter } from './session-meter.js';

/** Why a client connection ended: label `type`, in TiProxy's words. */
export type DisconnectionType =
  | 'success'
  | 'client network break'
  | 'client handshake fail'
  | 'auth fail'
  | 'SQL error'
  | 'proxy shutdown'
  | 'malformed packet'
  | 'get backend fail'
  | 'proxy error'
  | 'backend network break'
  | 'backend handshake fail';

/** What one process of the proxy measures: a worker of its sessions, the main process of its backends. `snapshot` is what leaves it. */
export class ProxyMetrics {
  readonly interactions: Interactions;
  readonly #clock: Clock;
  readonly #settings: ProxySettings;
  readonly #families = new Map<FamilyName, Family>(Object.entries(families).map(([name, facts]) => [name as FamilyName, new Family(facts)]));
  readonly #backends = new Map<string, BackendMeter>();
  readonly #meterOf = (backend: string): BackendMeter => this.backend(backend);
  readonly #unsubscribe: () => void;
  #cancelSweep = (): void => {};

  constructor(clock: Clock, log: Logger, settings: ProxySettings) {
    this.#clock = clock;
    this.#settings = settings;
    this.interactions = new Interactions(log, () => this.#family('slowSuppressed').add(1));
    this.#configure();
    this.#unsubscribe = settings.onChange(() => this.#configure());
  }

  /** Of a session that has logged in at a backend. */
  session(backend: string, user: string, sessionId: number): SessionMeter {
    return new SessionMeter(backend, this.#meterOf, this.interactions, user, sessionId);
  }

  backend(backend: string): BackendMeter {
    let meter = this.#backends.get(backend);
    if (meter === undefined) this.#backends.set(backend, (meter = new BackendMeter(backend, this.#clock.monotonicMs())));
    return meter;
  }

  connectionOpened(): void {
    this.#family('connections').add(1);
    this.#family('connectionsCreated').add(1);
  }

  connectionRejected(type: 'max_connections' | 'memory'): void {
    this.#family('connectionsRejected').add(1, type);
  }

  connectionClosed(type: DisconnectionType, lifetimeMs: number): void {
    this.#family('connections').add(-1);
    this.#family('disconnections').add(1, type);
    this.#family('connectionLifetime').observe(lifetimeMs / 1_000);
  }

  handshakeDone(backend: string, ms: number): void {
    this.backend(backend).handshake(ms, this.#clock.monotonicMs());
  }

  /** A session is on a backend, or is not any more. */
  sessionsOn(backend: string, by: 1 | -1): void {
    this.#family('backendSessions').add(by, backend);
  }

  backendSearched(found: boolean, ms: number): void {
    this.#family('getBackend').add(1, found ? 'succeed' : 'fail');
    this.#family('getBackendDuration').observe(ms / 1_000);
  }

  dialFailed(backend: string): void {
    this.#family('dialFailures').add(1, backend);
  }

  /** @param ms of the whole attempt; the client waited for `outcome.pauseMs` of it */
  moved({ from, to, reason, result, pauseMs }: Pick<MoveOutcome, 'from' | 'to' | 'reason' | 'result' | 'pauseMs'>, ms: number): void {
    const res = result === 'moved' ? 'succeed' : 'fail';
    this.#family('migrations').add(1, from, to, reason, res);
    this.#family('migrationDuration').observe(ms / 1_000, from, to, res);
    if (pauseMs > 0) this.#family('migrationPause').observe(pauseMs / 1_000, res);
  }

  reconnected(result: 'reconnected' | 'failed' | 'unmovable'): void {
    this.#family('reconnects').add(1, result);
  }

  readRetried(result: 'succeed' | 'fail'): void {
    this.#family('readRetries').add(1, result);
  }

  refused(namespace: string, reason: RefusalReason): void {
    this.#family('refused').add(1, namespace, reason);
  }

  event(type: string): void {
    this.#family('event').add(1, type);
  }

  error(type: string): void {
    this.#family('err').add(1, type);
  }

  /** A gauge as it is now, by label values; what is not in it is gone. */
  replace(name: 'backendStatus' | 'ping' | 'score' | 'pendingMigrations' | 'unmovable' | 'namespaceSessions' | 'namespaceWaiting', values: Iterable<readonly [labels: readonly string[], value: number]>): void {
    this.#family(name).replace(values);
  }

  set(name: 'healthCheck' | 'maxprocs', value: number): void {
    this.#family(name).set(value);
  }

  /** Those there are, and those that still have sessions: what is known of any other goes. */
  keepBackends(backends: ReadonlySet<string>): void {
    for (const backend of this.#backends.keys()) if (!backends.has(backend)) this.#drop(backend);
    for (const family of this.#families.values()) for (const label of ['backend', 'from', 'to']) family.keepOnly(label, backends);
  }

  snapshot(): MetricsSnapshot {
    const all = Object.fromEntries([...this.#families].map(([name, family]) => [name, family.values()])) as Record<FamilyName, Record<string, number | number[]>>;
    for (const meter of this.#backends.values()) meter.writeTo((family, key, value) => (all[family][key] = value));
    return all;
  }

  stop(): void {
    this.#unsubscribe();
    this.#cancelSweep();
  }

  #family(name: FamilyName): Family {
    return this.#families.get(name) as Family;
  }

  #configure(): void {
    this.interactions.configure(this.#settings.current);
    this.#cancelSweep();
    const { backendMetricsGcIntervalSeconds: intervalS, backendMetricsGcIdleSeconds: idleS } = this.#settings.current.advance;
    if (intervalS > 0 && idleS > 0) this.#sweepAfter(intervalS * 1_000, idleS * 1_000);
  }

  #sweepAfter(intervalMs: number, idleMs: number): void {
    this.#cancelSweep = this.#clock.after(intervalMs, () => {
      const sinceMs = this.#clock.monotonicMs() - idleMs;
      for (const meter of this.#backends.values()) if (meter.usedMs <= sinceMs) this.#drop(meter.backend);
      this.#sweepAfter(intervalMs, idleMs);
    });
  }

  #drop(backend: string): void {
    const meter = this.#backends.get(backend);
    if (meter) meter.dropped = true;
    this.#backends.delete(backend);
  }
}
