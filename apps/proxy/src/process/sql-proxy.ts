import { ConfigError } from '@binnacle/node-kit/config-error';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { listenError } from '@binnacle/node-kit/node-listener';
import { Injectable } from '@nestjs/common';
import { Backends } from '../backends/backends.js';
import { balanceSettings } from '../balance/balance-settings.js';
import { Balancer } from '../balance/balancer.js';
import { exportMetrics } from '../metrics/metrics-export.js';
import { ProxyMetrics } from '../metrics/proxy-metrics.js';
import { ProxySettings } from '../settings/proxy-settings.js';
import { Namespaces } from '../tenants/namespaces.js';
import { DialSettings } from './dial-settings.js';
import { DrainedBackends } from './drained-backends.js';
import { forkWorker } from './forked-worker.js';
import { LocalWorker } from './local-worker.js';
import { Moves } from './moves.js';
import { NodeMetrics } from './node-metrics.js';
import { ProxyPeers } from './proxy-peers.js';
import { SessionDirectory } from './session-directory.js';
import { SessionWorker } from './session-worker.js';
import { type DoorState, Shutdown } from './shutdown.js';
import { summedCounts } from './split-orders.js';
import type { NodeQuestions, WorkerReport, WorkerSetup } from './worker-protocol.js';
import { waitFor } from './wait-for.js';
import { type WorkerMaker, Workers } from './workers.js';

/** How often the share of memory in use is looked at. */
const memoryLookMs = 1_000;

/** The SQL proxy of a node, seen from its main process: knows the backends, decides about sessions, and has workers that hold them. */
@Injectable()
export class SqlProxy {
  readonly backends: Backends;
  readonly workers: Workers;
  readonly directory: SessionDirectory;
  readonly #dial: DialSettings;
  readonly #moves: Moves;
  readonly #shutdown: Shutdown;
  readonly #numbers: NodeMetrics;
  #memoryIsFull = false;
  #cancelMemory = (): void => {};

  constructor(
    private readonly node: NodeContext,
    private readonly settings: ProxySettings,
    private readonly metrics: ProxyMetrics,
    private readonly namespaces: Namespaces,
    private readonly drained: DrainedBackends,
    peers: ProxyPeers,
  ) {
    const { clock, log } = node;
    const current = () => settings.current;
    this.#dial = new DialSettings(current, clock, log);
    this.backends = new Backends({
      settings,
      clock,
      log,
      drained: () => drained.all(),
      counts: () => summedCounts(this.workers.counts()),
      tls: () => this.#dial.to().tls,
      clusterTls: () => this.#dial.cluster(),
    });
    const workersTotal = settings.current.proxy.workers;
    this.workers = new Workers(
      {
        clock,
        log,
        setup: (number) => this.#setup(number, workersTotal),
        view: () => this.backends.view(),
        make: this.#maker(workersTotal),
        reported: (worker, report) => this.#reported(worker, report),
        asked: (kind, body) => this.#asked(kind, body),
        lost: (worker) => {
          metrics.error('worker died');
          this.#numbers.died(worker);
          this.#shutdown.drained(worker, 0);
        },
      },
      workersTotal,
    );
    this.directory = new SessionDirectory(this.workers, peers);
    this.#shutdown = new Shutdown(clock, log, () => this.workers);
    this.#numbers = new NodeMetrics(metrics, this.backends, this.workers, () => balanceSettings(settings.current));
    const balancer = new Balancer(balanceSettings(settings.current));
    settings.onChange((now) => (balancer.settings = balanceSettings(now)));
    this.#moves = new Moves({ clock, log, balancer, workers: this.workers, view: () => this.backends.view(), closeOrders: (nowMs) => this.backends.closeOrders(nowMs) });
    exportMetrics(node.metrics, () => this.#numbers.read());
    node.addPart({
      name: 'sql proxy',
      check: async () => this.#dial.check(),
      start: () => this.#start(),
      drain: () => this.#shutdown.run(this.#shutdownTimes()),
      drainMsMax: () => this.#drainMsMax(),
      readiness: () => this.#readiness(),
      stop: () => this.#stop(),
    });
  }

  /** Whether load balancers should send clients here, and why not. */
  health(): { readonly ok: boolean; readonly detail: string } {
    const door: DoorState = this.node.lifecycle.status() === 'Stopping' ? 'waiting' : this.#shutdown.state;
    if (door !== 'open') return { ok: false, detail: door === 'shut' ? 'the SQL port is not open yet' : 'the SQL proxy shuts down' };
    const { backends } = this.backends.view();
    const healthy = backends.filter((backend) => backend.healthy && !backend.draining).length;
    if (healthy > 0) return { ok: true, detail: `${healthy} of ${backends.length} backends take sessions` };
    if (this.#hasSources()) return { ok: false, detail: `none of ${backends.length} backends takes sessions` };
    return { ok: true, detail: 'no backend is configured' };
  }

  redistribute(): Promise<number> {
    return this.#moves.redistribute();
  }

  #setup(number: number, workersTotal: number): WorkerSetup {
    const { id, config } = this.node;
    const settings = this.settings.current;
    const secrets = [settings.proxy.healthPassword, this.node.clusterSecret];
    return { nodeId: id, number, workersTotal, settings, namespaces: this.namespaces.views(), view: this.backends.view(), log: { level: config.log.level, format: config.log.format }, secrets };
  }

  #maker(workersTotal: number): WorkerMaker {
    const { clock, log } = this.node;
    if (workersTotal > 1) return (_number, uplink, died) => forkWorker(clock, uplink, died);
    return (number, uplink) => new LocalWorker(new SessionWorker({ clock, log, uplink, settings: this.settings, metrics: this.metrics }, this.#setup(number, 1)));
  }

  async #start(): Promise<void> {
    const { clock } = this.node;
    this.metrics.set('maxprocs', this.workers.total);
    this.backends.onView((view) => this.workers.order({ kind: 'view', view }));
    this.settings.onChange((settings) => this.workers.total > 1 && this.workers.order({ kind: 'settings', settings }));
    this.namespaces.onChange(() => this.#namespacesChanged());
    this.drained.onChange(() => this.backends.refresh());
    this.backends.setNamespaces(this.namespaces.views());
    this.backends.start();
    // The first clients shall find backends: one that does not answer holds the port up for the time of one check.
    const { healthCheckTimeoutMs } = this.settings.current.proxy;
    await waitFor(clock, healthCheckTimeoutMs + 500, () => !this.#hasSources() || this.#areChecked());
    await this.#open();
    this.#shutdown.opened();
    this.#moves.start();
    this.#lookAtMemory();
    this.metrics.event('start');
  }

  /** Whether anything says where backends are. */
  #hasSources(): boolean {
    const { backends, backendDns, pdAddrs, kubernetesEndpoints, backendClusters } = this.settings.current.proxy;
    const lists = [backends, backendDns, pdAddrs, backendClusters, this.namespaces.views().flatMap(({ instances }) => instances)];
    return kubernetesEndpoints !== '' || lists.some(({ length }) => length > 0);
  }

  #areChecked(): boolean {
    const reports = this.backends.reports();
    return reports.length > 0 && reports.every(({ healthy, state }) => healthy || state.checkedAtMs !== undefined);
  }

  async #open(): Promise<void> {
    const { log } = this.node;
    try {
      await this.workers.start();
    } catch (error) {
      if (error instanceof ConfigError) throw error;
      const { host = '', port = 0, problems } = error as { host?: string; port?: number; problems?: readonly string[] };
      // As a worker of another process says it.
      if (problems !== undefined) throw new ConfigError([...problems]);
      throw listenError(error, { host, port, key: 'proxy.addr', hostKey: 'proxy.addr' });
    }
    log.info({ addresses: this.workers.addresses, workers: this.workers.total }, 'the SQL port is open');
  }

  #namespacesChanged(): void {
    const namespaces = this.namespaces.views();
    this.backends.setNamespaces(namespaces);
    this.workers.order({ kind: 'namespaces', namespaces });
  }

  #reported(worker: number, report: WorkerReport): void {
    switch (report.kind) {
      case 'moved':
        return this.#moves.finished(report.outcome);
      case 'backend-failed':
        return this.backends.checkSoon(report.backend);
      case 'drained':
        return this.#shutdown.drained(worker, report.cut);
      case 'counts':
        return;
    }
  }

  async #asked<Kind extends keyof NodeQuestions>(kind: Kind, body: NodeQuestions[Kind]['ask']): Promise<NodeQuestions[Kind]['answer']> {
    return kind === 'find' ? this.directory.find(body.id) : this.directory.close(body.id);
  }

  #shutdownTimes() {
    const { gracefulWaitBeforeShutdownS, gracefulCloseConnTimeoutS } = this.settings.current.proxy;
    return { waitMs: gracefulWaitBeforeShutdownS * 1_000, graceMs: gracefulCloseConnTimeoutS * 1_000 };
  }

  #drainMsMax(): number {
    const { waitMs, graceMs } = this.#shutdownTimes();
    return waitMs + graceMs;
  }

  /** Of a node that does more, this is one role of several: backends that are down must not take the others out. */
  #readiness(): { ok: boolean; detail: string } {
    const { ok, detail } = this.health();
    return { ok: ok || this.node.roles.length > 1, detail };
  }

  #lookAtMemory(): void {
    const { highMemoryUsageRejectThreshold: threshold } = this.settings.current.proxy;
    const freePercent = this.node.resources.memoryFreePercent();
    const full = threshold > 0 && freePercent !== undefined && 100 - freePercent >= threshold * 100;
    if (full !== this.#memoryIsFull) {
      this.#memoryIsFull = full;
      this.workers.order({ kind: 'memory', full });
      this.node.log[full ? 'warn' : 'info']({ freePercent }, full ? 'the SQL proxy refuses connections: too much memory is in use' : 'the SQL proxy takes connections again');
    }
    this.#cancelMemory = this.node.clock.after(memoryLookMs, () => this.#lookAtMemory());
  }

  async #stop(): Promise<void> {
    this.#cancelMemory();
    this.#moves.stop();
    await this.workers.end();
    this.backends.stop();
    this.metrics.stop();
  }
}
