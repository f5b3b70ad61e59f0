import { BinnacleError } from '@binnacle/contracts/errors';
import { durabilities, type WriteOptions } from '../regions/region-rows.js';
import { dirtyValues, type DirtyValues } from '../tables/document-check.js';
import { writeActions, type WriteAction } from './document.js';

/** The parsed query of a request; a parameter given twice is a list. */
export type Query = Readonly<Record<string, string | string[] | undefined>>;

/** The parameter, once and not empty. Throws BAD_REQUEST when it comes twice. */
export function given(query: Query, name: string): string | undefined {
  const value = query[name];
  if (typeof value === 'string' || value === undefined) return value === '' ? undefined : value;
  throw new BinnacleError('BAD_REQUEST', `Parameter \`${name}\` is given twice.`);
}

export function actionOf(query: Query): WriteAction {
  const action = given(query, 'action') ?? 'create';
  const known = writeActions.find((candidate) => candidate === action);
  if (known === undefined) throw new BinnacleError('BAD_REQUEST', 'Parameter `action` must be a create|update|upsert|emplace.');
  return known;
}

/** As in Typesense, whose default is another one only for collections that detect types. */
export function dirtyValuesOf(query: Query): DirtyValues {
  const value = (given(query, 'dirty_values') ?? 'reject').toLowerCase();
  const known = dirtyValues.find((candidate) => candidate === value);
  if (known === undefined) throw new BinnacleError('BAD_REQUEST', `Parameter \`dirty_values\` must be a ${dirtyValues.join('|')}.`);
  return known;
}

export function writeOptionsOf(query: Query): WriteOptions {
  const durability = given(query, 'durability') ?? 'fsync';
  const known = durabilities.find((candidate) => candidate === durability);
  if (known === undefined) throw new BinnacleError('BAD_REQUEST', `Parameter \`durability\` must be a ${durabilities.join('|')}.`);
  return { durability: known };
}

export function flagOf(query: Query, name: string): boolean {
  const value = given(query, name) ?? 'false';
  if (value !== 'true' && value !== 'false') throw new BinnacleError('BAD_REQUEST', `Parameter \`${name}\` must be a true|false.`);
  return value === 'true';
}

export function positiveOf(query: Query, name: string): number | undefined {
  const text = given(query, name);
  if (text === undefined) return undefined;
  const number = /^\d{1,10}$/.test(text) ? Number(text) : 0;
  if (number < 1) throw new BinnacleError('BAD_REQUEST', `Parameter \`${name}\` must be a positive integer.`);
  return number;
}

/** A list with commas. */
export function namesOf(query: Query, name: string): readonly string[] {
  const names = (given(query, name) ?? '').split(',').map((item) => item.trim());
  return names.filter((item) => item !== '');
}
