import { addressOf } from '@binnacle/cluster-state/node-record';
import { BinnacleError } from '@binnacle/contracts/errors';
import { clusterSecretHeader, forwardedByHeader } from '@binnacle/contracts/internal-headers';
import { untilClientGone } from '@binnacle/node-kit/client-gone';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Readable } from 'node:stream';
import { Agent, type Dispatcher } from 'undici';
import type { Table } from './schema.js';
import { streamAnswer } from './streamed-answer.js';

/** Nodes are in the same network: one that does not take a connection in this time is away. */
const connectTimeoutMs = 2_000;
/** Requests on their way to one other node; more wait. */
const connectionsPerNodeMax = 128;
/** Of this connection only, or written anew. */
const notForwarded: ReadonlySet<string> = new Set(['connection', 'keep-alive', 'transfer-encoding', 'upgrade', 'te', 'trailer', 'expect', 'host', 'content-length']);

/** What is asked about rows belongs to their write node: another node passes it on there, once. */
@Injectable()
export class WriteNodes {
  /** How long an answer may take is for the gateway's deadline, which ends the connection here and with it the one there. */
  readonly #agent = new Agent({
    connect: { timeout: connectTimeoutMs },
    connections: connectionsPerNodeMax,
    pipelining: 1,
    headersTimeout: 0,
    bodyTimeout: 0,
  });

  constructor(private readonly node: NodeContext) {
    node.addPart({ name: 'requests to write nodes', stop: () => this.#agent.destroy() });
  }

  /** Throws for a request that another node has passed on already: the nodes see different catalogs for a moment. */
  refuseSecondHop(table: Table, request: Pick<FastifyRequest, 'headers'>): void {
    if (request.headers[forwardedByHeader] === undefined) return;
    throw new BinnacleError('NO_TARGET', `The nodes do not agree yet on who holds collection \`${table.name}\`.`, { retryAfterS: 1 });
  }

  /** Streams the request to a write node of the table and its answer back. Rejects with NO_TARGET when that node is away. */
  async forward(nodeId: string, table: Table, request: FastifyRequest, reply: FastifyReply, body: Readable | Buffer | undefined): Promise<void> {
    this.refuseSecondHop(table, request);
    const path = request.raw.url ?? '/';
    const answer = await this.send(nodeId, table, { method: request.method, path, headers: forwardedHeaders(request), body: body ?? null, signal: untilClientGone(reply) });
    const headers = Object.entries(answer.headers).filter(([name]) => !notSentBack.has(name));
    await streamAnswer(reply, answer.statusCode, Object.fromEntries(headers), answer.body);
  }

  /** A request of this node's own making, which the other one does not pass on. Rejects with NO_TARGET when that node is away. */
  async send(nodeId: string, table: Pick<Table, 'name'>, request: NodeRequest): Promise<Dispatcher.ResponseData> {
    const record = this.node.directory.byId(nodeId);
    if (record === undefined) throw away(nodeId, table);
    const headers = { ...request.headers, [clusterSecretHeader]: this.node.clusterSecret, [forwardedByHeader]: this.node.id };
    return this.#agent.request({ ...request, method: request.method as 'GET', origin: `http://${addressOf(record)}`, headers }).catch((error: unknown) => {
      throw away(nodeId, table, error);
    });
  }
}

export interface NodeRequest {
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Readable | Buffer | string | null;
  readonly signal?: AbortSignal;
}

const notSentBack: ReadonlySet<string> = new Set(['connection', 'keep-alive', 'transfer-encoding']);

export function forwardedHeaders(request: FastifyRequest): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(request.headers)) {
    if (value !== undefined && !notForwarded.has(name)) headers[name] = String(value);
  }
  // With a length said in advance the body need not be sent in chunks.
  const { 'content-length': length } = request.headers;
  if (length !== undefined && request.method !== 'GET') headers['content-length'] = length;
  return headers;
}

function away(nodeId: string, { name }: Pick<Table, 'name'>, cause?: unknown): BinnacleError {
  const message = `Node ${nodeId}, which holds collection \`${name}\`, is away.`;
  return new BinnacleError('NO_TARGET', message, { cause, retryAfterS: 1 });
}
