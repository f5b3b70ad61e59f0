import { BinnacleError } from '@binnacle/contracts/errors';
import type { FastifyReply } from 'fastify';

/** Aborted once the connection of the answer is closed, which is also the case when all of it has been sent. */
export function untilClientGone(reply: FastifyReply): AbortSignal {
  const abort = new AbortController();
  reply.raw.once('close', () => abort.abort(new BinnacleError('REQUEST_TIMEOUT', 'the client has gone')));
  return abort.signal;
}
