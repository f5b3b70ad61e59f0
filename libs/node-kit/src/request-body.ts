import { BinnacleError } from '@binnacle/contracts/errors';
import type { RawBodyRequest } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';

/**
 * The body as text, whatever type the client says it has: curl sends JSON and TOML as a form unless told otherwise, and the originals
 * do not look at the type.
 */
export function bodyText({ rawBody, body }: RawBodyRequest<FastifyRequest>): string {
  if (rawBody !== undefined) return rawBody.toString();
  if (Buffer.isBuffer(body)) return body.toString();
  return typeof body === 'string' ? body : '';
}

/** The body as a JSON object, or BAD_REQUEST in Typesense's words. Where Nest does not keep the raw body, Fastify has parsed what is said to be JSON. */
export function bodyObject(request: RawBodyRequest<FastifyRequest>): Record<string, unknown> {
  let value = request.body;
  try {
    const isParsed = request.rawBody === undefined && typeof value === 'object' && !Buffer.isBuffer(value);
    if (!isParsed) value = JSON.parse(bodyText(request));
  } catch (error) {
    throw new BinnacleError('BAD_REQUEST', 'Bad JSON.', { cause: error });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new BinnacleError('BAD_REQUEST', 'Bad JSON.');
  return value as Record<string, unknown>;
}
