import { BinnacleError, renderError } from '@binnacle/contracts/errors';
import { clusterSecretHeader } from '@binnacle/contracts/internal-headers';
import fastify, { LogController, type FastifyBaseLogger, type FastifyInstance } from 'fastify';
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { defaultBodyLimits, limitBodies, type BodyLimits } from './body-limits.js';
import { ConfigError } from './config-error.js';
import { Connections } from './connections.js';
import type { Lifecycle } from './lifecycle.js';
import { unmatchedRoute, type RequestMeter } from './metrics.js';
import { secretCheck } from './secret-check.js';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Answered without the cluster secret: probes and metrics. */
    withoutClusterSecret?: boolean;
  }
}

/** A route that takes more says so itself (`bodyLimit`), or reads the stream. */
const bodyBytesMax = 2 * 1024 * 1024;
const headersTimeoutMs = 15_000;
/** Longer than any pool of ours keeps a connection, so that it is always the client that closes an idle one. */
const keepAliveTimeoutMs = 72_000;
/** A document's id stands in the path. */
const pathParameterLengthMax = 2_048;

/** The Fastify instance of a node: limits said out loud, no log line per request, requests in flight finished when it closes. */
export function createNodeListener(log: FastifyBaseLogger, limits: BodyLimits = defaultBodyLimits): FastifyInstance {
  const app = fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    // Without lines per request nothing needs a logger per request, which costs more than reading a row.
    childLoggerFactory: (logger) => logger,
    bodyLimit: bodyBytesMax,
    // Node.js has one limit for every request, and it would cut an import that takes its time; `limitBodies` knows the difference.
    requestTimeout: 0,
    keepAliveTimeout: keepAliveTimeoutMs,
    http: { headersTimeout: headersTimeoutMs, maxHeaderSize: 32 * 1024 },
    routerOptions: { maxParamLength: pathParameterLengthMax },
    exposeHeadRoutes: false,
    forceCloseConnections: 'idle',
    // A gateway that has not heard yet that this node stops must get an answer.
    return503OnClosing: false,
    clientErrorHandler: answerUnreadable,
  });
  endUnusedConnections(app);
  limitBodies(app, limits, (socket) => answerUnreadable(tooLate(), socket));
  // SDKs say `Content-Type: application/json` also where they send no body, and then an empty text is no broken JSON.
  app.addHook('onRequest', (request, _reply, done) => {
    const { 'content-length': length, 'transfer-encoding': encoding } = request.headers;
    // Of a GET nobody parses a body, and TiFlash's clients say by it what they want to get.
    if (request.method !== 'GET' && encoding === undefined && (length === undefined || length === '0')) delete request.headers['content-type'];
    done();
  });
  // JSON and form bodies have parsers; whatever else is sent reaches its handler as bytes.
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  return app;
}

const headTooLong = { status: 431, error: new BinnacleError('BAD_REQUEST', 'the head of the request is too long') };
const tooSlow = { status: 408, error: new BinnacleError('REQUEST_TIMEOUT', 'the request did not arrive in time') };
const unreadable = { status: 400, error: new BinnacleError('BAD_REQUEST', 'this is no HTTP request, or its method is unknown') };

function tooLate(): Error {
  return Object.assign(new Error(tooSlow.error.message), { code: 'ERR_HTTP_REQUEST_TIMEOUT' });
}

/** What Node.js cannot read as a request reaches no handler. */
function answerUnreadable(cause: Error & { readonly code?: string }, socket: Socket): void {
  if (cause.code === 'ECONNRESET' || socket.destroyed) return;
  if (socket.writable) {
    const { status, error } = cause.code === 'HPE_HEADER_OVERFLOW' ? headTooLong : cause.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? tooSlow : unreadable;
    const { headers, body } = renderError(error, 'binnacle', { method: '', path: '' });
    const lines = Object.entries({ ...headers, 'content-length': Buffer.byteLength(body), connection: 'close' }).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n${body}`);
  }
  socket.destroy(cause);
}

function endUnusedConnections(app: FastifyInstance): void {
  const connections = new Connections();
  connections.follow(app.server);
  app.addHook('onRequest', (request, reply, done) => {
    const { socket } = request.raw;
    connections.begin(socket);
    reply.raw.on('close', () => connections.end(socket));
    done();
  });
  app.addHook('preClose', (done) => {
    connections.endUnused();
    done();
  });
}

/** Counts and times every request; on a node that stops, tells clients to connect no longer. */
export function measureRequests(app: FastifyInstance, meter: RequestMeter, lifecycle: Lifecycle): void {
  app.addHook('onRequest', (request, reply, done) => {
    const end = meter.begin(request.method, request.routeOptions.url ?? unmatchedRoute);
    // `close` comes exactly once (so `on` will do, which costs less than `once`), after the last byte or when the client has gone: Fastify's own hooks
    // miss some of the latter.
    reply.raw.on('close', () => end(reply.raw.statusCode));
    if (lifecycle.status() === 'Stopping') reply.header('connection', 'close');
    done();
  });
}

/** Refuses (401) what does not carry the cluster secret, on every route of this scope but those with `withoutClusterSecret`. */
export function requireClusterSecret(scope: FastifyInstance, clusterSecret: string): void {
  const matches = secretCheck(clusterSecret);
  scope.addHook('onRequest', (request, reply, done) => {
    if (request.routeOptions.config.withoutClusterSecret || matches(request.headers[clusterSecretHeader])) return done();
    const error = new BinnacleError('UNAUTHENTICATED', `the node listener wants the header ${clusterSecretHeader}; clients ask the gateway`);
    // Rendered here: whoever does not know the secret does not choose the dialect either.
    const { status, headers, body } = renderError(error, 'binnacle', { method: request.method, path: request.url });
    void reply.code(status).headers(headers).send(body);
  });
}

/**
 * Why a listener could not be opened, as a sentence that names the key to change. `key` is the one of the port (`gateway.port`),
 * `hostKey` the one of the address.
 */
export function listenError(error: unknown, where: { host: string; port: number; key: string; hostKey: string }): Error {
  const { host, port, key, hostKey } = where;
  const code = (error as NodeJS.ErrnoException).code;
  const env = (name: string): string => `BINNACLE_${name.toUpperCase().replace(/[.-]/g, '_')}`;
  if (code === 'EADDRINUSE')
    return new ConfigError([`port ${port} on ${host} is in use: free it, or set ${key} (${env(key)}), or move every port with port-offset (BINNACLE_PORT_OFFSET)`]);
  if (code === 'EACCES') return new ConfigError([`port ${port} on ${host} may not be opened by this user: set ${key} (${env(key)}) to one from 1024 on`]);
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND')
    return new ConfigError([`${host} is no address of this machine: set ${hostKey} (${env(hostKey)})`]);
  return error instanceof Error ? error : new Error(String(error));
}
