import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { BinnacleError } from '@binnacle/contracts/errors';
import type { Dispatcher } from 'undici';
import type { Exchange } from './exchange.js';
import type { Forwarder } from './forward.js';
import { forwardedHeaders, requestIdHeader } from './request-head.js';
import { Upload } from './upload.js';
import type { Upstream } from './upstream.js';

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
    if (nodes.length > nodesMax) throw new BinnacleError('BAD_REQUEST', `node=* would ask ${nodes.length} nodes, the most is ${nodesMax}.`);
    const abort = new AbortController();
    exchange.onAbort = () => abort.abort();
    const body = exchange.hasBody ? await this.#readBody(exchange) : undefined;
    const answers = new Map<string, NodeAnswer>();
    const waiting = [...nodes];
    const bytesMax = answerBytesMax(nodes.length);
    const work = async (): Promise<void> => {
      for (let node = waiting.shift(); node !== undefined; node = waiting.shift()) {
        const url = askedOf === undefined ? exchange.nodeUrl : aboutNode(exchange.nodeUrl, node.id);
        answers.set(node.id, await this.#ask(exchange, { node, askedOf, url, body, bytesMax, signal: abort.signal }));
      }
    };
    await Promise.all(Array.from({ length: Math.min(concurrencyMax, nodes.length) }, work));
    if (!abort.signal.aborted) answer(exchange, answers);
  }

  async #readBody(exchange: Exchange): Promise<Buffer> {
    const upload = new Upload(exchange.request, this.forwarder.parts.clock, Math.min(bodyBytesMax, exchange.route.bodyBytesMax));
    const chunks: Buffer[] = [];
    for await (const chunk of upload) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks);
  }

  async #ask(exchange: Exchange, question: Question): Promise<NodeAnswer> {
    const { upstreams, clock } = this.forwarder.parts;
    const candidates = (question.askedOf ?? [question.node]).map((node) => upstreams.of(node));
    const upstream = this.forwarder.choose(candidates, []);
    if (upstream === undefined) return { status: 503, body: 'no node could be asked' };
    const deadline = new AbortController();
    const cancelDeadline = clock.after(exchange.route.deadlineMs, () => deadline.abort());
    upstream.outstanding++;
    try {
      return await this.#exchange(exchange, upstream, { ...question, signal: AbortSignal.any([question.signal, deadline.signal]) });
    } catch (error) {
      if (deadline.signal.aborted) return { status: 504, body: `no answer within ${exchange.route.deadlineMs} ms` };
      return { status: 502, body: error instanceof AnswerTooLarge ? error.message : 'the node cannot be reached' };
    } finally {
      cancelDeadline();
      upstream.outstanding--;
    }
  }

  async #exchange(exchange: Exchange, upstream: Upstream, { url, body, bytesMax, signal }: Question): Promise<NodeAnswer> {
    const headers = forwardedHeaders(exchange.request, false, {
      clusterSecret: this.forwarder.parts.clusterSecret,
      dialect: exchange.matched.dialect,
      requestId: exchange.requestId,
    });
    const answered = await upstream.pool.request({
      path: url,
      method: exchange.method as Dispatcher.HttpMethod,
      headers,
      body: body ?? null,
      signal,
    });
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of answered.body as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > bytesMax) throw new AnswerTooLarge(bytesMax);
      chunks.push(chunk);
    }
    return nodeAnswer(answered.statusCode, String(answered.headers['content-type'] ?? ''), Buffer.concat(chunks));
  }
}

interface Question {
  readonly node: NodeRecord;
  readonly askedOf: readonly NodeRecord[] | undefined;
  readonly url: string;
  readonly body: Buffer | undefined;
  readonly bytesMax: number;
  readonly signal: AbortSignal;
}

class AnswerTooLarge extends Error {
  constructor(bytesMax: number) {
    super(`the answer has more than ${bytesMax} bytes; ask the node alone`);
  }
}

/** Adds `node=ID` to a URL that has none. */
export function aboutNode(url: string, id: string): string {
  return `${url}${url.includes('?') ? '&' : '?'}node=${encodeURIComponent(id)}`;
}

function nodeAnswer(status: number, contentType: string, bytes: Buffer): NodeAnswer {
  const type = (contentType.split(';', 1)[0] as string).trim().toLowerCase();
  if (type === 'application/json' || type.endsWith('+json')) {
    try {
      return { status, body: JSON.parse(bytes.toString()) as unknown };
    } catch {
      return { status, body: bytes.toString() };
    }
  }
  const isText = type === '' || type.startsWith('text/') || type.endsWith('+xml') || type === 'application/toml' || type === 'application/x-ndjson';
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
