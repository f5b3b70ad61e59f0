import { BinnacleError } from '@binnacle/contracts/errors';
import { Injectable } from '@nestjs/common';
import type { Readable } from 'node:stream';

/** Bodies in memory at one time, of all requests of this node; formula: 8 documents of the largest size, or many of the usual ones. */
const heldBytesMax = 128 * 1024 * 1024;

/** Bodies of requests that are read as a whole, within a limit for each and one for all of them. */
@Injectable()
export class RequestBodies {
  #heldBytes = 0;

  /** Throws BODY_TOO_LARGE, or OVERLOADED when too much is held already; what the client still sends is not read then. */
  async use<T>(body: Readable, bytesMax: number, work: (bytes: Buffer) => Promise<T>): Promise<T> {
    const chunks: Buffer[] = [];
    let bytes = 0;
    try {
      // An early end must not destroy the request, on whose connection the answer goes.
      for await (const chunk of body.iterator({ destroyOnReturn: false })) {
        bytes += (chunk as Buffer).length;
        this.#heldBytes += (chunk as Buffer).length;
        if (bytes > bytesMax) throw new BinnacleError('BODY_TOO_LARGE', `The body of this request may have at most ${bytesMax} bytes.`);
        if (this.#heldBytes > heldBytesMax) throw new BinnacleError('OVERLOADED', 'Too many large documents are on their way.', { retryAfterS: 1 });
        chunks.push(chunk as Buffer);
      }
      return await work(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks));
    } finally {
      // What is not read would stand between this answer and the next request of the connection.
      body.resume();
      this.#heldBytes -= bytes;
    }
  }
}
