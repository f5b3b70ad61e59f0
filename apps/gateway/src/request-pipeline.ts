import { BinnacleError } from '@binnacle/contracts/errors';
import { searchCacheHeader, targetNodeHeader } from '@binnacle/contracts/internal-headers';
import type { Route } from '@binnacle/contracts/route';
import type { NodeContext } from '@binnacle/node-kit/node-context';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { ApiStatistics } from './api-statistics.js';
import type { Authentication } from './authentication.js';
import { DialectRouter, type ListenerName, type ListenerRoute, type RouteMatch } from './dialect-router.js';
import { Exchange, sendError } from './exchange.js';
import { aboutNode, type FanOut } from './fan-out.js';
import type { Forwarder } from './forward.js';
import type { OwnNode } from './own-node.js';
import { splitQuery } from './query-parameters.js';
import { requestIdOf } from './request-head.js';
import type { RequestLabels, RequestMetrics } from './request-metrics.js';
import type { SlowLog } from './slow-log.js';
import { chooseTarget, type ClusterView, targetByKey } from './target-choice.js';
import { bodyTooLarge, declaredBody } from './upload.js';

/** More headers than that are refused; browsers send about 20. */
const headersMax = 100;
/** What is counted for a client that went away before its answer began, as nginx does. */
const clientGone = 499;

export interface PipelineParts {
  readonly node: Pick<NodeContext, 'id' | 'settings' | 'lifecycle' | 'clock' | 'log'>;
  readonly cluster: ClusterView;
  readonly authentication: Pick<Authentication, 'check'>;
  readonly statistics: Pick<ApiStatistics, 'record' | 'recordCache' | 'overloaded'>;
  readonly slowLog: Pick<SlowLog, 'observe'>;
  readonly metrics: RequestMetrics;
  readonly ownNode: OwnNode;
  readonly forwarder: Forwarder;
  readonly fanOut: FanOut;
}

/** The way of every request: route, right, limits, target, and what is written down at its end. */
export class RequestPipeline {
  /** Answers without an end. Undefined once the gateway drains, which takes no more of them. */
  #eventStreams: Set<ServerResponse> | undefined = new Set();

  constructor(private readonly parts: PipelineParts) {}

  /** Breaks off the answers that have no end, for which a stopping gateway would wait in vain; their clients come back, to another one. */
  endEventStreams(): void {
    for (const response of this.#eventStreams ?? []) response.destroy();
    this.#eventStreams = undefined;
  }

  /** What a listener does with a request. */
  handler(listener: ListenerName, routes: readonly Route[]): RequestListener {
    const router = new DialectRouter(listener, routes);
    const unmatched: RequestLabels = { route: { path: 'unmatched' }, dialect: listener === 'all' ? 'binnacle' : listener };
    return (request, response) => {
      const startedAtMs = performance.now();
      const url = request.url as string;
      const mark = url.indexOf('?');
      const path = mark < 0 ? url : url.slice(0, mark);
      const match = router.match(request.method as string, path);
      if (match.kind !== 'route') return this.#refuse(request, response, match, { labels: unmatched, startedAtMs });
      const query = mark < 0 ? '' : url.slice(mark + 1);
      this.#serve({ request, response, matched: match.matched, nodePath: match.nodePath, path, query, startedAtMs });
    };
  }

  #refuse(
    request: IncomingMessage,
    response: ServerResponse,
    match: Exclude<RouteMatch, { kind: 'route' }>,
    { labels, startedAtMs }: { labels: RequestLabels; startedAtMs: number },
  ): void {
    const error =
      match.kind === 'unknown'
        ? new BinnacleError('ROUTE_NOT_FOUND', 'There is no such path; GET /api/v1/routes lists all.')
        : new BinnacleError('METHOD_NOT_ALLOWED', `This path takes ${match.allowed.join(', ')}.`);
    const allowed = match.kind === 'wrong-method' ? { allowed: match.allowed } : {};
    sendError(request, response, error, { dialect: match.dialect, isLast: this.#isStopping(), ...allowed });
    this.parts.metrics.observe(labels, response.statusCode, performance.now() - startedAtMs);
  }

  #serve(arrival: Arrival): void {
    const { request, response, matched } = arrival;
    const requestId = requestIdOf(request);
    let exchange: Exchange | undefined;
    response.once('close', () => this.#finish(arrival, exchange));
    try {
      const { nodeId, query } = this.#admit(arrival);
      if (matched.route.produces === 'text/event-stream') this.#followStream(response);
      const chosen = chooseTarget(matched.route.target, nodeId, this.parts.cluster);
      const target = matched.route.byIdempotencyKey ? targetByKey(chosen, request.headers['idempotency-key']) : chosen;
      const subject = target.kind === 'any' ? target.subject : undefined;
      const bare = query === '' ? arrival.nodePath : `${arrival.nodePath}?${query}`;
      const nodeUrl = subject === undefined ? bare : aboutNode(bare, subject);
      exchange = new Exchange(request, response, matched, nodeUrl, requestId, this.#isStopping);
      this.#send(exchange, target);
    } catch (error) {
      this.#note(error, matched.route);
      const isLast = this.#isStopping();
      if (exchange === undefined) sendError(request, response, error, { dialect: matched.dialect, requestId, isLast });
      else exchange.fail(error);
    }
  }

  #followStream(response: ServerResponse): void {
    const streams = this.#eventStreams;
    if (streams === undefined) throw new BinnacleError('NO_TARGET', 'This gateway stops: ask another one.', { retryAfterS: 1 });
    streams.add(response);
    response.once('close', () => streams.delete(response));
  }

  #note(error: unknown, route: Route): void {
    const { node, statistics } = this.parts;
    if (!(error instanceof BinnacleError)) node.log.error({ err: error, route: route.path }, 'the gateway could not handle a request');
    else if (error.code === 'OVERLOADED') statistics.overloaded();
  }

  /** Everything that is decided before a node is chosen. Throws what the client is to be told. */
  #admit({ request, matched, path, query }: Arrival): { nodeId: string | undefined; query: string } {
    const { authentication, node } = this.parts;
    const { route } = matched;
    const parameters = splitQuery(query);
    const nodeId = namedNode(parameters.node, request.headers[targetNodeHeader]);
    const refused = authentication.check(request, { path, query }, nodeId === undefined ? route : matched.namedNodeRoute);
    if (refused !== undefined) throw refused;
    if (request.rawHeaders.length > 2 * headersMax) throw badRequest(`A request may have at most ${headersMax} headers.`);
    if (nodeId === '*' && !route.everyNode) throw badRequest('node=* is not for this path: name one node, or leave it out.');
    const isWrite = route.operation !== undefined && route.operation !== 'search';
    if (isWrite && node.settings.value().skipWrites) throw new BinnacleError('WRITES_SKIPPED', 'Skipping writes.');
    const { bytes } = declaredBody(request);
    if (bytes !== undefined && bytes > route.bodyBytesMax) throw bodyTooLarge(route.bodyBytesMax);
    return { nodeId, query: parameters.rest };
  }

  #send(exchange: Exchange, target: ReturnType<typeof chooseTarget>): void {
    const { forwarder, cluster, fanOut } = this.parts;
    switch (target.kind) {
      case 'own':
        return this.#sendToOwn(exchange);
      case 'any':
        if (target.nodes.length === 1 && target.nodes[0]?.id === cluster.ownId) return this.#sendToOwn(exchange);
        return forwarder.toAny(exchange, target.nodes, target.role);
      case 'named':
        return forwarder.toOne(exchange, target.node, []);
      case 'owner':
        return forwarder.toOne(exchange, target.node, target.others);
      case 'every':
        fanOut.toEvery(exchange, target.nodes, target.askedOf).catch((error: unknown) => {
          this.#note(error, exchange.route);
          exchange.fail(error);
        });
    }
  }

  /** A body takes the way over the node listener, where it is counted and timed as everybody's. */
  #sendToOwn(exchange: Exchange): void {
    const { cluster, forwarder, ownNode } = this.parts;
    const own = exchange.hasBody ? cluster.byId(cluster.ownId) : undefined;
    if (own === undefined) ownNode.serve(exchange);
    else forwarder.toOne(exchange, own, []);
  }

  #finish({ request, response, matched, startedAtMs }: Arrival, exchange: Exchange | undefined): void {
    const latencyMs = performance.now() - startedAtMs;
    if (!response.writableFinished) exchange?.onAbort?.();
    const status = response.headersSent ? response.statusCode : clientGone;
    this.parts.metrics.observe(matched, status, latencyMs);
    this.parts.statistics.record(matched.route, latencyMs);
    const searchCache = exchange?.searchCache ?? response.getHeader(searchCacheHeader);
    if (searchCache !== undefined) this.parts.statistics.recordCache(String(searchCache));
    this.parts.slowLog.observe(request, matched.route, latencyMs);
  }

  readonly #isStopping = (): boolean => this.parts.node.lifecycle.status() === 'Stopping';
}

/** A request that a row of the table serves. */
interface Arrival {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly matched: ListenerRoute;
  readonly nodePath: string;
  /** As the client sent them. */
  readonly path: string;
  readonly query: string;
  readonly startedAtMs: number;
}

function badRequest(message: string): BinnacleError {
  return new BinnacleError('BAD_REQUEST', message);
}

/** The node that query or header names; both may, if they agree. */
function namedNode(inQuery: string | undefined, inHeader: string | string[] | undefined): string | undefined {
  if (inHeader === undefined) return inQuery;
  if (typeof inHeader !== 'string' || (inQuery !== undefined && inQuery !== inHeader)) {
    throw badRequest(`The query and the header ${targetNodeHeader} name different nodes.`);
  }
  return inHeader;
}
