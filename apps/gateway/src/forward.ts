import type { Clock } from '@binnacle/cluster-state/clock';
import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { BinnacleError } from '@binnacle/contracts/errors';
import { searchCacheHeader } from '@binnacle/contracts/internal-headers';
import type { Logger } from 'pino';
import { BadAnswer } from './answer-parser.js';
import { chooseLeastLoaded } from './balancer.js';
import type { Exchange } from './exchange.js';
import type { ForwardingMetrics } from './forwarding-metrics.js';
import { ConnectionError, type AnswerHandler, type NodeConnection } from './node-connection.js';
import { answerHeaders, forwardedHeaders, headerValue, requestIdHeader } from './request-head.js';
import type { RetryBudget } from './retry-budget.js';
import { Upload } from './upload.js';
import type { Upstream, Upstreams } from './upstream.js';

/** Nodes that one request is tried on. */
const attemptsMax = 3;
/** Of an answer to HEAD, the body that is read and thrown away to keep the connection. */
const discardedBytesMax = 64 * 1024;
/** A body of this length, come at once, leaves as a string in one write with its head: joining them costs less than a second buffer. */
const joinedBytesMax = 16 * 1024;

export interface ForwarderParts {
  readonly upstreams: Upstreams;
  readonly retryBudget: RetryBudget;
  readonly clock: Clock;
  readonly metrics: ForwardingMetrics;
  readonly log: Pick<Logger, 'warn'>;
  readonly clusterSecret: string;
  readonly random?: () => number;
}

/** Sends requests to nodes and their answers back. */
export class Forwarder {
  constructor(readonly parts: ForwarderParts) {}

  /** To any of the nodes, by load. Throws OVERLOADED or NO_TARGET when none can take it. */
  toAny(exchange: Exchange, nodes: readonly NodeRecord[], role: string): void {
    const candidates = nodes.map((node) => this.parts.upstreams.of(node));
    const first = this.choose(candidates, []);
    if (first === undefined) throw noTarget(candidates, role);
    new Forwarding(this, exchange, candidates).start(first);
  }

  /** To this one; to `others` only if it cannot be reached. Throws OVERLOADED. */
  toOne(exchange: Exchange, node: NodeRecord, others: readonly NodeRecord[]): void {
    const { upstreams } = this.parts;
    const first = upstreams.of(node);
    if (first.outstanding >= upstreams.outstandingPerNodeMax) throw overloaded(node.id);
    new Forwarding(this, exchange, others.length === 0 ? [first] : others.map((other) => upstreams.of(other))).start(first);
  }

  choose(candidates: readonly Upstream[], tried: readonly Upstream[]): Upstream | undefined {
    const { clock, upstreams, random = Math.random } = this.parts;
    const limits = { nowMs: clock.monotonicMs(), outstandingMax: upstreams.outstandingPerNodeMax, random };
    return chooseLeastLoaded(candidates, tried, limits);
  }
}

/** One exchange with a node, and the client's side of it. */
class Forwarding implements AnswerHandler {
  #upstream!: Upstream;
  #connection: NodeConnection | undefined;
  readonly #tried: Upstream[] = [];
  #upload: Upload | undefined;
  #cancelDeadline: () => void = () => {};
  /** The request was written to a connection, at least in part. */
  #wasSent = false;
  /** The first byte of an answer came. */
  #isAnswered = false;
  /** Nothing more goes to the client. */
  #isOver = false;
  /** The attempt's outcome has been counted. */
  #isCounted = false;
  /** Waits for the first of the body. `bytes` is -1 when the head does not say how long that is. */
  #pendingHead: { readonly status: number; readonly headers: string[]; readonly bytes: number } | undefined;
  #discardedBytes = 0;
  #awaitsDrain = false;

  constructor(
    private readonly forwarder: Forwarder,
    private readonly exchange: Exchange,
    private readonly candidates: readonly Upstream[],
  ) {}

  start(upstream: Upstream): void {
    this.forwarder.parts.retryBudget.countRequest();
    this.exchange.onAbort = () => this.#abort();
    this.#armDeadline();
    this.#send(upstream);
  }

  #armDeadline(): void {
    this.#cancelDeadline = this.forwarder.parts.clock.after(this.exchange.route.deadlineMs, () => this.#onDeadline());
  }

  #send(upstream: Upstream): void {
    const { request, route, hasBody, bodyBytes, matched, requestId, method, nodeUrl } = this.exchange;
    const { clock, clusterSecret } = this.forwarder.parts;
    this.#upstream = upstream;
    this.#tried.push(upstream);
    this.#wasSent = false;
    this.#isCounted = false;
    this.#upload = hasBody ? new Upload(request, clock, route.bodyBytesMax, bodyBytes) : undefined;
    const headers = forwardedHeaders(request, hasBody, { clusterSecret, dialect: matched.dialect, isShared: matched.isShared, requestId });
    upstream.outstanding++;
    this.#connection = upstream.send({ method, url: nodeUrl, headers, body: this.#upload }, this);
  }

  onRequestStart(): void {
    this.#wasSent = true;
  }

  /** The whole body has gone to the node: from here on it can answer. */
  onRequestSent(): void {
    if (this.#isOver || this.#isCounted) return;
    this.#cancelDeadline();
    this.#armDeadline();
  }

  onAnswerBegin(): void {
    this.#isAnswered = true;
  }

  onHead(status: number, received: readonly string[]): void {
    if (this.#isOver) return;
    this.#cancelDeadline();
    this.#count('success');
    if (this.exchange.route.operation === 'search') this.exchange.searchCache = headerValue(received, searchCacheHeader);
    const headers = answerHeaders(received);
    headers.push(requestIdHeader, this.exchange.requestId);
    if (this.exchange.mustClose()) headers.push('connection', 'close');
    const bytes = Number(headerValue(headers, 'content-length') ?? -1);
    if (this.exchange.isHead) return this.#answerHead(status, headers, bytes);
    this.#pendingHead = { status, headers, bytes };
    // An event stream may have nothing to say for a while; its head must not wait for that.
    if (bytes < 0) process.nextTick(flushHead, this);
  }

  onBody(chunk: Buffer): void {
    if (this.#isOver) return this.#discard(chunk);
    const { response } = this.exchange;
    const isWhole = this.#pendingHead?.bytes === chunk.length && chunk.length <= joinedBytesMax;
    this.#sendHead();
    if (isWhole) {
      this.#isOver = true;
      response.end(chunk.toString('latin1'), 'latin1');
    } else if (!response.write(Buffer.from(chunk)) && !this.#awaitsDrain) {
      this.#waitForClient();
    }
  }

  #waitForClient(): void {
    this.#awaitsDrain = true;
    const connection = this.#connection as NodeConnection;
    connection.pause();
    this.exchange.response.once('drain', () => {
      this.#awaitsDrain = false;
      // Once the answer has come to its end, the connection is somebody else's.
      if (!this.#isOver) connection.resume();
    });
  }

  onEnd(): void {
    this.#upstream.outstanding--;
    if (this.#isOver) return;
    this.#sendHead();
    this.#isOver = true;
    this.exchange.response.end();
  }

  onError(error: Error): void {
    this.#upstream.outstanding--;
    if (this.#isOver) return;
    if (error instanceof BinnacleError) return this.#fail(error);
    if (this.#isCounted) return this.#breakOff(error);
    this.#count('failure');
    const next = this.#nextAttempt(error);
    if (next !== undefined) return this.#send(next);
    this.#fail(new BinnacleError('UPSTREAM_UNREACHABLE', `Node ${this.#upstream.record.id} cannot be reached.`, { cause: error }));
  }

  #sendHead(): void {
    const head = this.#pendingHead;
    if (head === undefined) return;
    this.#pendingHead = undefined;
    this.exchange.response.writeHead(head.status, head.headers);
  }

  flushHead(): void {
    if (this.#isOver || this.#pendingHead === undefined) return;
    this.#sendHead();
    this.exchange.response.flushHeaders();
  }

  #answerHead(status: number, headers: string[], bytes: number): void {
    this.#isOver = true;
    this.exchange.response.writeHead(status, headers).end();
    if (bytes < 0 || bytes > discardedBytesMax) this.#connection?.destroy();
  }

  #discard(chunk: Buffer): void {
    this.#discardedBytes += chunk.length;
    if (this.#discardedBytes > discardedBytesMax) this.#connection?.destroy();
  }

  /** The answer began and will not be completed. A client that has the beginning must see that its connection broke. */
  #breakOff(error: Error): void {
    const { metrics, clock } = this.forwarder.parts;
    metrics.brokenAnswers.inc();
    if (this.#upstream.outliers.failure(clock.monotonicMs())) metrics.ejections.inc();
    this.#fail(new BinnacleError('UPSTREAM_UNREACHABLE', `Node ${this.#upstream.record.id} broke off its answer.`, { cause: error }));
  }

  #nextAttempt(error: Error): Upstream | undefined {
    const { retryBudget, metrics } = this.forwarder.parts;
    if (!(error instanceof BadAnswer) && (this.#isAnswered || !(error instanceof ConnectionError))) return undefined;
    if (this.#tried.length >= attemptsMax) return undefined;
    if (this.#upload !== undefined && !this.#upload.isUntouched()) return undefined;
    // What was never sent may go anywhere; what may have arrived is sent again only if that does no harm.
    if (this.#wasSent && !this.exchange.route.retryable) return undefined;
    const other = this.forwarder.choose(this.candidates, this.#tried);
    // A connection that the node closed just when it was used again says nothing of the node: once more, on a new one.
    const next = other ?? (this.#wasSent && this.#tried.length === 1 ? this.#upstream : undefined);
    if (next === undefined || !retryBudget.take()) return undefined;
    metrics.retries.inc();
    return next;
  }

  #fail(error: BinnacleError): void {
    this.#isOver = true;
    this.#cancelDeadline();
    const reason = error.cause instanceof Error ? error.cause.message : undefined;
    if (reason !== undefined) {
      const facts = { node: this.#upstream.record.id, route: this.exchange.route.path, reason };
      this.forwarder.parts.log.warn(facts, 'a node did not answer, or not to the end');
    }
    this.exchange.fail(error);
  }

  #onDeadline(): void {
    if (this.#isOver) return;
    // The client still sends: the node cannot answer yet, and the upload has a deadline of its own.
    if (this.#upload !== undefined && !this.exchange.request.complete && this.#wasSent) return this.#armDeadline();
    this.#count('failure');
    const { deadlineMs } = this.exchange.route;
    this.#fail(new BinnacleError('UPSTREAM_TIMEOUT', `Node ${this.#upstream.record.id} did not answer within ${deadlineMs} ms.`));
    this.#connection?.destroy();
  }

  /** The client has gone: nobody waits for the answer any more. */
  #abort(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#cancelDeadline();
    this.#connection?.destroy();
  }

  #count(outcome: 'success' | 'failure'): void {
    if (this.#isCounted) return;
    this.#isCounted = true;
    const { clock, metrics } = this.forwarder.parts;
    const { outliers } = this.#upstream;
    if (outcome === 'success') outliers.success();
    else if (outliers.failure(clock.monotonicMs())) metrics.ejections.inc();
  }
}

function flushHead(forwarding: Forwarding): void {
  forwarding.flushHead();
}

function noTarget(candidates: readonly Upstream[], role: string): BinnacleError {
  const running = candidates.filter((candidate) => candidate.record.state !== 'starting');
  if (running.length > 0) return overloaded(running.map((candidate) => candidate.record.id).join(', '));
  return new BinnacleError('NO_TARGET', `No live node has the role ${role}.`, { retryAfterS: 1 });
}

function overloaded(nodes: string): BinnacleError {
  return new BinnacleError('OVERLOADED', `Too many requests are on their way to ${nodes}.`, { retryAfterS: 1 });
}
