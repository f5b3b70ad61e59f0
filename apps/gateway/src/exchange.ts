import { renderError } from '@binnacle/contracts/errors';
import type { Route } from '@binnacle/contracts/route';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ListenerRoute } from './dialect-router.js';
import { requestIdHeader } from './request-head.js';
import { declaredBody } from './upload.js';

/** A body of this length that nobody reads is thrown away, so that the connection can be used again; a longer one costs the connection. */
const unreadBytesMax = 64 * 1024;

/** One request of a client on its way through the gateway, and its answer. */
export class Exchange {
  /** Called when the connection breaks before the answer is complete. */
  onAbort: (() => void) | undefined;
  /** What a node that was asked says of its result cache. */
  searchCache: string | undefined;
  readonly route: Route;
  readonly isHead: boolean;
  readonly hasBody: boolean;
  readonly bodyBytes: number | undefined;

  constructor(
    readonly request: IncomingMessage,
    readonly response: ServerResponse,
    readonly matched: ListenerRoute,
    /** Path and query as the node gets them. */
    readonly nodeUrl: string,
    readonly requestId: string,
    /** The gateway stops: a connection ends with the answer on it. */
    private readonly isStopping: () => boolean,
  ) {
    this.route = matched.route;
    this.isHead = request.method === 'HEAD';
    const { hasBody, bytes } = declaredBody(request);
    this.hasBody = hasBody;
    this.bodyBytes = bytes;
  }

  /** The method a node gets: HEAD is a GET whose body is not sent. */
  get method(): string {
    return this.isHead ? 'GET' : (this.request.method as string);
  }

  /** The answer is the last one on its connection. */
  get isLast(): boolean {
    return this.isStopping();
  }

  /**
   * Whether the connection must end with the answer: the gateway stops, or a body is still coming that somebody began to read,
   * so that what follows on the connection could not be told from it.
   */
  mustClose(): boolean {
    return this.isLast || (this.hasBody && !this.request.complete);
  }

  /** Answers with an error; breaks the connection when an answer has begun, which cannot be taken back. */
  fail(error: unknown): void {
    if (this.response.headersSent) this.response.destroy();
    else sendError(this.request, this.response, error, { ...this.matched, requestId: this.requestId, isLast: this.isLast });
  }
}

/** Answers with an error in the form of a dialect. */
export function sendError(
  request: IncomingMessage,
  response: ServerResponse,
  error: unknown,
  facts: { dialect: ListenerRoute['dialect']; requestId?: string; isLast?: boolean; allowed?: readonly string[] },
): void {
  const { dialect, requestId, isLast, allowed } = facts;
  const path = (request.url as string).split('?', 1)[0] as string;
  const { status, headers, body } = renderError(error, dialect, { method: request.method as string, path });
  if (requestId !== undefined) headers[requestIdHeader] = requestId;
  if (status === 405 && allowed !== undefined) headers['allow'] = allowed.join(', ');
  if (isLast || leavesBody(request)) headers['connection'] = 'close';
  headers['content-length'] = String(Buffer.byteLength(body));
  response.writeHead(status, headers).end(body);
}

function leavesBody(request: IncomingMessage): boolean {
  if (request.complete) return false;
  const { hasBody, bytes } = declaredBody(request);
  return hasBody && (bytes === undefined || bytes > unreadBytesMax || request.readableFlowing !== null);
}

