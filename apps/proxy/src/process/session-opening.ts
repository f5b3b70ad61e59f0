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
  /** A connection was refused, or its login failed. */
  failed(reason: 'refused' | 'client' | 'backend'): void;
  /** Reaching a backend failed: somebody should look at it now. */
  backendFailed(backend: Backend, text: string): void;
}

/** From an accepted socket to a session: greeting, namespace, backend, login. */
export class SessionOpening {
  #logins = 0;

  constructor(private readonly parts: SessionOpeningParts) {}

  /** Clients in their login. */
  get logins(): number {
    return this.#logins;
  }

  /** Never rejects. */
  async open(channel: PlainChannel): Promise<void> {
    const { parts } = this;
    const greeting = this.#greeting();
    const refusal = parts.refusal() ?? (greeting === undefined ? this.#noBackend() : undefined);
    if (refusal !== undefined) return this.#refuseAtOnce(channel, refusal);
    this.#logins++;
    try {
      await this.#logIn(channel, greeting as BackendGreeting);
    } catch (error) {
      // Who goes, or says nonsense, before the handshake is done has been told and closed already.
      parts.failed('client');
      parts.log.debug({ err: error, client: channel.remoteAddress }, 'a client did not get through its handshake');
    } finally {
      this.#logins--;
    }
  }

  async #logIn(channel: PlainChannel, greeting: BackendGreeting): Promise<void> {
    const { parts } = this;
    const id = parts.newId();
    const timeoutMs = parts.settings().proxy.loginTimeoutMs;
    const client = await acceptClient(channel, { ...parts.clientOptions(channel), connectionId: id, greeting, timeoutMs });
    const lease = parts.tenants.match(client).admit(client.user);
    if (!('namespace' in lease)) {
      parts.failed('refused');
      return client.refuse(lease);
    }
    let opened: Login | undefined;
    try {
      opened = await this.#atABackend(client, lease, timeoutMs);
      if (opened !== undefined) parts.opened({ ...opened, id, lease });
    } finally {
      if (opened === undefined) lease.close();
    }
  }

  /** Tries one backend after the other as long as nothing was said to the client. */
  async #atABackend(client: ClientConnection, lease: Lease, timeoutMs: number): Promise<Login | undefined> {
    const { router, log, clock } = this.parts;
    const { cluster, role } = lease.namespace.view;
    const deadlineMs = clock.monotonicMs() + timeoutMs;
    const tried = new Set<string>();
    let last: LoginError | undefined;
    while (clock.monotonicMs() < deadlineMs && !client.closed) {
      const backend = router.choose({ ...(cluster !== '' && { cluster }), role, exclude: tried });
      if (backend === undefined) break;
      tried.add(backend.id);
      router.sessionsChanged(backend.id, 1);
      try {
        return await login(client, backend, { ...this.parts.loginOptions(client), timeoutMs: deadlineMs - clock.monotonicMs() });
      } catch (error) {
        router.sessionsChanged(backend.id, -1);
        if (!(error instanceof LoginError)) throw error;
        log.debug({ err: error, backend: backend.id, user: client.user, client: client.address }, 'a login failed');
        last = error;
        if (!error.retryable) {
          this.parts.failed('backend');
          return undefined;
        }
        this.parts.backendFailed(backend, error.message);
      }
    }
    this.parts.failed('backend');
    if (!client.closed) client.refuse(last?.error ?? this.#noBackend());
    return undefined;
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
    this.parts.failed('refused');
    channel.onBytes = () => false;
    channel.resume();
    channel.end(framePayload(encodeErr({ code, sqlState }, message, false), 0));
    this.parts.clock.after(lingerMs, () => channel.destroy());
  }
}

/** For a refused client to read why; then its socket goes, whatever it does. */
const lingerMs = 1_000;

const notConfigured = 'none is known; set proxy.backends, proxy.backend-dns, proxy.kubernetes-endpoints, proxy.pd-addrs or proxy.backend-clusters';
