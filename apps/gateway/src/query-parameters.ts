import { BinnacleError } from '@binnacle/contracts/errors';
import { binnacleKeyName, decoded, typesenseKeyName } from './presented-key.js';

export interface QueryParameters {
  /** The value of `?node=`, decoded. */
  readonly node: string | undefined;
  /** What may be passed on: everything but `node` and API keys, byte for byte as it came. */
  readonly rest: string;
}

const none: QueryParameters = { node: undefined, rest: '' };

/** Takes out of a query (what follows the `?`) what is for the gateway. Throws BAD_REQUEST on two nodes. */
export function splitQuery(query: string): QueryParameters {
  if (query === '') return none;
  const parts = query.split('&');
  let node: string | undefined;
  const rest = parts.filter((part) => {
    const equals = part.indexOf('=');
    const name = decoded(equals < 0 ? part : part.slice(0, equals));
    if (name === 'node') {
      if (node !== undefined) throw new BinnacleError('BAD_REQUEST', 'The query names the target node twice.');
      node = equals < 0 ? '' : decoded(part.slice(equals + 1));
      return false;
    }
    const lowerCase = name.toLowerCase();
    return lowerCase !== typesenseKeyName && lowerCase !== binnacleKeyName;
  });
  return { node, rest: rest.length === parts.length ? query : rest.join('&') };
}
