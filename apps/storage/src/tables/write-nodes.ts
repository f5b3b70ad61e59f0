import { BinnacleError } from '@binnacle/contracts/errors';
import { clusterSecretHeader, forwardedByHeader } from '@binnacle/contracts/internal-headers';
import { untilClientGone } from '@binnacle/node-kit/client-gone';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Readable } from 'node:stream';
import { Agent } from 'undici';
import type { Table } from './schema.js';
import { streamAnswer } from './streamed-answer.js';

/** Nodes are in the same network: one that does not take a connection in this time is away. */
const connectTimeoutMs = 2_000;
/** Requests on their way to one other node; more wait. */
const connectionsPerNodeMax = 128;
/** Of this connection only, or written anew. */
const notForwarded: ReadonlySet<string> = new Set(['connection', 'keep-alive', 'transfer-encoding', 'upgrade', 'te', 'trailer', 'expect', 'host', 'content-length']);

/** What is asked about a table belongs to the node that holds its rows: another one passes it on there, once. */
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

  isOwn(table: Pick<Table, 'writeNode'>): boolean {
    return table.writeNode === this.node.id;
  }

  /** Streams the request to the table's write node and its answer back. Rejects with NO_TARGET when that node is away. */
  async forward(table: Table, request: FastifyRequest, reply: FastifyReply, body: Readable | Buffer | undefined): Promise<void> {
    if (request.headers[forwardedByHeader] !== undefined) {
      throw new BinnacleError('NO_TARGET', `The nodes do not agree yet on who holds collection \`${table.name}\`.`, { retryAfterS: 1 });
    }
    const record = this.node.directory.byId(table.writeNode);
    if (record === undefined) throw away(table);
    const host = record.host.includes(':') ? `[${record.host}]` : record.host;
    const answer = await this.#agent
      .request({
        origin: `http://${host}:${record.port}`,
        path: request.raw.url ?? '/',
        method: request.method as 'GET',
        headers: { ...forwardedHeaders(request), [clusterSecretHeader]: this.node.clusterSecret, [forwardedByHeader]: this.node.id },
        body: body ?? null,
        signal: untilClientGone(reply),
      })
      .catch((error: unknown) => {
        throw away(table, error);
      });
    const headers = Object.entries(answer.headers).filter(([name]) => !notSentBack.has(name));
    await streamAnswer(reply, answer.statusCode, Object.fromEntries(headers), answer.body);
  }
}

const notSentBack: ReadonlySet<string> = new Set(['connection', 'keep-alive', 'transfer-encoding']);

function forwardedHeaders(request: FastifyRequest): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(request.headers)) {
    if (value !== undefined && !notForwarded.has(name)) headers[name] = String(value);
  }
  // With a length said in advance the body need not be sent in chunks.
  const { 'content-length': length } = request.headers;
  if (length !== undefined && request.method !== 'GET') headers['content-length'] = length;
  return headers;
}

function away(table: Table, cause?: unknown): BinnacleError {
  const message = `Node ${table.writeNode}, which holds collection \`${table.name}\`, is away.`;
  return new BinnacleError('NO_TARGET', message, { cause, retryAfterS: 1 });
}
