import { clusterSecretHeader, dialectHeader, forwardedByHeader, listenerHeader, targetNodeHeader } from '@binnacle/contracts/internal-headers';
import type { Dialect } from '@binnacle/contracts/route';
import type { IncomingMessage } from 'node:http';
import { binnacleKeyName, typesenseKeyName } from './presented-key.js';

export const requestIdHeader = 'x-request-id';

/** Of one connection only (RFC 9110, 7.6.1). */
const hopByHop = [
  ...['connection', 'keep-alive', 'proxy-connection', 'proxy-authenticate', 'proxy-authorization'],
  ...['te', 'trailer', 'transfer-encoding', 'upgrade'],
];
/** Of one connection, for nodes only to say, or a secret of the client's: never passed on. */
const dropped: ReadonlySet<string> = new Set([
  ...hopByHop,
  // The gateway has asked for the body already.
  'expect',
  clusterSecretHeader,
  dialectHeader,
  forwardedByHeader,
  listenerHeader,
  targetNodeHeader,
  typesenseKeyName,
  binnacleKeyName,
  'authorization',
  // Written anew.
  'x-forwarded-for',
  'x-forwarded-proto',
  requestIdHeader,
]);
const droppedFromAnswers: ReadonlySet<string> = new Set(hopByHop);

/** What the gateway says to a node about a request. */
export interface ForwardedFacts {
  readonly clusterSecret: string;
  readonly dialect: Dialect;
  /** Came in on port 8080. */
  readonly isShared: boolean;
  readonly requestId: string;
}

/** The head of a request as a node gets it: names and values in turn. */
export function forwardedHeaders(request: IncomingMessage, hasBody: boolean, facts: ForwardedFacts): string[] {
  const raw = request.rawHeaders;
  const { connection } = request.headers;
  const named = connection === undefined ? none : namedByConnection(connection);
  const headers: string[] = [clusterSecretHeader, facts.clusterSecret, dialectHeader, facts.dialect, requestIdHeader, facts.requestId];
  if (facts.isShared) headers.push(listenerHeader, 'all');
  headers.push('x-forwarded-for', forwardedFor(request), 'x-forwarded-proto', isEncrypted(request) ? 'https' : 'http');
  for (let index = 0; index < raw.length; index += 2) {
    const name = (raw[index] as string).toLowerCase();
    if (dropped.has(name) || named.includes(name) || (name === 'content-length' && !hasBody)) continue;
    headers.push(name, raw[index + 1] as string);
  }
  return headers;
}

/** The same for a request that this process answers itself: its headers are changed in place. */
export function rewriteHeaders(request: IncomingMessage, facts: ForwardedFacts): void {
  const { headers } = request;
  const forwarded = forwardedFor(request);
  const named = headers.connection === undefined ? none : namedByConnection(headers.connection);
  for (const name of dropped) if (name in headers) delete headers[name];
  for (const name of named) delete headers[name];
  headers[clusterSecretHeader] = facts.clusterSecret;
  headers[dialectHeader] = facts.dialect;
  if (facts.isShared) headers[listenerHeader] = 'all';
  headers[requestIdHeader] = facts.requestId;
  headers['x-forwarded-for'] = forwarded;
  headers['x-forwarded-proto'] = isEncrypted(request) ? 'https' : 'http';
}

/** The head of a node's answer as the client gets it. Names are in lower case already. */
export function answerHeaders(received: readonly string[]): string[] {
  const headers: string[] = [];
  let named = none;
  for (let index = 0; index < received.length; index += 2) {
    const name = received[index] as string;
    if (name === 'connection') named = namedByConnection(received[index + 1] as string);
    else if (!droppedFromAnswers.has(name)) headers.push(name, received[index + 1] as string);
  }
  return named === none ? headers : withoutNamed(headers, named);
}

/** Of names and values in turn. The name in lower case; a value may well be the name of another header (`vary: content-length`). */
export function headerValue(headers: readonly string[], name: string): string | undefined {
  for (let index = 0; index < headers.length; index += 2) if (headers[index] === name) return headers[index + 1];
  return undefined;
}

function withoutNamed(headers: readonly string[], named: readonly string[]): string[] {
  return headers.filter((_, index) => !named.includes(headers[index - (index % 2)] as string));
}

const none: readonly string[] = [];

/** Headers that `Connection: a, b` declares to be of this connection only. What the gateway itself needs cannot be taken away so. */
function namedByConnection(connection: string): readonly string[] {
  if (connection === 'keep-alive' || connection === 'close') return none;
  const names = connection.toLowerCase().split(',').map((name) => name.trim());
  return names.filter((name) => name !== 'content-length' && name !== 'host' && name !== 'keep-alive' && name !== 'close');
}

function forwardedFor(request: IncomingMessage): string {
  const address = request.socket.remoteAddress ?? 'unknown';
  const before = request.headers['x-forwarded-for'];
  return before === undefined ? address : `${String(before)}, ${address}`;
}

function isEncrypted(request: IncomingMessage): boolean {
  return 'encrypted' in request.socket;
}

const idPattern = /^[\w.:/+=-]{1,128}$/;
/** Ids are unique within this process by the number, and among processes by the prefix. */
const idPrefix = Math.random().toString(36).slice(2, 10).padEnd(8, '0');
let idNumber = 0;

/** The client's request id when it is fit to be passed on, else a new one. */
export function requestIdOf(request: IncomingMessage): string {
  const given = request.headers[requestIdHeader];
  if (typeof given === 'string' && idPattern.test(given)) return given;
  return `${idPrefix}-${(++idNumber).toString(36)}`;
}
