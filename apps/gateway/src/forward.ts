import type { Clock } from '@binnacle/cluster-state/clock';
import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { BinnacleError } from '@binnacle/contracts/errors';
import type { Logger } from 'pino';
import type { Dispatcher } from 'undici';
import { chooseLeastLoaded } from './balancer.js';
import type { Exchange } from './exchange.js';
import type { ForwardingMetrics } from './forwarding-metrics.js';
import { answerHeaders, forwardedHeaders, requestIdHeader } from './request-head.js';
import type { RetryBudget } from './retry-budget.js';
import { Upload } from './upload.js';
import type { Upstream, Upstreams } from './upstream.js';

/** Nodes that one request is tried on. */
const attemptsMax = 3;
/** Of an answer to HEAD, the body that is read and thrown away to keep the connection. */
const discardedBytesMax = 64 * 1024;
/** Errors of a connection, as opposed to an answer that is no HTTP. */
const connectionErrorCodes: ReadonlySet<string> = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'ECONNABORTED', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN', 'EADDRNOTAVAIL'],
  ...['UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_SOCKET', 'UND_ERR_CLOSED', 'UND_ERR_DESTROYED'],
]);

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
    const { upstreams } = this.parts;
    const candidates = nodes.length === 1 ? [upstreams.of(nodes[0] as NodeRecord)] : nodes.map((node) => upstreams.of(node));
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
    return chooseLeastLoaded(candidates, tried, { nowMs: clock.monotonicMs(), outstandingMax: upstreams.outstandingPerNodeMax, random });
  }
}

/** One exchange with a node: undici's handler of it, and the client's side. */
class Forwarding implements Dispatcher.DispatchHandler {
  #upstream!: Upstream;
  readonly #tried: Upstream[] = [];
  #upload: Upload | undefined;
  #controller: Dispatcher.DispatchController | undefined;
  #cancelDeadline: () => void = () => {};
  /** The request was written to a connection, at least in part. */
  #wasSent = false;
  /** The first byte of an answer came. */
  #isAnswered = false;
  /** Nothing more goes to the client. */
  #isOver = false;
  /** The attempt's outcome has been counted. */
  #isCounted = false;
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
    this.#dispatch(upstream);
  }

  #armDeadline(): void {
    this.#cancelDeadline = this.forwarder.parts.clock.after(this.exchange.route.deadlineMs, () => this.#onDeadline());
  }

  #dispatch(upstream: Upstream): void {
    const { exchange } = this;
    const { clock, clusterSecret } = this.forwarder.parts;
    this.#upstream = upstream;
    this.#tried.push(upstream);
    this.#controller = undefined;
    this.#wasSent = false;
    this.#isCounted = false;
    this.#upload = exchange.hasBody ? new Upload(exchange.request, clock, exchange.route.bodyBytesMax) : undefined;
    upstream.outstanding++;
    upstream.pool.dispatch(
      {
        path: exchange.nodeUrl,
        method: exchange.method as Dispatcher.HttpMethod,
        headers: forwardedHeaders(exchange.request, exchange.hasBody, {
          clusterSecret,
          dialect: exchange.matched.dialect,
          requestId: exchange.requestId,
        }),
        body: this.#upload ?? null,
      },
      this,
    );
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#isOver) controller.abort(abandoned);
    else this.#wasSent = true;
  }

  /** The whole body has gone to the node: from here on it can answer. */
  onRequestSent(): void {
    if (this.#upload === undefined || this.#isOver) return;
    this.#cancelDeadline();
    if (!this.#isCounted) this.#armDeadline();
  }

  onResponseStarted(): void {
    this.#isAnswered = true;
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    // 1xx: nodes send none that a client could use.
    if (status < 200 || this.#isOver) return;
    this.#cancelDeadline();
    this.#count('success');
    const headers = answerHeaders(controller.rawHeaders as Buffer[]);
    headers.push(requestIdHeader, this.exchange.requestId);
    if (this.exchange.mustClose()) headers.push('connection', 'close');
    const bytes = contentLength(headers);
    if (this.exchange.isHead) return this.#answerHead(status, headers, bytes);
    this.#pendingHead = { status, headers, bytes };
    // An event stream may have nothing to say for a while; its head must not wait for that.
    if (bytes < 0) process.nextTick(flushHead, this);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#isOver) return this.#discard(controller, chunk);
    const { response } = this.exchange;
    const head = this.#pendingHead;
    if (head !== undefined && head.bytes === chunk.length) {
      // The whole body at once, as small ones come: head and body leave in one write.
      this.#sendHead();
      this.#isOver = true;
      response.end(chunk);
      return;
    }
    this.#sendHead();
    if (response.write(chunk) || this.#awaitsDrain) return;
    this.#awaitsDrain = true;
    controller.pause();
    response.once('drain', () => {
      this.#awaitsDrain = false;
      controller.resume();
    });
  }

  onResponseEnd(): void {
    this.#release();
    if (this.#isOver) return;
    this.#sendHead();
    this.#isOver = true;
    this.exchange.response.end();
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error): void {
    this.#release();
    if (this.#isOver) return;
    if (error instanceof BinnacleError) return this.#fail(error);
    if (codeOf(error) === 'UND_ERR_INVALID_ARG') return this.#fail(new BinnacleError('BAD_REQUEST', `This request cannot be passed on: ${error.message}.`));
    if (this.#isCounted) return this.#breakOff(error);
    this.#count('failure');
    const next = this.#nextAttempt(error);
    if (next !== undefined) return this.#dispatch(next);
    this.#fail(new BinnacleError('UPSTREAM_UNREACHABLE', `Node ${this.#upstream.record.id} cannot be reached.`, { cause: error }));
  }

  /** Sends the head if it still waits; undefined head: it has gone out. */
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
    if (bytes < 0 || bytes > discardedBytesMax) this.#controller?.abort(abandoned);
  }

  #discard(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#discardedBytes += chunk.length;
    if (this.#discardedBytes > discardedBytesMax) controller.abort(abandoned);
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
    const { route } = this.exchange;
    if (this.#isAnswered || !connectionErrorCodes.has(codeOf(error)) || this.#tried.length >= attemptsMax) return undefined;
    if (this.#upload !== undefined && !this.#upload.isUntouched()) return undefined;
    // What was never sent may go anywhere; what may have arrived is sent again only if that does no harm.
    if (this.#wasSent && !route.retryable) return undefined;
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
    const { log } = this.forwarder.parts;
    if (error.cause !== undefined) {
      log.warn({ node: this.#upstream.record.id, route: this.exchange.route.path, reason: reasonOf(error.cause) }, 'a node did not answer, or not to the end');
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
    this.#controller?.abort(abandoned);
  }

  /** The client has gone: nobody waits for the answer any more. */
  #abort(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#cancelDeadline();
    this.#controller?.abort(abandoned);
  }

  #count(outcome: 'success' | 'failure'): void {
    if (this.#isCounted) return;
    this.#isCounted = true;
    const { clock, metrics } = this.forwarder.parts;
    const { outliers } = this.#upstream;
    if (outcome === 'success') outliers.success(clock.monotonicMs());
    else if (outliers.failure(clock.monotonicMs())) metrics.ejections.inc();
  }

  #release(): void {
    this.#upstream.outstanding--;
  }
}

const abandoned = new Error('nobody waits for this answer any more');

function flushHead(forwarding: Forwarding): void {
  forwarding.flushHead();
}

/** -1 when the head does not say. */
function contentLength(headers: readonly string[]): number {
  const index = headers.indexOf('content-length');
  return index < 0 ? -1 : Number(headers[index + 1]);
}

function codeOf(error: Error): string {
  return (error as NodeJS.ErrnoException).code ?? '';
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? `${codeOf(error)} ${error.message}`.trim() : String(error);
}

function noTarget(candidates: readonly Upstream[], role: string): BinnacleError {
  const running = candidates.filter((candidate) => candidate.record.state !== 'starting');
  if (running.length > 0) return overloaded(running.map((candidate) => candidate.record.id).join(', '));
  return new BinnacleError('NO_TARGET', `No live node has the role ${role}.`, { retryAfterS: 1 });
}

function overloaded(nodes: string): BinnacleError {
  return new BinnacleError('OVERLOADED', `Too many requests are on their way to ${nodes}.`, { retryAfterS: 1 });
}

