import type { Clock } from '@binnacle/cluster-state/clock';
import { Errors } from '@binnacle/mysql-wire/error-codes';
import type { ErrPacket } from '@binnacle/mysql-wire/err-packet';
import type { Logger } from 'pino';
import type { RoutingView } from '../backends/backend.js';
import { Router } from '../balance/router.js';
import { Credentials } from '../connection/credentials.js';
import type { PlainChannel } from '../connection/plain-channel.js';
import { type HashReader, StoredHashes } from '../connection/stored-hashes.js';
import { UsersFile } from '../connection/users-file.js';
import type { ProxyMetrics } from '../metrics/proxy-metrics.js';
import { gaugeWorker } from '../metrics/worker-gauges.js';
import { SessionState } from '../migration/session-state.js';
import { StatementExaminer } from '../migration/statement-effects.js';
import { Session } from '../session/session.js';
import type { ProxySettings, SettingsView } from '../settings/proxy-settings.js';
import { Tenants } from '../tenants/tenants.js';
import { Captures } from '../traffic/capture/captures.js';
import { staysOn } from './backend-stays.js';
import { DialSettings } from './dial-settings.js';
import { HeldSessions } from './held-sessions.js';
import { listenAddresses } from './listen-addresses.js';
import { newSessionId } from './session-ids.js';
import { SessionMover } from './session-mover.js';
import { type OpenedSession, SessionOpening } from './session-opening.js';
import { listedSessions, summaryOf } from './session-summary.js';
import { SqlListener } from './sql-listener.js';
import { WorkerDrain } from './worker-drain.js';
import { WorkerHost } from './worker-host.js';
import type { MoveOutcome, WorkerOrder, WorkerQuestions, WorkerSetup } from './worker-protocol.js';
import type { WorkerUplink } from './workers.js';

/** Counts go to the main process this often, if they have changed. */
const reportMs = 100;

export interface SessionWorkerParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly uplink: WorkerUplink;
  /** Where the worker is in the main process, these are the node's own. */
  readonly settings: ProxySettings;
  readonly metrics: ProxyMetrics;
}

/** What holds sessions: the port, the sessions on it, and whatever is ordered about them. In the node's own process, or in a fork of it. */
export class SessionWorker {
  readonly #router = new Router();
  readonly #sessions = new HeldSessions();
  readonly #examiner = new StatementExaminer();
  readonly #usersFile: UsersFile;
  readonly #credentials: Credentials;
  readonly #tenants: Tenants;
  readonly #dial: DialSettings;
  readonly #opening: SessionOpening;
  readonly #listener: SqlListener;
  readonly #host: WorkerHost;
  readonly #mover: SessionMover;
  readonly #drain: WorkerDrain;
  readonly #captures: Captures;
  /** Made once: every session has them. */
  #allowed: { allowedFunctions: ReadonlySet<string>; allowedProcedures: ReadonlySet<string> };
  #othersSessions = 0;
  #memoryIsFull = false;
  #reported = '';
  #cancelReport = (): void => {};

  constructor(
    private readonly parts: SessionWorkerParts,
    private readonly setup: WorkerSetup,
  ) {
    const { clock, log, settings, metrics, uplink } = parts;
    const current = () => settings.current;
    const usersFile = new UsersFile(current().proxy.usersFile, clock, log);
    this.#usersFile = usersFile;
    const hashes = new StoredHashes(() => this.#hashReader(), clock, log);
    this.#credentials = new Credentials({
      storedHashes: (backend, user) => hashes.of(backend, user),
      get users() {
        return usersFile.users;
      },
      get keep() {
        return current().proxy.keepCredentials;
      },
    });
    this.#allowed = allowed(current());
    settings.onChange((now) => (this.#allowed = allowed(now)));
    this.#router.update(setup.view);
    this.#tenants = new Tenants({ clock, refused: (namespace, reason) => metrics.refused(namespace, reason) }, setup.namespaces);
    this.#dial = new DialSettings(current, clock, log);
    this.#host = new WorkerHost({
      log,
      router: this.#router,
      credentials: this.#credentials,
      tenants: this.#tenants,
      dial: this.#dial,
      uplink,
      settings: current,
      metrics,
      role: (session) => this.#sessions.get(session.id)?.role ?? 'writer',
      moved: (session) => this.#countMove(session.id),
      ending: (session, type) => this.#sessions.ending(session.id, type),
      closed: (session) => this.#closed(session),
    });
    this.#opening = new SessionOpening({
      clock,
      log,
      router: this.#router,
      tenants: this.#tenants,
      settings: current,
      newId: () => newSessionId(setup.number, setup.workersTotal, (id) => this.#sessions.has(id) || this.#opening.hasId(id)),
      refusal: () => this.#refusal(),
      clientOptions: (channel) => this.#dial.from(channel),
      loginOptions: (client) => ({ ...this.#dial.to(client), credentials: this.#credentials }),
      opened: (opened) => this.#opened(opened),
      metrics,
      backendFailed: (backend, text) => uplink.report({ kind: 'backend-failed', backend: backend.id, text }),
    });
    this.#listener = new SqlListener((channel) => this.#accepted(channel));
    this.#mover = new SessionMover({
      clock,
      sessions: this.#sessions,
      router: this.#router,
      attempt: (held, to) => this.#host.move(held, to),
      measured: (outcome, ms) => this.#moved(outcome, ms),
      report: (outcome) => uplink.report({ kind: 'moved', outcome }),
    });
    this.#captures = new Captures({
      clock,
      log,
      sessions: () => [...this.#sessions.all()].map(({ session }) => session),
      serverVersion: () => this.#router.view.backends.find(({ greeting }) => greeting !== undefined)?.greeting?.serverVersion ?? '',
    });
    this.#drain = new WorkerDrain({ clock, sessions: this.#sessions, logins: () => this.#opening.logins, drained: (cut) => uplink.report({ kind: 'drained', cut }) });
  }

  #hashReader(): HashReader {
    const { healthUser, healthPassword } = this.parts.settings.current.proxy;
    return { user: healthUser, password: healthPassword, dial: this.#dial.to() };
  }

  order(order: WorkerOrder): void {
    switch (order.kind) {
      case 'view':
        return this.#look(order.view);
      case 'settings':
        return this.parts.settings.update(order.settings);
      case 'namespaces':
        return this.#tenants.update(order.namespaces);
      case 'others':
        this.#othersSessions = order.sessions;
        return this.#tenants.setOthers(order.tenants);
      case 'memory':
        this.#memoryIsFull = order.full;
        return;
      case 'move':
        return this.#mover.order(order.order);
      case 'close':
        return this.#closeAll(order.order.from, order.order.reason);
      case 'shutdown':
        this.#listener.close();
        return this.#drain.start(order.graceMs);
    }
  }

  async answer<Kind extends keyof WorkerQuestions>(kind: Kind, body: WorkerQuestions[Kind]['ask']): Promise<WorkerQuestions[Kind]['answer']> {
    const answers: { [Each in keyof WorkerQuestions]: (ask: WorkerQuestions[Each]['ask']) => WorkerQuestions[Each]['answer'] | Promise<WorkerQuestions[Each]['answer']> } = {
      start: () => this.#start(),
      sessions: (filter) => listedSessions(this.#sessions.all(), this.setup.number, filter),
      stays: ({ backend }) => staysOn(backend, this.#sessions.all()),
      session: ({ id }) => this.#summary(id),
      migrate: ({ id, to, reason }) => this.#mover.one(id, to, reason),
      close: ({ id }) => this.#close(id),
      captureStart: (order) => this.#captures.start(order),
      captureStop: (end) => this.#captures.stop(end),
      captureProgress: () => this.#captures.progress,
      metrics: () => {
        gaugeWorker(this.parts.metrics, this.#sessions.all(), this.#tenants, this.#router.view.backends.map(({ id }) => id));
        return this.parts.metrics.snapshot();
      },
    };
    return answers[kind](body);
  }

  /** At once: whatever session is left is cut. */
  end(): void {
    this.#cancelReport();
    this.#listener.close();
    this.#drain.stop();
    for (const { session } of [...this.#sessions.all()]) session.close();
  }

  async #start(): Promise<{ addresses: string[] }> {
    this.#dial.check();
    this.#usersFile.check();
    const addresses = await this.#listener.listen(listenAddresses(this.parts.settings.current));
    this.#reportLater();
    return { addresses };
  }

  #accepted(channel: PlainChannel): void {
    channel.keepAlive(this.parts.settings.current.proxy.frontendKeepalive);
    void this.#opening.open(channel);
  }

  /** Connections to a backend that is in trouble are watched more closely, so that those which nobody answers any more end soon. */
  #look(view: RoutingView): void {
    const { backendHealthyKeepalive, backendUnhealthyKeepalive } = this.parts.settings.current.proxy;
    const turned = new Set(view.backends.filter(({ id, healthy }) => healthy !== this.#router.backend(id)?.healthy).map(({ id }) => id));
    this.#router.update(view);
    if (turned.size === 0) return;
    for (const { session } of this.#sessions.all()) {
      const { id } = session.backend.backend;
      if (turned.has(id)) session.backend.channel.keepAlive(this.#router.backend(id)?.healthy === false ? backendUnhealthyKeepalive : backendHealthyKeepalive);
    }
  }

  #opened({ id, client, backend, credential, lease }: OpenedSession): void {
    const { clock, metrics } = this.parts;
    const state = new SessionState({
      kind: backend.kind,
      capabilities: backend.capabilities.capabilities,
      collation: client.collation,
      database: client.database,
      statusFlags: backend.statusFlags,
      ...this.#allowed,
      examiner: this.#examiner,
      storedFunctions: () => this.#router.backend(session.backend.backend.id)?.storedFunctions,
    });
    const tracked = credential !== undefined || backend.kind === 'tidb';
    const meter = metrics.session(backend.backend.id, client.user, id);
    const session: Session = new Session({ id, client, backend, credential, namespace: lease.namespace.name, startedAtMs: clock.nowMs(), state, tracked, lease, meter }, this.#host);
    this.#sessions.add(session, lease.namespace.view.role);
    metrics.sessionsOn(backend.backend.id, 1);
    this.#captures.opened(session);
    session.start();
  }

  #moved(outcome: MoveOutcome, ms: number): void {
    const { metrics } = this.parts;
    metrics.moved(outcome, ms);
    if (outcome.result === 'moved') this.#countMove(outcome.sessionId);
  }

  /** It is on another backend than it was. */
  #countMove(id: number): void {
    const held = this.#sessions.get(id);
    if (held === undefined) return;
    const to = held.session.backend.backend.id;
    for (const [backend, by] of [[held.countedOn, -1], [to, 1]] as const) {
      this.#router.sessionsChanged(backend, by);
      this.parts.metrics.sessionsOn(backend, by);
    }
    held.countedOn = to;
  }

  #closed(session: Session): void {
    const { metrics, clock } = this.parts;
    const held = this.#sessions.get(session.id);
    if (held === undefined) return;
    this.#sessions.remove(session.id);
    this.#router.sessionsChanged(held.countedOn, -1);
    metrics.sessionsOn(held.countedOn, -1);
    metrics.connectionClosed(held.endType, clock.nowMs() - session.startedAtMs);
  }

  /** Before the greeting. */
  #refusal(): ErrPacket | undefined {
    const { metrics, settings } = this.parts;
    const { proxy, security } = settings.current;
    const { maxConnections } = proxy;
    // Demanded and not to be had: nobody may come in plain because of it.
    if (security.requireClientTls && security.serverTls.cert === '') return { ...Errors.secureTransportRequired, message: 'TLS is required here, and the proxy has no certificate: set security.server-tls.cert' };
    const here = this.#sessions.size + this.#opening.logins;
    if (maxConnections > 0 && here + this.#othersSessions >= maxConnections) {
      metrics.connectionRejected('max_connections');
      return { ...Errors.tooManyConnections, message: 'Too many connections' };
    }
    if (!this.#memoryIsFull) return undefined;
    metrics.connectionRejected('memory');
    return { ...Errors.tooManyConnections, message: 'Too many connections: the proxy is short of memory' };
  }

  #summary(id: number) {
    const held = this.#sessions.get(id);
    return held && summaryOf(held, this.setup.number);
  }

  #close(id: number): boolean {
    const held = this.#sessions.get(id);
    if (held === undefined) return false;
    void this.#host.stopStatement(held.session);
    held.session.close({ ...Errors.connectionKilled, message: 'Connection was killed' });
    return true;
  }

  #closeAll(backend: string, reason: string): void {
    for (const held of [...this.#sessions.all()]) {
      if (held.session.backend.backend.id !== backend) continue;
      held.endType = 'proxy shutdown';
      held.session.close({ ...Errors.serverShutdown, message: `Server shutdown in progress: ${reason}` });
    }
  }

  #reportLater(): void {
    this.#cancelReport = this.parts.clock.after(reportMs, () => {
      const counts = this.#sessions.counts(this.parts.clock.monotonicMs());
      const report = { kind: 'counts', counts, sessions: this.#sessions.size + this.#opening.logins, tenants: this.#tenants.usage() } as const;
      const text = JSON.stringify(report);
      if (text !== this.#reported) this.parts.uplink.report(report);
      this.#reported = text;
      this.#reportLater();
    });
  }
}

function allowed({ proxy }: SettingsView) {
  const lowerCase = (names: readonly string[]): ReadonlySet<string> => new Set(names.map((name) => name.toLowerCase()));
  return { allowedFunctions: lowerCase(proxy.allowedFunctions), allowedProcedures: lowerCase(proxy.allowedProcedures) };
}
