import { randomUUID } from 'node:crypto';
import type { Candidacy } from '@binnacle/cluster-state/candidacy';
import { systemClock, type Clock } from '@binnacle/cluster-state/clock';
import type { Candidate, ClusterState, NodeRecord, NodeState } from '@binnacle/cluster-state/cluster-state';
import { Membership } from '@binnacle/cluster-state/membership';
import { NodeDirectory } from '@binnacle/cluster-state/node-directory';
import { addressOf } from '@binnacle/cluster-state/node-record';
import { openClusterState } from '@binnacle/cluster-state/open-cluster-state';
import { WatchedDocument } from '@binnacle/cluster-state/watched-document';
import type { DestinationStream, Logger } from 'pino';
import type { Registry } from 'prom-client';
import { Admission } from './admission.js';
import { buildInfo } from './build-info.js';
import { CachedCheck } from './check.js';
import type { NodeConfig } from './config.js';
import { ConfigError } from './config-error.js';
import { secretTexts } from './config-text.js';
import { advertisedHost, openIdentity, type Identity } from './identity.js';
import { Lifecycle } from './lifecycle.js';
import { configWarnings, unsafeBinds } from './load-config.js';
import { createLog, secretMasker } from './log.js';
import { MachineSampler } from './machine-sampler.js';
import { createMetrics, RequestMeter } from './metrics.js';
import { NodeContext, type NodePart } from './node-context.js';
import { Readiness, type ReadinessLine } from './readiness.js';
import { ResourceMonitor } from './resource-monitor.js';
import { selfChecks } from './self-checks.js';
import { parseSettings, Settings } from './settings.js';
import { runShutdown, type ShutdownStep } from './shutdown.js';

export interface NodeOptions {
  readonly roles: readonly string[];
  readonly config: NodeConfig;
  readonly clock?: Clock;
  /** Where log lines go instead of standard output. */
  readonly logDestination?: DestinationStream;
}

/** The listener of a node, as its shutdown sees it. */
export interface ClosableListener {
  /** Takes no new connection and resolves when the last request has been answered. */
  close(): Promise<void>;
  /** Cuts every connection. */
  destroy(): void;
}

/** Everything a node is made of but its listener: put together by `open`, started by `run`, taken down by `shutDown`. */
export class Node extends NodeContext {
  readonly id: string;
  readonly incarnation = randomUUID();
  readonly clusterSecret: string;
  readonly metrics: Registry;
  readonly requests: RequestMeter;
  readonly lifecycle = new Lifecycle();
  readonly directory: NodeDirectory;
  readonly settings: WatchedDocument<Settings>;
  readonly candidacies = new Map<string, Candidacy>();
  readonly labels: Record<string, string> = {};
  readonly machine: MachineSampler;
  readonly resources: ResourceMonitor;
  /** Of this node alone: `/healthcheck`. */
  readonly selfChecks: CachedCheck[];
  /** Of what its parts depend on, for `/deepcheck`. */
  readonly dependencyChecks: CachedCheck[] = [];
  readonly readiness: Readiness;
  readonly #startedAtMs: number;
  readonly #admission: Admission;
  readonly #membership: Membership;
  readonly parts: NodePart[] = [];
  readonly #startedParts: NodePart[] = [];
  #address: { readonly host: string; readonly port: number } | undefined;

  private constructor(
    readonly roles: readonly string[],
    readonly config: NodeConfig,
    readonly clock: Clock,
    readonly log: Logger,
    readonly maskSecrets: (text: string) => string,
    readonly state: ClusterState,
    identity: Identity,
  ) {
    super();
    this.id = identity.id;
    this.clusterSecret = identity.clusterSecret;
    this.#startedAtMs = clock.nowMs();
    this.metrics = createMetrics(roles, state);
    this.requests = new RequestMeter(this.metrics);
    this.machine = new MachineSampler(clock, config.dataDir);
    this.resources = new ResourceMonitor(clock, this.machine, config.health);
    this.selfChecks = selfChecks(this.resources, this.machine, config.health, clock);
    this.#admission = new Admission({ state, clock, log, clusterSecret: this.clusterSecret, quietMs: config.node.heartbeatTtlMs });
    this.readiness = new Readiness(this.lifecycle, state, clock, () => this.#admission.obstacle(), () => this.#partsReadiness());
    this.directory = new NodeDirectory(state, clock);
    this.settings = new WatchedDocument<Settings>(state, clock, {
      key: 'settings',
      initial: new Settings(),
      parse: parseSettings,
      onInvalid: (error) => log.error({ err: error }, 'the settings in cluster state are damaged; the last good ones stay'),
    });
    this.#membership = new Membership(state, clock, {
      record: () => this.record(),
      ttlMs: config.node.heartbeatTtlMs,
      onDuplicateId: ({ host, port }) =>
        log.warn({ host, port }, `another process, at ${host}:${port}, has the id "${this.id}" too: give each its own node.id (BINNACLE_NODE_ID)`),
    });
    if (config.node.zone) this.labels.zone = config.node.zone;
  }

  /** Rejects with `ConfigError` when the configuration or the data folder cannot be used; a Redis that is away is no reason to. */
  static async open({ roles, config, clock = systemClock, logDestination }: NodeOptions): Promise<Node> {
    const unsafe = unsafeBinds(config);
    if (unsafe.length > 0) throw new ConfigError(unsafe);
    const identity = openIdentity(config, roles);
    const maskSecrets = secretMasker([...secretTexts(config), identity.clusterSecret]);
    const log = createLog(config.log, maskSecrets, logDestination).child({ nodeId: identity.id });
    for (const warning of configWarnings(config)) log.warn(warning);
    const state = await openClusterState({ redis: config.redis, dataDir: config.dataDir, clock, log });
    return new Node(roles, config, clock, log, maskSecrets, state, identity);
  }

  candidate(): Candidate {
    return { nodeId: this.id, incarnation: this.incarnation, address: this.address() };
  }

  /** host:port of the node listener. Throws before it is open. */
  address(): string {
    if (!this.#address) throw new Error('the node listener is not open yet');
    return addressOf(this.#address);
  }

  addPart(part: NodePart): void {
    if (this.lifecycle.status() !== 'Idle') throw new Error(`part "${part.name}" comes too late: the node has started`);
    this.parts.push(part);
    const { checkDeadlineMs: deadlineMs, checkCacheMs: cacheMs } = this.config.health;
    const check = (run: () => Promise<string>): CachedCheck => new CachedCheck(part.name, run, { clock: this.clock, deadlineMs, cacheMs });
    if (part.health) this.selfChecks.push(check(part.health));
    if (part.dependencies) this.dependencyChecks.push(check(part.dependencies));
  }

  /** What the registry shows of this node now. */
  record(): NodeRecord {
    if (!this.#address) throw new Error('the node listener is not open yet');
    const resourceError = this.resources.resourceError();
    return {
      id: this.id,
      incarnation: this.incarnation,
      roles: this.roles,
      host: this.#address.host,
      port: this.#address.port,
      state: registryState(this.lifecycle),
      version: buildInfo.version,
      startedAtMs: this.#startedAtMs,
      appliedRevision: this.settings.appliedRevision(),
      outstandingRequests: this.requests.outstanding(),
      eventLoopDelayMs: this.resources.eventLoopDelayMs(),
      ...(resourceError && { resourceError }),
      labels: this.labels,
    };
  }

  /**
   * Before the listener opens: the first readings, so that the first answer has figures, and everything that keeps this node from
   * joining. Rejects with `ConfigError` then; `shutDown` cleans up.
   */
  async prepare(): Promise<void> {
    this.resources.start();
    await this.machine.start();
    for (const part of this.parts) await part.check?.();
    await this.#admission.ask();
  }

  /** The listener is open: joins the cluster and starts the parts. Rejects with what a part rejects with; `shutDown` cleans up then. */
  async run(bound: { host: string; port: number }): Promise<void> {
    this.#address = { host: advertisedHost(this.config, bound.host), port: bound.port };
    this.lifecycle.moveTo('Ready');
    const admitted = this.#admission.admitted();
    await Promise.all([this.directory.start(), this.settings.start(), admitted ? this.#membership.start() : undefined]);
    for (const part of this.parts) {
      this.#startedParts.unshift(part);
      await part.start?.();
      if (admitted) await part.join?.();
    }
    this.lifecycle.moveTo('Running');
    await this.#membership.refresh();
    this.#admission.follow(() => void this.#joinLate());
    this.log.info({ roles: this.roles, address: this.address(), version: buildInfo.version }, 'node runs');
  }

  /** Cluster state was away when the node started, and is back. */
  async #joinLate(): Promise<void> {
    try {
      await this.#membership.start();
      for (const part of this.parts) if (this.lifecycle.status() === 'Running') await part.join?.();
    } catch (error) {
      this.log.error({ err: error }, 'a part could not join the cluster');
    }
  }

  /** First half of an orderly end: nobody sends anything new, and the parts finish what they have. */
  drainSteps(): ShutdownStep[] {
    const joined = this.#address !== undefined;
    return [
      { name: 'tell the registry', run: () => (joined ? this.#membership.refresh() : undefined) },
      { name: 'wait for the gateways to hear of it', run: () => (joined ? this.#drainDelay() : undefined) },
      ...this.#startedParts.map((part) => ({ name: `drain ${part.name}`, run: () => part.drain?.() })),
    ];
  }

  /** Second half, after the listener has closed. */
  leaveSteps(): ShutdownStep[] {
    return [
      ...this.#startedParts.map((part) => ({ name: `stop ${part.name}`, run: () => part.stop?.() })),
      { name: 'leave the registry', run: () => (this.#address ? this.#membership.stop() : undefined) },
      { name: 'close the cluster state', run: () => this.#close() },
    ];
  }

  /** Rejects with `ShutdownDeadlineError` when the deadline came first; what still ran is cut off then. */
  async shutDown(listener: ClosableListener): Promise<void> {
    this.#admission.stop();
    this.lifecycle.moveTo('Stopping');
    this.log.info('node stops');
    try {
      await this.runSteps([...this.drainSteps(), { name: 'finish the requests in flight', run: () => listener.close() }, ...this.leaveSteps()]);
    } catch (error) {
      listener.destroy();
      this.log.error((error as Error).message);
      // Nobody waits for these any more; what hangs in them must not keep timers and sockets going.
      void this.#membership.stop();
      this.#close().catch(() => undefined);
      throw error;
    } finally {
      this.lifecycle.moveTo('Terminated');
    }
    this.log.info('node stopped');
  }

  runSteps(steps: readonly ShutdownStep[]): Promise<void> {
    return runShutdown(steps, {
      clock: this.clock,
      deadlineMs: this.config.node.shutdownDeadlineMs + this.parts.reduce((sum, part) => sum + (part.drainMsMax?.() ?? 0), 0),
      log: this.log,
      describeRest: () => this.requests.describeOutstanding(),
    });
  }

  #partsReadiness(): ReadinessLine[] {
    return this.parts.flatMap((part) => (part.readiness === undefined ? [] : [{ name: part.name.replaceAll(' ', '_'), ...part.readiness() }]));
  }

  /** With embedded state nobody else routes to this process, so there is nobody to wait for. */
  async #drainDelay(): Promise<void> {
    if (this.state.kind === 'embedded') return;
    await new Promise<void>((resolve) => this.clock.after(this.config.node.drainDelayMs, resolve));
  }

  async #close(): Promise<void> {
    this.directory.stop();
    this.settings.stop();
    this.readiness.stop();
    this.machine.stop();
    this.resources.stop();
    this.metrics.clear();
    await this.state.close();
  }
}

function registryState(lifecycle: Lifecycle): NodeState {
  const status = lifecycle.status();
  if (status === 'Running') return 'running';
  return status === 'Stopping' || status === 'Terminated' ? 'stopping' : 'starting';
}
