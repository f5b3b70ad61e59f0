import { BinnacleError } from '@binnacle/contracts/errors';
import type { ResultFormat } from './query-messages.js';

export const sqlFormats = ['json', 'csv', 'arrow', 'parquet'] as const satisfies readonly ResultFormat[];
export type SqlFormat = (typeof sqlFormats)[number];

export const mediaTypeOf: Readonly<Record<SqlFormat, string>> = {
  json: 'application/json; charset=utf-8',
  csv: 'text/csv; charset=utf-8; header=present',
  arrow: 'application/vnd.apache.arrow.stream',
  parquet: 'application/vnd.apache.parquet',
};

export interface SqlRequest {
  readonly sql: string;
  readonly keyspace: number;
  readonly format: SqlFormat;
  /** Without the rows that are not in the bucket yet; answered also when write nodes are away. */
  readonly stale: boolean;
  readonly useCache: boolean;
  readonly cacheTtlS: number;
}

export const sqlCharactersMax = 256 * 1_024;
const keyspaceMax = 2 ** 32 - 1;
const cacheTtlSDefault = 60;
const cacheTtlSMax = 86_400;

const known: ReadonlySet<string> = new Set(['sql', 'keyspace', 'format', 'stale', 'use_cache', 'cache_ttl', 'node']);

/**
 * From a JSON body `{"sql": ..., "keyspace": ...}`, or from one that is the SQL itself, with parameters in the query. What the body says counts
 * before the query. Throws BAD_REQUEST.
 */
export function parseSqlRequest(body: string, query: Readonly<Record<string, unknown>>, accept: string | undefined): SqlRequest {
  const trimmed = body.trim();
  const given = { ...query, ...(trimmed.startsWith('{') ? objectOf(trimmed) : { sql: trimmed }) };
  const unknown = Object.keys(given).find((name) => !known.has(name));
  if (unknown !== undefined) throw refused(`Parameter \`${unknown}\` is not known.`);
  const { sql } = given as { sql?: unknown };
  if (typeof sql !== 'string' || sql === '') throw refused('Parameter `sql` is required.');
  if (sql.length > sqlCharactersMax) throw refused(`Parameter \`sql\` is longer than ${sqlCharactersMax} characters.`);
  return {
    sql,
    keyspace: integerOf(given, 'keyspace', 0, keyspaceMax),
    format: formatOf(given['format'], accept),
    stale: flagOf(given, 'stale'),
    useCache: flagOf(given, 'use_cache'),
    cacheTtlS: integerOf(given, 'cache_ttl', cacheTtlSDefault, cacheTtlSMax),
  };
}

function objectOf(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch (error) {
    throw new BinnacleError('BAD_REQUEST', 'Bad JSON.', { cause: error });
  }
}

function formatOf(named: unknown, accept = ''): SqlFormat {
  if (named !== undefined) {
    const format = sqlFormats.find((candidate) => candidate === named);
    if (format === undefined) throw refused(`Parameter \`format\` must be a ${sqlFormats.join('|')}.`);
    return format;
  }
  const wanted = accept.split(',').map((type) => type.split(';')[0]?.trim().toLowerCase());
  return sqlFormats.find((format) => wanted.includes(mediaTypeOf[format].split(';')[0])) ?? 'json';
}

function flagOf(given: Readonly<Record<string, unknown>>, name: string): boolean {
  const value = given[name] ?? false;
  if (value === true || value === 'true' || value === '') return true;
  if (value === false || value === 'false') return false;
  throw refused(`Parameter \`${name}\` must be a true|false.`);
}

function integerOf(given: Readonly<Record<string, unknown>>, name: string, absent: number, max: number): number {
  const value = given[name];
  if (value === undefined) return absent;
  const number = typeof value === 'string' && /^\d{1,10}$/.test(value) ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isInteger(number) || number < 0 || number > max) throw refused(`Parameter \`${name}\` must be a whole number from 0 to ${max}.`);
  return number;
}

function refused(message: string): BinnacleError {
  return new BinnacleError('BAD_REQUEST', message);
}
