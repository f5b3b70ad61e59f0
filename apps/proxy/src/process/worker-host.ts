import type { Logger } from 'pino';
import { SomeAtATime } from '@binnacle/node-kit/some-at-a-time';
import { utf8mb4GeneralCi } from '@binnacle/mysql-wire/charset';
import { Errors } from '@binnacle/mysql-wire/error-codes';
import type { ErrPacket } from '@binnacle/mysql-wire/err-packet';
import { type Backend, type BackendRole, isInCluster, mayMove } from '../backends/backend.js';
import { probeGreeting } from '../backends/greeting-probe.js';
import type { Router } from '../balance/router.js';
import { dialBackend, type BackendConnection } from '../connection/backend-connection.js';
import type { Credentials } from '../connection/credentials.js';
import { changeUser, type UserChange } from '../connection/change-user.js';
import { MysqlError } from '../connection/mysql-error.js';
import type { DisconnectionType, ProxyMetrics } from '../metrics/proxy-metrics.js';
import { armTrackers } from '../migration/arm-trackers.js';
import { migrate, type MigrationDeps, type MoveResult } from '../migration/migrate.js';
import { reconnect, type ReconnectDeps } from '../migration/reconnect.js';
import { StoredCodeSurveys } from '../migration/stored-code.js';
import type { Changed, Loss, SessionHost } from '../session/session-host.js';
import type { Session } from '../session/session.js';
import type { SettingsView } from '../settings/proxy-settings.js';
import type { Lease } from '../tenants/namespace.js';
import type { Tenants } from '../tenants/tenants.js';
import type { DialSettings } from './dial-settings.js';
import type { HeldSession } from './held-sessions.js';
import type { FoundSession } from './worker-protocol.js';
import type { WorkerUplink } from './workers.js';

export interface WorkerHostParts {
  readonly log: Logger;
  readonly router: Router;
  readonly credentials: Credentials;
  readonly tenants: Tenants;
  readonly dial: DialSettings;
  readonly uplink: WorkerUplink;
  settings(): SettingsView;
  readonly metrics: ProxyMetrics;
  role(session: Session): BackendRole;
  /** A session has changed its backend without an order. */
  moved(session: Session): void;
  ending(session: Session, type: DisconnectionType): void;
  closed(session: Session): void;
}

/** A session that is busy for longer is tried again some seconds later. */
const holdMsMax = 2_000;
/** Of each question while the client waits: the questions are small. */
const answerMsMax = 2_000;
const causalityMsMax = 1_000;
/** Whether the server is there is asked while a client waits. */
const greetsMsMax = 1_000;

const reconnectsMax = 32;
/** The client is idle, or waits for its first answer; longer than this it should not. */
const reconnectMsMax = 10_000;
const reconnectAgainMs = 500;

/** What sessions ask of their worker. */
export class WorkerHost implements SessionHost {
  readonly #reconnects = new SomeAtATime(reconnectsMax);
  readonly #surveys = new StoredCodeSurveys(() => performance.now());

  constructor(private readonly parts: WorkerHostParts) {}

  get retriesReads(): boolean {
    return this.parts.settings().proxy.readRetry;
  }

  arm(session: Session): Promise<void> {
    return armTrackers(session.backend, session.state, this.parts.settings().proxy.loginTimeoutMs);
  }

  /** Never rejects. */
  move({ session, role }: HeldSession, to: Backend): Promise<MoveResult> {
    return migrate(session, to, this.#migration(role));
  }

  recover(session: Session, { errorCode }: Loss): Promise<boolean> {
    const { uplink, settings, ending } = this.parts;
    uplink.report({ kind: 'backend-failed', backend: session.backend.backend.id, text: 'a session lost its connection' });
    ending(session, 'backend network break');
    if (!settings().proxy.reconnectIdle) return Promise.resolve(false);
    // A server that dies leaves all its sessions at once, and the others have logins enough from new clients then.
    return this.#reconnects.run(() => this.#reconnect(session, errorCode));
  }

  async #reconnect(session: Session, errorCode: number): Promise<boolean> {
    const { log, moved, role, metrics, ending } = this.parts;
    const isClosing = (): boolean => session.phase === 'closing';
    if (isClosing()) return false;
    // The swap sends it, and knows nothing of it afterwards.
    const readsAgain = session.witness.read !== undefined;
    const from = session.backend.backend;
    const deps: ReconnectDeps = {
      ...this.#migration(role(session)),
      targets: ({ backend }) => this.#others(backend.backend, role(session)),
      greets: (backend) => this.#greets(backend),
    };
    // A cluster that has lost a server may serve nobody until it has noticed.
    const untilMs = performance.now() + reconnectMsMax;
    let reconnection = await reconnect(session, errorCode, deps);
    while (reconnection.result === 'failed' && !isClosing() && performance.now() < untilMs) {
      await new Promise((resolve) => setTimeout(resolve, reconnectAgainMs));
      reconnection = await reconnect(session, errorCode, deps);
    }
    const { result, why } = reconnection;
    const to = session.backend.backend;
    log.debug({ session: session.id, from: from.id, to: to.id, result, why: why.map(({ code }) => code) }, `a session lost its backend: ${result}`);
    metrics.reconnected(result);
    if (readsAgain) metrics.readRetried(result === 'reconnected' ? 'succeed' : 'fail');
    if (result !== 'reconnected') return false;
    moved(session);
    ending(session, 'success');
    return true;
  }

  /** Best first. */
  #others(from: Backend, role: BackendRole): Backend[] {
    const now = this.#asOfNow(from);
    return this.parts.router.view.backends.filter((backend) => backend.healthy && !backend.draining && mayMove(now, backend, role));
  }

  #greets({ host, port }: Backend): Promise<boolean> {
    const proxyHeader = this.parts.settings().proxy.proxyProtocol === 'v2';
    return probeGreeting({ host, port, timeoutMs: greetsMsMax, proxyHeader }).then(
      () => true,
      () => false,
    );
  }

  /** Into the namespace of the other user, as a login would come there. */
  async changeUser(session: Session, payload: Buffer): Promise<Changed | Exclude<UserChange, object>> {
    const { credentials, settings } = this.parts;
    let lease: Lease | undefined;
    const refusal = (user: string): ErrPacket | undefined => {
      const admitted = this.#admit(session, user);
      if (!('namespace' in admitted)) return admitted;
      lease = admitted;
      return undefined;
    };
    let changed: UserChange;
    try {
      changed = await changeUser(session.client, session.backend, payload, { credentials, timeoutMs: settings().proxy.loginTimeoutMs, refusal });
      return typeof changed === 'object' ? { ...changed, lease } : changed;
    } finally {
      if (typeof changed !== 'object') lease?.close();
    }
  }

  #admit(session: Session, user: string): Lease | ErrPacket {
    const { tenants, role } = this.parts;
    const { address, port } = session.client;
    const namespace = tenants.match({ user, address, port });
    const { cluster, role: wanted } = namespace.view;
    const isThere = cluster === '' || isInCluster(this.#asOfNow(session.backend.backend), cluster);
    if (isThere && wanted === role(session)) return namespace.admit(user, session.lease);
    return { ...Errors.unknown, message: `User '${user}' is served by other backends, those of namespace '${namespace.name}': connect anew instead of changing the user` };
  }

  findSession(id: number): Promise<FoundSession | undefined> {
    return this.parts.uplink.ask('find', { id });
  }

  /** Over a connection of its own, logged in as the one who kills: the server decides whether he may. */
  async killElsewhere(session: Session, victim: FoundSession, statement: string): Promise<void> {
    const { router, dial, settings } = this.parts;
    const backend = router.backend(victim.backend);
    if (backend === undefined) throw new MysqlError(Errors.noSuchThread, `Unknown thread id: ${victim.id}`);
    const { credential, client } = session;
    if (credential === undefined) {
      const why = `session ${victim.id} is on backend ${victim.backend}, and the proxy has no secret to log you in there: set proxy.keep-credentials or proxy.users-file`;
      throw new MysqlError(Errors.killDenied, `You are not owner of thread ${victim.id}, as far as can be told: ${why}`);
    }
    const { loginTimeoutMs } = settings().proxy;
    let connection: BackendConnection;
    try {
      const { user, collation, attributes, capabilities } = client;
      connection = await dialBackend(backend, { ...dial.to(client), user, database: '', collation, attributes, capabilities, credential }, loginTimeoutMs);
    } catch (error) {
      if (error instanceof MysqlError) throw error;
      throw new MysqlError(Errors.unknown, `Session ${victim.id} is on backend ${victim.backend}, which cannot be reached`);
    }
    try {
      await connection.query(statement, loginTimeoutMs);
    } finally {
      connection.close();
    }
  }

  #migration(role: BackendRole): MigrationDeps {
    const { dial, settings } = this.parts;
    const { loginTimeoutMs, healthUser } = settings().proxy;
    return {
      ...(healthUser !== '' && { storedCode: (backend: Backend) => this.#surveys.ofHealthUser(backend.group, () => this.#dialForHealth(backend), answerMsMax) }),
      dial: ({ client }, target, { credential, database }, timeoutMs) => {
        const { user, collation, attributes, capabilities } = client;
        return dialBackend(target, { ...dial.to(client), user, database, collation, attributes, capabilities, credential }, timeoutMs);
      },
      mayMove: ({ backend }, target) => mayMove(this.#asOfNow(backend.backend), target, role),
      timeouts: { dialMs: loginTimeoutMs, holdMs: holdMsMax, answerMs: answerMsMax, causalityMs: causalityMsMax },
      surveys: this.#surveys,
      trustStoredCode: settings().proxy.trustStoredCode,
    };
  }

  #dialForHealth(backend: Backend): Promise<BackendConnection> {
    const { loginTimeoutMs, healthUser, healthPassword } = this.parts.settings().proxy;
    const account = { user: healthUser, database: '', collation: utf8mb4GeneralCi, attributes: [['program_name', 'binnacle-stored-code']] as const };
    const credential = { kind: 'password', password: healthPassword } as const;
    return dialBackend(backend, { ...this.parts.dial.to(), ...account, capabilities: { capabilities: 0, mariadbCapabilities: 0 }, credential }, loginTimeoutMs);
  }

  /** What a session was told of its backend at its login may be old; what is gone from the view was as it was. */
  #asOfNow(backend: Backend): Backend {
    return this.parts.router.backend(backend.id) ?? backend;
  }

  killed(id: number): void {
    this.parts.uplink.ask('killed', { id }).catch((error: unknown) => this.parts.log.warn({ err: error, session: id }, 'a killed session could not be told to end'));
  }

  /** What the session runs now goes on at its server when only the connection is cut. Without a secret it does. Never rejects. */
  async stopStatement(session: Session): Promise<void> {
    const { id, backend, credential, phase } = session;
    if (phase !== 'busy' || credential === undefined) return;
    const found = { node: '', id, user: session.client.user, backend: backend.backend.id, backendThreadId: backend.threadId };
    await this.killElsewhere(session, found, `KILL ${backend.threadId}`).catch((error: unknown) => {
      this.parts.log.debug({ err: error, session: id }, 'the statement of a session that was ended could not be stopped');
    });
  }

  failed(session: Session, error: Error): void {
    this.parts.ending(session, 'proxy error');
    this.parts.log.error({ err: error, session: session.id, backend: session.backend.backend.id }, 'a session failed and is closed');
  }

  closed(session: Session): void {
    this.parts.closed(session);
  }
}
