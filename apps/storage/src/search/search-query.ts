import { BinnacleError } from '@binnacle/contracts/errors';
import type { Field, Table } from '../tables/schema.js';
import { parseFilter, type Filter } from './filter.js';

/** The parameters of a search as Typesense names them: from the query of a GET, or one of the `searches` of a multi_search. */
export type SearchRequest = Readonly<Record<string, unknown>>;

export interface SortKey {
  /** `_text_match` or a field. */
  readonly field: string;
  readonly descending: boolean;
}

/** A search whose fields are there and fit, and whose numbers are in their limits. */
export interface SearchQuery {
  /** As it was sent; empty or `*` is everything. */
  readonly q: string;
  readonly prefix: boolean;
  readonly queryBy: readonly string[];
  readonly filter: Filter;
  readonly sortBy: readonly SortKey[];
  /** Undefined where the client counts in hits, by `offset`. */
  readonly page: number | undefined;
  readonly perPage: number;
  readonly offset: number;
  readonly facetBy: readonly string[];
  readonly facetValuesMax: number;
  readonly includeFields: readonly string[];
  readonly excludeFields: readonly string[];
  readonly useCache: boolean;
  readonly cacheTtlS: number;
  /** Undefined: the node's own limit. */
  readonly cutoffMs: number | undefined;
}

export const perPageMax = 250;
const sortKeysMax = 3;
const facetsMax = 100;
const facetValuesMax = 250;
const queryCharactersMax = 4_000;
const integerMax = 2 ** 31 - 1;

/** Throws BAD_REQUEST, or NOT_FOUND for a field the table does not have, in Typesense's words. Parameters it does not know are ignored, as there. */
export function parseSearch(request: SearchRequest, table: Table): SearchQuery {
  if (request['q'] === undefined) throw refused('Parameter `q` is required.');
  // A client would take ungrouped hits for grouped ones.
  if (textOf(request, 'group_by') !== '') throw refused('`group_by` is not supported.');
  const q = textOf(request, 'q');
  if (q.length > queryCharactersMax) throw refused(`Parameter \`q\` is longer than ${queryCharactersMax} characters.`);
  const queryBy = listOf(request, 'query_by');
  for (const name of queryBy) checkQueryField(table, name);
  if (!isEverything(q) && queryBy.length === 0) throw refused('No search fields specified for the query.');
  const facetBy = listOf(request, 'facet_by');
  if (facetBy.length > facetsMax) throw refused(`At most ${facetsMax} facets can be counted.`);
  for (const name of facetBy) {
    if (indexedField(table, name)?.facet !== true) throw missing(`Could not find a facet field named \`${name}\` in the schema.`);
  }
  const cacheTtlS = integerOf(request, 'cache_ttl', { absent: 60, min: 0, max: integerMax });
  return {
    q,
    prefix: listOf(request, 'prefix').some((value) => value !== 'false') || request['prefix'] === undefined,
    queryBy,
    filter: parseFilter(textOf(request, 'filter_by'), table),
    sortBy: sortKeys(request, table, isEverything(q)),
    ...pageOf(request),
    facetBy: [...new Set(facetBy)],
    facetValuesMax: integerOf(request, 'max_facet_values', { absent: 10, min: 0, max: facetValuesMax }),
    includeFields: listOf(request, 'include_fields'),
    excludeFields: listOf(request, 'exclude_fields'),
    useCache: ['true', '1'].includes(textOf(request, 'use_cache')) && cacheTtlS > 0,
    cacheTtlS,
    cutoffMs: request['search_cutoff_ms'] === undefined ? undefined : integerOf(request, 'search_cutoff_ms', { absent: 0, min: 1, max: integerMax }),
  };
}

export function isEverything(q: string): boolean {
  return q === '' || q === '*';
}

function pageOf(request: SearchRequest): Pick<SearchQuery, 'page' | 'perPage' | 'offset'> {
  const sizeName = request['per_page'] === undefined && request['limit'] !== undefined ? 'limit' : 'per_page';
  const perPage = integerOf(request, sizeName, { absent: 10, min: 0, max: integerMax });
  if (perPage > perPageMax) throw new BinnacleError('LIMIT_EXCEEDED', `Only upto ${perPageMax} hits can be fetched per page.`);
  const offset = integerOf(request, 'offset', { absent: 0, min: 0, max: integerMax });
  const asked = integerOf(request, 'page', { absent: 0, min: 0, max: integerMax });
  if (asked === 0 && offset > 0) return { page: undefined, perPage, offset };
  const page = Math.max(1, asked);
  return { page, perPage, offset: (page - 1) * perPage };
}

function sortKeys(request: SearchRequest, table: Table, everything: boolean): SortKey[] {
  const keys = listOf(request, 'sort_by').map((text) => sortKey(text, table));
  if (keys.length > sortKeysMax) throw refused(`Only upto ${sortKeysMax} sort fields are allowed.`);
  if (keys.length > 0) return keys;
  const relevance = everything ? [] : [{ field: '_text_match', descending: true }];
  return table.defaultSortingField === '' ? relevance : [...relevance, { field: table.defaultSortingField, descending: true }];
}

function sortKey(text: string, table: Table): SortKey {
  const colon = text.lastIndexOf(':');
  const field = text.slice(0, colon).trim();
  const order = text.slice(colon + 1).trim().toLowerCase();
  if (colon < 0 || order === '') throw refused('Parameter `sort_by` is malformed.');
  if (field !== '_text_match' && !isSortable(indexedField(table, field))) {
    throw missing(`Could not find a field named \`${field}\` in the schema for sorting.`);
  }
  // Typesense's text, backtick and all.
  if (order !== 'asc' && order !== 'desc') throw refused(`Order for field\` ${field}\` should be either ASC or DESC.`);
  return { field, descending: order === 'desc' };
}

/** Numbers and booleans always, text where the schema says so. */
function isSortable(field: Field | undefined): boolean {
  if (field === undefined || field.type.endsWith('[]') || field.type === 'object') return false;
  return field.type !== 'string' || field.sort;
}

function checkQueryField(table: Table, name: string): void {
  if (name === 'id') throw refused('Cannot use `id` as a query by field.');
  const field = table.fields.find((candidate) => candidate.name === name);
  if (field === undefined) throw missing(`Could not find a field named \`${name}\` in the schema.`);
  if (!field.index) throw refused(`Field \`${name}\` is marked as a non-indexed field in the schema.`);
  if (!field.type.startsWith('string')) throw refused(`Field \`${name}\` should be a string or a string array.`);
}

function indexedField(table: Table, name: string): Field | undefined {
  return table.fields.find((field) => field.name === name && field.index && !field.type.startsWith('object'));
}

function textOf(request: SearchRequest, name: string): string {
  const value = request[name];
  if (value === undefined || value === null) return '';
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (Array.isArray(value) && value.every((element) => typeof element === 'string')) return value.join(',');
  throw refused(`Parameter \`${name}\` must be a string.`);
}

function listOf(request: SearchRequest, name: string): string[] {
  return textOf(request, name)
    .split(',')
    .map((element) => element.trim())
    .filter((element) => element !== '');
}

function integerOf(request: SearchRequest, name: string, { absent, min, max }: { absent: number; min: number; max: number }): number {
  const text = textOf(request, name);
  if (text === '') return absent;
  const number = /^\d{1,10}$/.test(text) ? Number(text) : NaN;
  if (!(number >= min)) throw refused(`Parameter \`${name}\` must be an unsigned integer.`);
  return Math.min(number, max);
}

function refused(message: string): BinnacleError {
  return new BinnacleError('BAD_REQUEST', message);
}

function missing(message: string): BinnacleError {
  return new BinnacleError('NOT_FOUND', message);
}
