import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { BinnacleError } from '@binnacle/contracts/errors';
import type { Exchange } from './exchange.js';
import type { Forwarder } from './forward.js';
import type { AnswerHandler } from './node-connection.js';
import { forwardedHeaders, headerValue, requestIdHeader } from './request-head.js';
import { Upload } from './upload.js';

/** Nodes asked at the same time by one request. */
const concurrencyMax = 16;
/** Nodes asked by one request. */
const nodesMax = 1_000;
/** All answers together are held in memory until the last has come. */
const totalBytesMax = 32 * 1024 * 1024;
const answerBytesMaxMax = 1024 * 1024;
/** A body is sent to every node, so it is held as well. */
const bodyBytesMax = 1024 * 1024;

/** A node's answer. A body that is JSON is there as such, text as text, anything else in base64. */
export type NodeAnswer =
  | { readonly status: number; readonly body: unknown }
  | { readonly status: number; readonly body: string; readonly encoding: 'base64' };

/** Of a single node, in bytes: at most 1 MiB, and all of them fit into 32 MiB. */
export function answerBytesMax(nodeCount: number): number {
  return Math.min(answerBytesMaxMax, Math.floor(totalBytesMax / Math.max(1, nodeCount)));
}

/** `?node=*`: the same request to many nodes; answers 200 with an object by node id, each with its own status. */
export class FanOut {
  constructor(private readonly forwarder: Forwarder) {}

  /** Without `askedOf` every node is asked for itself; with it, one of those is asked about each node. */
  async toEvery(exchange: Exchange, nodes: readonly NodeRecord[], askedOf: readonly NodeRecord[] | undefined): Promise<void> {
    if (nodes.length > nodesMax) {
      throw new BinnacleError('BAD_REQUEST', `node=* would ask ${nodes.length} nodes, the most is ${nodesMax}.`);
    }
    const client = new AbortController();
    exchange.onAbort = () => client.abort();
    const body = exchange.hasBody ? await this.#readBody(exchange) : undefined;
    const answers = new Map<string, NodeAnswer>();
    const waiting = [...nodes];
    const bytesMax = answerBytesMax(nodes.length);
    const work = async (): Promise<void> => {
      for (let node = waiting.shift(); node !== undefined; node = waiting.shift()) {
        const url = askedOf === undefined ? exchange.nodeUrl : aboutNode(exchange.nodeUrl, node.id);
        answers.set(node.id, await this.#ask(exchange, { node, askedOf, url, body, bytesMax, client: client.signal }));
      }
    };
    await Promise.all(Array.from({ length: Math.min(concurrencyMax, nodes.length) }, work));
    if (!client.signal.aborted) answer(exchange, answers);
  }

  async #readBody(exchange: Exchange): Promise<Buffer> {
    const { request, route, bodyBytes } = exchange;
    const upload = new Upload(request, this.forwarder.parts.clock, Math.min(bodyBytesMax, route.bodyBytesMax), bodyBytes);
    const chunks: Buffer[] = [];
    for await (const chunk of upload) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks);
  }

  /** Never rejects: what goes wrong with one node is its answer. */
  async #ask(exchange: Exchange, question: Question): Promise<NodeAnswer> {
    const { upstreams, clock, clusterSecret } = this.forwarder.parts;
    const { node, askedOf = [node], url, body, bytesMax, client } = question;
    const upstream = this.forwarder.choose(askedOf.map((candidate) => upstreams.of(candidate)), []);
    if (upstream === undefined) return { status: 503, body: 'no node could be asked' };
    const { dialect, isShared } = exchange.matched;
    const headers = forwardedHeaders(exchange.request, false, { clusterSecret, dialect, isShared, requestId: exchange.requestId });
    const collected = new CollectedAnswer(bytesMax);
    upstream.outstanding++;
    const connection = upstream.send({ method: exchange.method, url, headers, body }, collected);
    const giveUp = (status: number, reason: string): void => {
      collected.settle({ status, body: reason });
      connection.destroy();
    };
    const { deadlineMs } = exchange.route;
    const cancelDeadline = clock.after(deadlineMs, () => giveUp(504, `no answer within ${deadlineMs} ms`));
    const onClientGone = (): void => giveUp(499, 'the client has gone');
    client.addEventListener('abort', onClientGone);
    collected.onTooLarge = () => giveUp(502, `the answer has more than ${bytesMax} bytes; ask the node alone`);
    const answered = await collected.answer;
    client.removeEventListener('abort', onClientGone);
    cancelDeadline();
    upstream.outstanding--;
    return answered;
  }
}

interface Question {
  readonly node: NodeRecord;
  readonly askedOf: readonly NodeRecord[] | undefined;
  readonly url: string;
  readonly body: Buffer | undefined;
  readonly bytesMax: number;
  /** Aborted when the client goes. */
  readonly client: AbortSignal;
}

/** An answer put together in memory, up to a limit. */
class CollectedAnswer implements AnswerHandler {
  readonly answer: Promise<NodeAnswer>;
  /** Whoever collects ends the connection then. */
  onTooLarge: () => void = () => {};
  settle!: (answer: NodeAnswer) => void;
  #status = 0;
  #contentType = '';
  readonly #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(private readonly bytesMax: number) {
    this.answer = new Promise((resolve) => (this.settle = resolve));
  }

  onRequestStart(): void {}

  onRequestSent(): void {}

  onAnswerBegin(): void {}

  onHead(status: number, headers: readonly string[]): void {
    this.#status = status;
    this.#contentType = headerValue(headers, 'content-type') ?? '';
  }

  onBody(chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (this.#bytes > this.bytesMax) this.onTooLarge();
    else this.#chunks.push(Buffer.from(chunk));
  }

  onEnd(): void {
    this.settle(nodeAnswer(this.#status, this.#contentType, Buffer.concat(this.#chunks)));
  }

  onError(): void {
    this.settle({ status: 502, body: 'the node cannot be reached' });
  }
}

/** Adds `node=ID` to a URL that has none. */
export function aboutNode(url: string, id: string): string {
  return `${url}${url.includes('?') ? '&' : '?'}node=${encodeURIComponent(id)}`;
}

const textTypes: ReadonlySet<string> = new Set(['application/toml', 'application/x-ndjson']);

function nodeAnswer(status: number, contentType: string, bytes: Buffer): NodeAnswer {
  const type = (contentType.split(';', 1)[0] as string).trim().toLowerCase();
  if (type === 'application/json' || type.endsWith('+json')) {
    try {
      return { status, body: JSON.parse(bytes.toString()) as unknown };
    } catch {
      return { status, body: bytes.toString() };
    }
  }
  const isText = type === '' || type.startsWith('text/') || type.endsWith('+xml') || textTypes.has(type);
  return isText ? { status, body: bytes.toString() } : { status, body: bytes.toString('base64'), encoding: 'base64' };
}

function answer({ response, requestId, isLast }: Exchange, answers: ReadonlyMap<string, NodeAnswer>): void {
  const sorted = [...answers].sort(([a], [b]) => (a < b ? -1 : 1));
  const body = Buffer.from(JSON.stringify(Object.fromEntries(sorted)));
  response.writeHead(200, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': body.length,
    [requestIdHeader]: requestId,
    ...(isLast && { connection: 'close' }),
  });
  response.end(body);
}
