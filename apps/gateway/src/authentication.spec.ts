import type { Dialect, Route } from '@binnacle/contracts/route';
import { renderError } from '@binnacle/contracts/errors';
import { NodeConfig, type GatewayConfig } from '@binnacle/node-kit/config';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { describe, expect, test } from '@jest/globals';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { ApiKeys, KeyVerdict } from './api-keys.js';
import { Authentication } from './authentication.js';
import { failuresAtOnceMax, refillMs } from './failed-attempts.js';

const snapshot = { method: 'POST', path: '/operations/snapshot', action: 'operations/snapshot:create' } as Route;
const health = { method: 'GET', path: '/health', action: 'public' } as Route;
const metrics = { method: 'GET', path: '/metrics', action: 'metrics:list', anyCertificate: true } as Route;

interface Given {
  readonly gateway?: Partial<GatewayConfig>;
  readonly keys?: Record<string, KeyVerdict>;
  readonly loaded?: boolean;
}

function authentication({ gateway = {}, keys = {}, loaded = true }: Given): { clock: FakeClock; check: Check } {
  const clock = new FakeClock();
  const config = new NodeConfig();
  Object.assign(config.gateway, gateway);
  const known = { any: () => Object.keys(keys).length > 0, loaded: () => loaded, verdict: (value: string) => keys[value] ?? { kind: 'unknown' } };
  const subject = new Authentication({ config, clock } as never, known as unknown as ApiKeys);
  return { clock, check: (request, route = snapshot, query = '') => subject.check(request, { path: route.path, query }, route) };
}

type Check = (request: IncomingMessage, route?: Route, query?: string) => ReturnType<Authentication['check']>;

function from(headers: IncomingHttpHeaders = {}, remoteAddress = '127.0.0.1'): IncomingMessage {
  return { headers, socket: { remoteAddress } } as unknown as IncomingMessage;
}

function withKey(key: string, remoteAddress?: string): IncomingMessage {
  return from({ 'x-typesense-api-key': key }, remoteAddress);
}

/** A connection whose client showed a certificate of these common names. */
function withCertificate(commonName: string | string[], authorized = true): IncomingMessage {
  const socket = new TLSSocket(new Socket());
  socket.authorized = authorized;
  socket.getPeerCertificate = (() => ({ subject: { CN: commonName } })) as never;
  return { headers: {}, socket } as unknown as IncomingMessage;
}

const admin: Record<string, KeyVerdict> = { admin: { kind: 'valid', actions: ['*'] } };

describe('without any key', () => {
  test('on loopback everybody is let in', () => {
    const { check } = authentication({});
    expect(check(from({ host: '127.0.0.1:8080' }))).toBeUndefined();
    expect(check(from({ host: '[::1]:8080' }))).toBeUndefined();
    expect(check(from({}))).toBeUndefined();
  });

  test('a page of another site, or a name made to resolve to this machine, is not', () => {
    const { check } = authentication({});
    expect(check(from({ host: 'localhost:8080', origin: 'https://evil.example' }))?.code).toBe('UNAUTHENTICATED');
    expect(check(from({ host: 'localhost:8080', origin: 'null' }))?.code).toBe('UNAUTHENTICATED');
    expect(check(from({ host: 'localhost:8080', 'sec-fetch-site': 'cross-site' }))?.code).toBe('UNAUTHENTICATED');
    expect(check(from({ host: 'evil.example:8080' }))?.code).toBe('UNAUTHENTICATED');
    expect(check(from({ host: 'localhost:8080', origin: 'http://localhost:8080', 'sec-fetch-site': 'same-origin' }))).toBeUndefined();
  });

  test('on another address nobody is, but to what is public', () => {
    const { check } = authentication({ gateway: { host: '0.0.0.0' } });
    expect(check(from())?.code).toBe('UNAUTHENTICATED');
    expect(check(from(), health)).toBeUndefined();
  });

  test('nobody is let in before the stored keys have been read', () => {
    const { check } = authentication({ loaded: false });
    expect(check(from())).toMatchObject({ code: 'CLUSTER_STATE_UNAVAILABLE', retryAfterS: 1 });
    expect(check(from(), health)).toBeUndefined();
  });
});

describe('with keys', () => {
  test('a request needs one, by header, bearer or query', () => {
    const { check } = authentication({ keys: admin });
    expect(check(from())?.code).toBe('UNAUTHENTICATED');
    expect(check(withKey('admin'))).toBeUndefined();
    expect(check(from({ authorization: 'Bearer admin' }))).toBeUndefined();
    expect(check(from(), snapshot, 'x-typesense-api-key=admin')).toBeUndefined();
    expect(check(from(), health)).toBeUndefined();
  });

  test('a key with one scope does just that', () => {
    const { check } = authentication({ keys: { one: { kind: 'valid', actions: ['operations/snapshot:create'] } } });
    expect(check(withKey('one'))).toBeUndefined();
    expect(check(withKey('one'), metrics)?.message).toBe('The API key does not have the scope metrics:list.');
  });

  test('an expired key is told so', () => {
    const { check } = authentication({ keys: { old: { kind: 'expired' } } });
    expect(check(withKey('old'))?.message).toBe('The API key has expired.');
  });

  test('a key cannot be wrong as long as not all are known', () => {
    const { check } = authentication({ keys: admin, loaded: false });
    expect(check(withKey('other'))?.code).toBe('CLUSTER_STATE_UNAVAILABLE');
    expect(check(withKey('admin'))).toBeUndefined();
  });

  test.each<[Dialect, string]>([
    ['typesense', '{"message": "Forbidden - a valid `x-typesense-api-key` header must be sent."}'],
    ['tiflash', 'The API key is not known.'],
    ['tiproxy', '"The API key is not known."'],
    ['gostatsd', 'The API key is not known.'],
    ['binnacle', '{"error":{"code":"UNAUTHENTICATED","message":"The API key is not known."}}'],
  ])('a wrong key is 401 on %s', (dialect, body) => {
    const { check } = authentication({ keys: admin });
    expect(renderError(check(withKey('wrong')), dialect, snapshot)).toMatchObject({ status: 401, body });
  });
});

describe('failed attempts', () => {
  test('too many wrong keys lock their address out, the right key included, and no other address', async () => {
    const { check, clock } = authentication({ keys: admin });
    for (let attempt = 0; attempt < failuresAtOnceMax; attempt++) expect(check(withKey(`wrong-${attempt}`))?.code).toBe('UNAUTHENTICATED');
    expect(check(withKey('wrong'))).toMatchObject({ code: 'TOO_MANY_ATTEMPTS', retryAfterS: refillMs / 1_000 });
    expect(check(withKey('admin'))?.code).toBe('TOO_MANY_ATTEMPTS');
    expect(check(withKey('admin', '10.0.0.2'))).toBeUndefined();
    expect(check(from(), health)).toBeUndefined();
    await clock.advance(refillMs);
    expect(check(withKey('admin'))).toBeUndefined();
  });

  test('a missing, an expired or an insufficient key is no attempt', () => {
    const { check } = authentication({ keys: { old: { kind: 'expired' }, small: { kind: 'valid', actions: ['debug:list'] }, ...admin } });
    for (let attempt = 0; attempt < 3 * failuresAtOnceMax; attempt++) {
      check(from());
      check(withKey('old'));
      check(withKey('small'));
    }
    expect(check(withKey('admin'))).toBeUndefined();
  });
});

describe('with mTLS', () => {
  const gateway = { tlsCaFile: 'ca.pem', certAllowedCn: ['tidb', 'prometheus'] };

  test('an allowed common name is let in with every scope, another is 403', () => {
    const { check } = authentication({ gateway });
    expect(check(withCertificate('tidb'))).toBeUndefined();
    const refused = check(withCertificate('mallory'));
    expect(renderError(refused, 'tiflash', snapshot)).toMatchObject({ status: 403, body: 'certificate role error' });
  });

  test('the exempt paths take any certificate', () => {
    const { check } = authentication({ gateway });
    expect(check(withCertificate('mallory'), metrics)).toBeUndefined();
  });

  test('a certificate with several common names is not let in by one of them', () => {
    const { check } = authentication({ gateway });
    expect(check(withCertificate(['tidb', 'mallory']))?.code).toBe('CERTIFICATE_ROLE');
  });

  test('without a list every certificate of the authority is let in, and an unverified one never', () => {
    const { check } = authentication({ gateway: { tlsCaFile: 'ca.pem' } });
    expect(check(withCertificate('anyone'))).toBeUndefined();
    expect(check(withCertificate('anyone', false))?.code).toBe('CERTIFICATE_ROLE');
    expect(check(from())?.code).toBe('CERTIFICATE_ROLE');
  });

  test('a key helps where the name does not', () => {
    const { check } = authentication({ gateway, keys: admin });
    const request = withCertificate('mallory');
    request.headers['x-typesense-api-key'] = 'admin';
    expect(check(request)).toBeUndefined();
    request.headers['x-typesense-api-key'] = 'wrong';
    expect(check(request)?.code).toBe('UNAUTHENTICATED');
  });

  test('the absence of keys does not open it', () => {
    const { check } = authentication({ gateway });
    expect(check(from({ host: 'localhost' }))?.code).toBe('CERTIFICATE_ROLE');
  });
});
