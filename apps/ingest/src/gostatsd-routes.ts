import { BinnacleError } from '@binnacle/contracts/errors';
import { answerErrorsOf } from '@binnacle/node-kit/error-answers';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Injectable, type OnModuleInit } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Readable } from 'node:stream';
import { Ingest } from './ingest.js';
import { BadMessage } from './messages/bad-message.js';
import { bodyEncoding } from './messages/body-encoding.js';
import { handOverPath } from './ownership/peers.js';
import type { JournalRecord } from './spool/journal-record.js';

/** As sent; the same as at the gateway. */
const rawBytesMax = 16 * 2 ** 20;
const eventBytesMax = 2 ** 20;
const routes = [
  { path: '/v2/raw', kind: 'raw', bytesMax: rawBytesMax },
  { path: '/v1/raw', kind: 'first-raw', bytesMax: rawBytesMax },
  { path: '/v2/event', kind: 'event', bytesMax: eventBytesMax },
  { path: '/v1/event', kind: 'event', bytesMax: eventBytesMax },
  { path: handOverPath, kind: 'handed', bytesMax: rawBytesMax },
] as const;
/** What came of bodies that are being read, or wait for their turn: of clients, and as much again of other nodes, which clients cannot keep out. */
const heldBytesMax = 128 * 2 ** 20;
const idempotencyKeyLengthMax = 256;

/** Clients cannot keep out other nodes. */
const purseOf = (kind: JournalRecord['kind']): 'clients' | 'nodes' => (kind === 'handed' ? 'nodes' : 'clients');

/**
 * `POST /v2/raw`, `/v2/event` and those of version 1. Past Nest, whose parsers would look at the type of the content: here every body is bytes, as in gostatsd, whose
 * forwarders and whose neighbours' scripts say what they like.
 */
@Injectable()
export class GostatsdRoutes implements OnModuleInit {
  readonly #heldBytes = { clients: 0, nodes: 0 };

  constructor(
    private readonly node: NodeContext,
    private readonly adapter: HttpAdapterHost,
    private readonly ingest: Ingest,
  ) {}

  onModuleInit(): void {
    const app = this.adapter.httpAdapter.getInstance<FastifyInstance>();
    void app.register(async (scope) => {
      answerErrorsOf(scope, this.node.log);
      scope.removeAllContentTypeParsers();
      for (const { path, kind, bytesMax } of routes) {
        // A scope each, for its parser has its limits.
        void scope.register(async (own) => {
          own.addContentTypeParser('*', (_request: FastifyRequest, body: Readable, done: (error: Error | null, body?: Buffer | BinnacleError) => void) => this.#read(kind, bytesMax, body, done));
          own.post(path, (request, reply) => this.#take(kind, request, reply));
        });
      }
    });
  }

  /**
   * Gives the body in one piece, or why it cannot be had. The latter as a body, too: after an error Fastify closes the connection, and a sender that is still
   * sending would hear of a broken one instead of the answer. What else of it comes is read and let go.
   *
   * A body counts as it comes, and until it is answered: what is announced and does not come takes no room.
   */
  #read(kind: JournalRecord['kind'], bytesMax: number, body: Readable, done: (error: Error | null, body?: Buffer | BinnacleError) => void): void {
    const purse = purseOf(kind);
    const chunks: Buffer[] = [];
    let bytes = 0;
    let isOver = false;
    const end = (error: Error | null, read?: Buffer | BinnacleError): void => {
      if (isOver) return;
      isOver = true;
      chunks.length = 0;
      if (!Buffer.isBuffer(read)) this.#heldBytes[purse] -= bytes;
      done(error, read);
    };
    body.on('data', (chunk: Buffer) => {
      if (isOver) return;
      bytes += chunk.length;
      this.#heldBytes[purse] += chunk.length;
      chunks.push(chunk);
      if (bytes > bytesMax) end(null, new BinnacleError('BODY_TOO_LARGE', `a message has at most ${bytesMax} bytes`));
      else if (this.#heldBytes[purse] > heldBytesMax) end(null, new BinnacleError('OVERLOADED', 'too many messages wait to be read', { retryAfterS: 1 }));
    });
    body.once('end', () => end(null, Buffer.concat(chunks)));
    body.once('error', end);
    body.once('close', () => end(new BinnacleError('BAD_REQUEST', 'the body broke off')));
  }

  /** 202 and 400 have no body, as in the original; what went wrong is in the log. */
  async #take(kind: JournalRecord['kind'], request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const encoding = bodyEncoding(request.headers['content-encoding']);
    if (request.body instanceof BinnacleError) throw request.body;
    const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
    reply.raw.once('close', () => (this.#heldBytes[purseOf(kind)] -= body.length));
    const { 'idempotency-key': key = '' } = request.headers;
    if (encoding === undefined) return this.#refuse(reply, kind, `Content-Encoding is ${String(request.headers['content-encoding']).slice(0, 64)}`);
    if (typeof key !== 'string' || key.length > idempotencyKeyLengthMax) throw new BinnacleError('BAD_REQUEST', `Idempotency-Key has at most ${idempotencyKeyLengthMax} characters`);
    // Its sender has taken it in again, where this node was taken for gone.
    if (kind === 'handed' && this.ingest.pauses.isJustOver()) throw new BinnacleError('NOT_READY', 'this node did not run for a while', { retryAfterS: 1 });
    try {
      await this.ingest.take({ kind, encoding, idempotencyKey: key, body });
    } catch (error) {
      if (error instanceof BadMessage) return this.#refuse(reply, kind, error.message);
      throw error;
    }
    return reply.code(202).send();
  }

  #refuse(reply: FastifyReply, kind: string, reason: string): FastifyReply {
    this.node.log.debug({ kind, reason }, 'a message is refused');
    return reply.code(400).send();
  }
}
