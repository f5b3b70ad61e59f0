import type { FastifyReply } from 'fastify';
import type { OutgoingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

/** In one process with the gateway both have their listeners on a response. */
const listenersMax = 32;

/**
 * Streams an answer past Fastify, which keeps the head back until there is something of the body: deadlines on the way count up to the
 * head. Resolves when it is sent, and to what went wrong when it was broken off, which is all that can be told a client by then.
 */
export async function streamAnswer(reply: FastifyReply, status: number, headers: OutgoingHttpHeaders, body: Readable): Promise<Error | undefined> {
  reply.hijack();
  reply.raw.setMaxListeners(listenersMax);
  reply.raw.writeHead(status, { ...(reply.getHeaders() as OutgoingHttpHeaders), ...headers });
  reply.raw.flushHeaders();
  try {
    await pipeline(body, reply.raw);
    return undefined;
  } catch (error) {
    return error as Error;
  }
}
