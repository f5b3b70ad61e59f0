import type { Clock } from '@binnacle/cluster-state/clock';
import { Errors } from '@binnacle/mysql-wire/error-codes';
import { encodeErr, type ErrPacket } from '@binnacle/mysql-wire/err-packet';
import { framePayload } from '@binnacle/mysql-wire/packet-header';
import type { Logger } from 'pino';
import type { Backend, BackendGreeting } from '../backends/backend.js';
import type { Router } from '../balance/router.js';
import { acceptClient, type ClientConnection, type ClientOptions } from '../connection/client-connection.js';
import { login, LoginError, type Login, type LoginOptions } from '../connection/login.js';
import type { PlainChannel } from '../connection/plain-channel.js';
import type { DisconnectionType, ProxyMetrics } from '../metrics/proxy-metrics.js';
import type { SettingsView } from '../settings/proxy-settings.js';
import type { Lease } from '../tenants/namespace.js';
import type { Tenants } from '../tenants/tenants.js';

/** A client that has logged in, and everything it came through. */
export interface OpenedSession extends Login {
  readonly id: number;
  readonly lease: Lease;
}

export interface SessionOpeningParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly router: Router;
  readonly tenants: Tenants;
  settings(): SettingsView;
  newId(): number;
  /** Why no further connection is taken now; undefined: it is. */
  refusal(): ErrPacket | undefined;
  clientOptions(channel: PlainChannel): Pick<ClientOptions, 'tls' | 'proxyProtocol'>;
  loginOptions(client: ClientConnection): Omit<LoginOptions, 'timeoutMs'>;
  opened(session: OpenedSession): void;
  readonly metrics: ProxyMetrics;
  /** Reaching a backend failed: somebody should look at it now. */
  backendFailed(backend: Backend, text: string): void;
}

/** From an accepted socket to a session: greeting, namespace, backend, login. */
export class SessionOpening {
  #logins = 0;
  /** Given out, and not yet of a session. */
  readonly #ids = new Set<number>();

  constructor(private readonly parts: SessionOpeningParts) {}

  /** Clients in their login. */
  get logins(): number {
    return this.#logins;
  }

  hasId(id: number): boolean {
    return this.#ids.has(id);
  }

  /** Never rejects. */
  async open(channel: PlainChannel): Promise<void> {
    const { parts } = this;
    const refusal = parts.refusal();
    if (refusal !== undefined) return this.#refuseAtOnce(channel, refusal);
    const openedAtMs = parts.clock.monotonicMs();
    parts.metrics.connectionOpened();
    this.#logins++;
    let failure: DisconnectionType | undefined = 'client handshake fail';
    try {
      failure = await this.#logIn(channel, openedAtMs);
    } catch (error) {
      // Who goes, or says nonsense, before the handshake is done has been told and closed already.
      parts.log.debug({ err: error, client: channel.remoteAddress }, 'a client did not get through its handshake');
    } finally {
      this.#logins--;
      if (failure !== undefined) parts.metrics.connectionClosed(failure, parts.clock.monotonicMs() - openedAtMs);
    }
  }

  /** What went wrong; undefined: it is a session now. */
  async #logIn(channel: PlainChannel, openedAtMs: number): Promise<DisconnectionType | undefined> {
    const { parts } = this;
    const greeting = this.#greeting();
    if (greeting === undefined) {
      this.#refuseAtOnce(channel, this.#noBackend());
      return 'get backend fail';
    }
    const id = parts.newId();
    this.#ids.add(id);
    try {
      const timeoutMs = parts.settings().proxy.loginTimeoutMs;
      const client = await acceptClient(channel, { ...parts.clientOptions(channel), connectionId: id, greeting, timeoutMs });
      return await this.#admit(client, id, timeoutMs, openedAtMs);
    } finally {
      this.#ids.delete(id);
    }
  }

  async #admit(client: ClientConnection, id: number, timeoutMs: number, openedAtMs: number): Promise<DisconnectionType | undefined> {
    const { parts } = this;
    const lease = parts.tenants.match(client).admit(client.user);
    if (!('namespace' in lease)) {
      client.refuse(lease);
      return 'SQL error';
    }
    let opened: Login | DisconnectionType = 'proxy error';
    try {
      opened = await this.#atABackend(client, lease, timeoutMs);
      if (typeof opened === 'string') return opened;
      parts.metrics.handshakeDone(opened.backend.backend.id, parts.clock.monotonicMs() - openedAtMs);
      parts.opened({ ...opened, id, lease });
      return undefined;
    } finally {
      if (typeof opened === 'string') lease.close();
    }
  }

  /** Tries one backend after the other as long as nothing was said to the client. */
  async #atABackend(client: ClientConnection, lease: Lease, timeoutMs: number): Promise<Login | DisconnectionType> {
    const { router, log, clock, metrics } = this.parts;
    const { cluster, role } = lease.namespace.view;
    const startMs = clock.monotonicMs();
    const leftMs = (): number => startMs + timeoutMs - clock.monotonicMs();
    const tried = new Set<string>();
    let last: LoginError | undefined;
    while (leftMs() > 0 && !client.closed) {
      const backend = router.choose({ ...(cluster !== '' && { cluster }), role, exclude: tried });
      metrics.backendSearched(backend !== undefined, clock.monotonicMs() - startMs);
      if (backend === undefined) break;
      tried.add(backend.id);
      router.sessionsChanged(backend.id, 1);
      try {
        return await login(client, backend, { ...this.parts.loginOptions(client), timeoutMs: leftMs() });
      } catch (error) {
        router.sessionsChanged(backend.id, -1);
        if (!(error instanceof LoginError)) {
          log.error({ err: error, backend: backend.id }, 'a login failed, and not by its client or server');
          client.refuse({ ...Errors.unknown, message: 'The proxy could not log in at the backend' });
          return 'proxy error';
        }
        log.debug({ err: error, backend: backend.id, user: client.user, client: client.address }, 'a login failed');
        last = error;
        if (!error.retryable) return error.error.code === Errors.accessDenied.code ? 'auth fail' : 'backend handshake fail';
        metrics.dialFailed(backend.id);
        this.parts.backendFailed(backend, error.message);
      }
    }
    if (!client.closed) client.refuse(last?.error ?? this.#noBackend());
    return last === undefined ? 'get backend fail' : 'backend handshake fail';
  }

  #greeting(): BackendGreeting | undefined {
    const { backends } = this.parts.router.view;
    const best = backends.find(({ greeting, healthy }) => greeting !== undefined && healthy) ?? backends.find(({ greeting }) => greeting !== undefined);
    const { serverVersion } = this.parts.settings().proxy;
    return best?.greeting !== undefined && serverVersion !== '' ? { ...best.greeting, serverVersion } : best?.greeting;
  }

  #noBackend(): ErrPacket {
    const { backends } = this.parts.router.view;
    const sick = backends.slice(0, 3).map(({ id, reason, draining, healthy }) => `${id}: ${reason || (draining ? 'drained' : healthy ? 'does not fit' : 'unhealthy')}`);
    const why = backends.length === 0 ? notConfigured : `none of ${backends.length} can take this session (${sick.join('; ')}${backends.length > 3 ? '; ...' : ''})`;
    return { ...Errors.unknown, message: `No available backend: ${why}` };
  }

  /** Instead of a greeting, where an error has no SQLSTATE. */
  #refuseAtOnce(channel: PlainChannel, { code, sqlState, message }: ErrPacket): void {
    channel.onBytes = () => false;
    channel.resume();
    channel.end(framePayload(encodeErr({ code, sqlState }, message, false), 0));
    this.parts.clock.after(lingerMs, () => channel.destroy());
  }
}

/** For a refused client to read why; then its socket goes, whatever it does. */
const lingerMs = 1_000;

const notConfigured = 'none is known: set proxy.backends, proxy.backend-dns, proxy.kubernetes-endpoints, proxy.pd-addrs or proxy.backend-clusters';
