import { BinnacleError } from '@binnacle/contracts/errors';

/** A query as Fastify parses it: a key given twice has a list. */
export type Query = Readonly<Record<string, string | string[] | undefined>>;

/** The node that `?node=` names; absent or empty: none. Throws BAD_REQUEST on what is no node id. */
export function nodeIdOf(query: Query): string | undefined {
  const id = query.node;
  if (id === undefined || id === '') return undefined;
  if (typeof id !== 'string') throw new BinnacleError('BAD_REQUEST', 'node is given more than once');
  if (!/^[A-Za-z0-9._-]{1,64}$/.test(id)) throw new BinnacleError('BAD_REQUEST', 'node is no node id: letters, digits, . _ -, at most 64');
  return id;
}

const historyLimitDefault = 100;
/** As many as are kept. */
const historyLimitMax = 1_000;

export function historyLimitOf(query: Query): number {
  const text = query.limit;
  if (text === undefined) return historyLimitDefault;
  const limit = typeof text === 'string' && /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (limit < 1 || limit > historyLimitMax) throw new BinnacleError('BAD_REQUEST', `limit must be a whole number from 1 to ${historyLimitMax}`);
  return limit;
}

/** Throws NOT_FOUND on a name that no lease can have. */
export function leaseNameOf(text: string): string {
  if (!/^[A-Za-z0-9._-]{1,64}$/.test(text)) throw new BinnacleError('NOT_FOUND', 'no such lease: a name has letters, digits, . _ - and at most 64 of them');
  return text;
}
