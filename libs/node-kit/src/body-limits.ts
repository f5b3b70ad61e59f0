import type { FastifyInstance } from 'fastify';
import type { Socket } from 'node:net';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Its body is worked on as it comes, for as long as it moves; any other one has to arrive within a limit. */
    streamsBody?: boolean;
  }
}

export interface BodyLimits {
  /** From the head of a request to the last byte of its body; the gateway has deadlines of its own for clients. */
  readonly bodyMsMax: number;
  /** A body that is streamed may take longer, but while there is room for more of it, something has to come in this time. */
  readonly bodyIdleMsMax: number;
}

export const defaultBodyLimits: BodyLimits = { bodyMsMax: 120_000, bodyIdleMsMax: 60_000 };

/**
 * Cuts the connections of those whose bodies do not arrive. Node.js itself has one limit for every request (`requestTimeout`), which would
 * cut an import that takes its time.
 */
export function limitBodies(app: FastifyInstance, { bodyMsMax, bodyIdleMsMax }: BodyLimits, answerTooSlow: (socket: Socket) => void): void {
  app.addHook('onRequest', (request, reply, done) => {
    const { raw } = request;
    const { 'content-length': length, 'transfer-encoding': encoding } = raw.headers;
    const hasBody = encoding !== undefined || (length !== undefined && length !== '0');
    if (!hasBody || raw.complete) return done();
    const { socket } = raw;
    let bytesBefore = socket.bytesRead;
    const cut = (): void => {
      if (raw.complete) return;
      if (reply.raw.headersSent) socket.destroy();
      else answerTooSlow(socket);
    };
    const checkIdle = (): void => {
      const hasRoom = raw.readableLength < raw.readableHighWaterMark;
      if (hasRoom && socket.bytesRead === bytesBefore) return cut();
      bytesBefore = socket.bytesRead;
      timer = setTimeout(checkIdle, bodyIdleMsMax);
    };
    let timer = request.routeOptions.config.streamsBody ? setTimeout(checkIdle, bodyIdleMsMax) : setTimeout(cut, bodyMsMax);
    const stop = (): void => clearTimeout(timer);
    raw.once('end', stop);
    reply.raw.once('close', stop);
    done();
  });
}
