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
      scope.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
      for (const { path, kind, bytesMax } of routes) {
        // Not asynchronous: Fastify has to listen to the body in the turn in which its bytes begin to be counted.
        const preParsing = (_request: FastifyRequest, reply: FastifyReply, body: Readable, done: () => void): void => {
          this.#hold(kind, reply, body);
          done();
        };
        scope.post(path, { bodyLimit: bytesMax, preParsing }, (request, reply) => this.#take(kind, request, reply));
      }
    });
  }

  /** Counts a body as it comes: it is held in memory as a whole until it is answered. What is announced and does not come takes no room. */
  #hold(kind: JournalRecord['kind'], reply: FastifyReply, body: Readable): void {
    const purse = kind === 'handed' ? 'nodes' : 'clients';
    let held = 0;
    const count = (chunk: Buffer): void => {
      held += chunk.length;
      this.#heldBytes[purse] += chunk.length;
      if (this.#heldBytes[purse] <= heldBytesMax) return;
      body.off('data', count);
      // Ends the reading of this body alone; the connection stays for the answer.
      body.emit('error', new BinnacleError('OVERLOADED', 'too many messages wait to be read', { retryAfterS: 1 }));
    };
    body.on('data', count);
    reply.raw.once('close', () => {
      body.off('data', count);
      this.#heldBytes[purse] -= held;
    });
  }

  /** 202 and 400 have no body, as in the original; what went wrong is in the log. */
  async #take(kind: JournalRecord['kind'], request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const encoding = bodyEncoding(request.headers['content-encoding']);
    const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
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
