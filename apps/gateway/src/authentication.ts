import { scopeAllows } from '@binnacle/contracts/api-key-scopes';
import { BinnacleError } from '@binnacle/contracts/errors';
import type { Route } from '@binnacle/contracts/route';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Inject, Injectable } from '@nestjs/common';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { ApiKeys } from './api-keys.js';
import { isLoopback } from '@binnacle/node-kit/load-config';
import { FailedAttempts } from './failed-attempts.js';
import { presentedKey } from './presented-key.js';

/**
 * Who may do what on the public listeners. Synchronous: it is on the way of every request and waits for nothing.
 *
 * Without any key, without mTLS and bound to loopback everybody on this machine is let in. Otherwise a request needs an API key with the
 * route's scope, or, with mTLS, a certificate whose common name is allowed.
 */
@Injectable()
export class Authentication {
  readonly #attempts: FailedAttempts;
  readonly #mutualTls: boolean;
  readonly #loopback: boolean;
  readonly #allowedCns: ReadonlySet<string>;
  /** By connection: reading a certificate costs tens of microseconds, and it stays what it is. */
  readonly #certificateAllowed = new WeakMap<Socket, boolean>();

  constructor(
    @Inject(NodeContext) node: Pick<NodeContext, 'config' | 'clock'>,
    private readonly keys: ApiKeys,
  ) {
    const { host, tlsCaFile, certAllowedCn } = node.config.gateway;
    this.#attempts = new FailedAttempts(node.clock);
    this.#mutualTls = tlsCaFile !== '';
    this.#loopback = isLoopback(host);
    this.#allowedCns = new Set(certAllowedCn);
  }

  /** Undefined when the request may go on. `query` is what follows the `?`. */
  check(request: IncomingMessage, url: { path: string; query: string }, route: Route): BinnacleError | undefined {
    if (route.action === 'public') return undefined;
    if (this.#mutualTls) {
      if (route.anyCertificate || this.#certificateIsAllowed(request.socket)) return undefined;
    } else if (this.#loopback && !this.keys.any()) {
      if (!this.keys.loaded()) return keysUnknown();
      return fromOtherSite(request) ? unauthenticated('A web page of another site may not use this API without an API key.') : undefined;
    }
    return this.#checkKey(request, presentedKey(request.headers, url.query), route);
  }

  #checkKey(request: IncomingMessage, key: string | undefined, route: Route): BinnacleError | undefined {
    if (key === undefined) {
      if (this.#mutualTls) return new BinnacleError('CERTIFICATE_ROLE', 'certificate role error');
      return unauthenticated('An API key is needed, as `Authorization: Bearer KEY` or in the header x-binnacle-api-key or x-typesense-api-key.');
    }
    const address = request.socket.remoteAddress ?? '';
    // Before the key is looked at: otherwise the answer to a guess would still tell whether it was right.
    const waitMs = this.#attempts.waitMs(address);
    if (waitMs > 0) {
      return new BinnacleError('TOO_MANY_ATTEMPTS', 'Too many wrong API keys from this address.', { retryAfterS: waitMs / 1_000 });
    }
    const verdict = this.keys.verdict(key);
    if (verdict.kind === 'unknown') {
      if (!this.keys.loaded()) return keysUnknown();
      this.#attempts.record(address);
      return unauthenticated('The API key is not known.');
    }
    if (verdict.kind === 'expired') return unauthenticated('The API key has expired.');
    if (scopeAllows(verdict.actions, route.action)) return undefined;
    return unauthenticated(`The API key does not have the scope ${route.action}.`);
  }

  /** The listener has verified the certificate already: a connection without a valid one does not come about. */
  #certificateIsAllowed(socket: Socket): boolean {
    const known = this.#certificateAllowed.get(socket);
    if (known !== undefined) return known;
    const allowed = socket instanceof TLSSocket && socket.authorized && this.#isAllowedCn(socket.getPeerCertificate().subject?.CN);
    this.#certificateAllowed.set(socket, allowed);
    return allowed;
  }

  /** Several common names come as an array: such a certificate does not say who it is for, and is let in only when anybody is. */
  #isAllowedCn(commonName: unknown): boolean {
    return this.#allowedCns.size === 0 || (typeof commonName === 'string' && this.#allowedCns.has(commonName));
  }
}

function unauthenticated(message: string): BinnacleError {
  return new BinnacleError('UNAUTHENTICATED', message);
}

function keysUnknown(): BinnacleError {
  return new BinnacleError('CLUSTER_STATE_UNAVAILABLE', 'The API keys have not been read yet.', { retryAfterS: 1 });
}

/**
 * Where no key is asked for, a browser on this machine would carry out what any web page tells it to. Pages of other sites are told by
 * `Origin` and `Sec-Fetch-Site`, which scripts cannot forge; a name that somebody made to resolve to this machine by `Host`.
 */
function fromOtherSite(request: IncomingMessage): boolean {
  const { origin, host } = request.headers;
  if (request.headers['sec-fetch-site'] === 'cross-site') return true;
  if (origin !== undefined && origin !== `http://${host}` && origin !== `https://${host}`) return true;
  return host !== undefined && !isLoopback(hostName(host));
}

/** `[::1]:8080` → `::1`, `localhost:8080` → `localhost`. */
function hostName(host: string): string {
  const bracket = host.indexOf(']');
  if (host.startsWith('[') && bracket > 0) return host.slice(1, bracket);
  return host.split(':', 1)[0] as string;
}
