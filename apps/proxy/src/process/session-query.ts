import { BinnacleError } from '@binnacle/contracts/errors';
import type { SessionFilter } from './worker-protocol.js';

const limitDefault = 100;
/** With several reasons each, so many still fit into an answer between nodes. */
const limitMax = 5_000;

/** The query of `GET /api/v1/sessions`. Throws BAD_REQUEST. */
export function sessionFilter(query: Readonly<Record<string, unknown>>): SessionFilter {
  const { backend, user, movable, limit } = query;
  return {
    ...(backend !== undefined && { backend: text('backend', backend) }),
    ...(user !== undefined && { user: text('user', user) }),
    ...(movable !== undefined && { movable: flag('movable', movable) }),
    limit: limit === undefined ? limitDefault : count(limit),
  };
}

/** A session id as paths give it. Throws NOT_FOUND: what is no id names no session. */
export function sessionId(given: string): number {
  if (!/^\d{1,10}$/.test(given)) throw new BinnacleError('NOT_FOUND', 'there is no such session: an id is a number of up to ten digits');
  return Number(given);
}

function text(name: string, value: unknown): string {
  if (typeof value !== 'string' || value === '') throw new BinnacleError('BAD_REQUEST', `${name} is to be given once, and not empty`);
  return value;
}

function flag(name: string, value: unknown): boolean {
  if (value !== 'true' && value !== 'false') throw new BinnacleError('BAD_REQUEST', `${name} is to be true or false`);
  return value === 'true';
}

function count(value: unknown): number {
  const limit = typeof value === 'string' && /^\d{1,5}$/.test(value) ? Number(value) : 0;
  if (limit < 1 || limit > limitMax) throw new BinnacleError('BAD_REQUEST', `limit is to be 1 to ${limitMax}`);
  return limit;
}
