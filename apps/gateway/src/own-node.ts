import type { Clock } from '@binnacle/cluster-state/clock';
import { BinnacleError } from '@binnacle/contracts/errors';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Exchange } from './exchange.js';
import { requestIdHeader, rewriteHeaders } from './request-head.js';

/** The handler of this process's node listener. */
export type NodeHandler = (request: IncomingMessage, response: ServerResponse) => void;

/** Requests that this process answers itself: they take the way of the node listener, without a connection in between. */
export class OwnNode {
  constructor(
    private readonly handler: NodeHandler,
    private readonly clock: Clock,
    private readonly clusterSecret: string,
  ) {}

  /** The request must have no body: bodies are counted and timed on their way to a listener. */
  serve(exchange: Exchange): void {
    const { request, response, requestId, route } = exchange;
    const { url, method } = request;
    const cancelDeadline = this.clock.after(route.deadlineMs, () => {
      // What the handler says after the response has ended is dropped by Fastify.
      if (!response.headersSent) exchange.fail(new BinnacleError('UPSTREAM_TIMEOUT', `No answer within ${route.deadlineMs} ms.`));
    });
    // Before whoever waits for the end already: the slow log shows what the client sent.
    response.prependOnceListener('close', () => {
      cancelDeadline();
      request.url = url;
      request.method = method;
    });
    const { dialect, isShared } = exchange.matched;
    rewriteHeaders(request, { clusterSecret: this.clusterSecret, dialect, isShared, requestId });
    request.url = exchange.nodeUrl;
    request.method = exchange.method;
    response.setHeader(requestIdHeader, requestId);
    if (exchange.isLast) response.setHeader('connection', 'close');
    this.handler(request, response);
  }
}
