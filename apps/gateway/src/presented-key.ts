import type { IncomingHttpHeaders } from 'node:http';

/** The header and query parameter of the Typesense API; ours, and `Authorization: Bearer`, are for everybody else. */
export const typesenseKeyName = 'x-typesense-api-key';
export const binnacleKeyName = 'x-binnacle-api-key';

/**
 * The API key that a request shows, or undefined. Headers come before the query, where keys end up in other people's logs.
 * `query` is the part of the URL after the `?`.
 */
export function presentedKey(headers: IncomingHttpHeaders, query: string): string | undefined {
  const header = headers[typesenseKeyName] ?? headers[binnacleKeyName];
  // Node joins repeated headers of these names to one text, which is then no key.
  if (typeof header === 'string' && header !== '') return header;
  const bearer = bearerToken(headers.authorization);
  if (bearer !== undefined) return bearer;
  if (query === '') return undefined;
  for (const part of query.split('&')) {
    const equals = part.indexOf('=');
    if (equals > 0 && nameOf(part.slice(0, equals)) === typesenseKeyName) return decoded(part.slice(equals + 1));
  }
  return undefined;
}

/** The query as it may be written to a log: without the parameters that carry a key, however their names are escaped. */
export function queryWithoutKey(query: string): string {
  return query
    .split('&')
    .filter((part) => {
      const name = nameOf(part.split('=', 1)[0] ?? '');
      return name !== typesenseKeyName && name !== binnacleKeyName;
    })
    .join('&');
}

function bearerToken(authorization: string | undefined): string | undefined {
  if (authorization === undefined || authorization.length <= 7) return undefined;
  return authorization.slice(0, 7).toLowerCase() === 'bearer ' ? authorization.slice(7).trim() : undefined;
}

function nameOf(raw: string): string {
  return decoded(raw).toLowerCase();
}

/** A name or value of a query as text; as it is, where it is not well-formed. */
export function decoded(raw: string): string {
  if (!raw.includes('%') && !raw.includes('+')) return raw;
  try {
    return decodeURIComponent(raw.replaceAll('+', ' '));
  } catch {
    return raw;
  }
}
