import { BinnacleError } from '@binnacle/contracts/errors';
import { given } from './capture-query.js';
import type { ProfileKind } from './captured-profile.js';
import { profileKinds } from './kept-profile.js';
import type { ProfileFilter } from './kept-profiles.js';

/** A query as Fastify parses it: a key given twice has a list. */
export type Query = Readonly<Record<string, string | string[] | undefined>>;

const limitDefault = 100;
export const listLimitMax = 1_000;

/**
 * Throws BAD_REQUEST on what is no filter, and on a parameter that does not exist: a filter that is misspelt would list everything.
 * `further` is what the path knows beside the filter.
 */
export function profileFilterOf(query: Query, further: 'limit' | 'format' = 'limit'): ProfileFilter {
  const known = ['node', 'kind', 'from', 'to', further];
  const unknown = Object.keys(query).find((name) => !known.includes(name));
  if (unknown !== undefined) throw badRequest(`${JSON.stringify(unknown.slice(0, 64))} is no parameter of this path: ${known.join(', ')}`);
  const filter = { node: nodeOf(query), kind: kindOf(query), fromMs: timeOf(query, 'from'), toMs: timeOf(query, 'to'), limit: limitOf(query) };
  if (filter.fromMs !== undefined && filter.toMs !== undefined && filter.fromMs > filter.toMs) throw badRequest('from is later than to');
  return filter;
}

/** The filter as a query again, for another profiling node. */
export function queryOf({ node, kind, fromMs, toMs, limit }: ProfileFilter): string {
  const query = new URLSearchParams({ limit: String(limit) });
  if (node !== undefined) query.set('node', node);
  if (kind !== undefined) query.set('kind', kind);
  if (fromMs !== undefined) query.set('from', new Date(fromMs).toISOString());
  if (toMs !== undefined) query.set('to', new Date(toMs).toISOString());
  return query.toString();
}

/** `format`, if it is one of these; `absent` without one. */
export function formatAmong<Format extends string>(query: Query, formats: readonly Format[], absent: Format): Format {
  const text = given(query, 'format') ?? absent;
  const format = formats.find((each) => each === text);
  if (format === undefined) throw badRequest(`format must be one of ${formats.join(', ')}`);
  return format;
}

function nodeOf(query: Query): string | undefined {
  const node = given(query, 'node');
  if (node === undefined || /^([A-Za-z0-9._-]{1,64}|\*)$/.test(node)) return node;
  throw badRequest('node is no node id: letters, digits, . _ -, at most 64; or *, for profiles of several nodes');
}

function kindOf(query: Query): ProfileKind | undefined {
  const text = given(query, 'kind');
  if (text === undefined) return undefined;
  const kind = profileKinds.find((each) => each === text);
  if (kind === undefined) throw badRequest(`kind must be one of ${profileKinds.join(', ')}`);
  return kind;
}

/** `2026-11-21`, `2026-11-21T03:12`, with seconds, fractions and a zone; without a zone it is UTC, as every time we print. */
const isoTime = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?)?$/;

function timeOf(query: Query, name: 'from' | 'to'): number | undefined {
  // A plus that was not encoded is a space by now.
  const text = given(query, name)?.replace(' ', '+');
  if (text === undefined) return undefined;
  const hasZone = !text.includes('T') || /(Z|[+-]\d\d:\d\d)$/.test(text);
  const timeMs = isoTime.test(text) ? Date.parse(hasZone ? text : `${text}Z`) : NaN;
  if (Number.isNaN(timeMs)) throw badRequest(`${name} must be a time like 2026-11-21T03:12:00Z`);
  return timeMs;
}

function limitOf(query: Query): number {
  const text = given(query, 'limit');
  if (text === undefined) return limitDefault;
  const limit = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (limit < 1 || limit > listLimitMax) throw badRequest(`limit must be a whole number from 1 to ${listLimitMax}`);
  return limit;
}

function badRequest(message: string): BinnacleError {
  return new BinnacleError('BAD_REQUEST', message);
}
