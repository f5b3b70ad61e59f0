import { once } from 'node:events';
import type { FastifyReply } from 'fastify';
import type { OutgoingHttpHeaders } from 'node:http';
import type { SqlSink } from './sql.js';

/** What fits in here is sent only when all of it is known: what goes wrong until then is told by the status. */
const heldBackBytes = 256 * 1_024;

/** An answer that is written as it comes. Once its head is out, what goes wrong can only be told by breaking it off. */
export class AnswerStream implements SqlSink {
  #held: Buffer[] = [];
  #heldBytes = 0;
  #isBegun = false;

  constructor(
    private readonly reply: FastifyReply,
    private readonly headers: OutgoingHttpHeaders,
    private readonly gone: AbortSignal,
  ) {}

  async write(bytes: Buffer): Promise<void> {
    if (this.#isBegun) return this.#send(bytes);
    this.#held.push(Buffer.from(bytes));
    this.#heldBytes += bytes.length;
    if (this.#heldBytes > heldBackBytes) await this.#begin();
  }

  async end(): Promise<void> {
    if (!this.#isBegun) await this.#begin({ 'content-length': this.#heldBytes });
    this.reply.raw.end();
  }

  /** Whether the client has something already; then the answer is broken off. */
  breakOff(): boolean {
    if (this.#isBegun) this.reply.raw.destroy();
    return this.#isBegun;
  }

  async #begin(more: OutgoingHttpHeaders = {}): Promise<void> {
    this.#isBegun = true;
    this.reply.hijack();
    this.reply.raw.writeHead(200, { ...(this.reply.getHeaders() as OutgoingHttpHeaders), ...this.headers, ...more });
    const held = this.#held;
    this.#held = [];
    for (const bytes of held) await this.#send(bytes);
  }

  async #send(bytes: Buffer): Promise<void> {
    this.gone.throwIfAborted();
    if (!this.reply.raw.write(bytes)) await once(this.reply.raw, 'drain', { signal: this.gone });
  }
}
