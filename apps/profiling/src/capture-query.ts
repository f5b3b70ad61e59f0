import { BinnacleError } from '@binnacle/contracts/errors';
import type { Query } from './profile-query.js';

/** In what form a profile is answered; `?format=` decides in every dialect. */
export const answerFormats = ['pprof', 'svg', 'collapsed', 'json'] as const;
export type AnswerFormat = (typeof answerFormats)[number];

/** `?node=` of a target that is one node; absent, this node. Throws BAD_REQUEST on what is no node id. */
export function targetOf(query: Query, ownId: string): string {
  const id = given(query, 'node') ?? ownId;
  if (!/^[A-Za-z0-9._-]{1,64}$/.test(id)) throw badRequest('node is no node id: letters, digits, . _ -, at most 64');
  return id;
}

/** The same where `*` is every node. */
export function targetOrAllOf(query: Query, ownId: string): string {
  return query['node'] === '*' ? '*' : targetOf(query, ownId);
}

export interface SecondsRule {
  readonly absent: number;
  readonly max: number;
  /** 0 is allowed: at this moment. */
  readonly zero?: true;
}

const secondsMin = 0.1;

/** `?seconds=`. Throws BAD_REQUEST with the range. */
export function secondsOf(query: Query, { absent, max, zero }: SecondsRule): number {
  const text = given(query, 'seconds');
  if (text === undefined) return absent;
  const seconds = numberOf(text);
  if ((seconds >= secondsMin && seconds <= max) || (zero && seconds === 0)) return seconds;
  throw badRequest(`seconds must be a number from ${secondsMin} to ${max}${zero ? ', or 0' : ''}`);
}

/** `?seconds=` as Go's runtime reads it: what is no number, or not above 0, counts as absent. */
export function goSecondsOf(query: Query, rule: SecondsRule): number {
  const text = given(query, 'seconds') ?? '';
  return numberOf(text) > 0 ? secondsOf(query, rule) : rule.absent;
}

const frequencyDefault = 99;
const frequencyMax = 1_000;

export function frequencyOf(query: Query): number {
  const text = given(query, 'frequency');
  if (text === undefined) return frequencyDefault;
  const frequencyHz = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (frequencyHz >= 1 && frequencyHz <= frequencyMax) return frequencyHz;
  throw badRequest(`frequency must be a whole number from 1 to ${frequencyMax}`);
}

export function formatOf(query: Query): AnswerFormat | undefined {
  const text = given(query, 'format');
  if (text === undefined) return undefined;
  const format = answerFormats.find((each) => each === text);
  if (format === undefined) throw badRequest(`format must be one of ${answerFormats.join(', ')}`);
  return format;
}

/** `?source=v8`: the JavaScript heap in place of jemalloc's. */
export function isV8Source(query: Query): boolean {
  const text = given(query, 'source') ?? 'jemalloc';
  if (text !== 'v8' && text !== 'jemalloc') throw badRequest('source must be v8 or jemalloc');
  return text === 'v8';
}

/** One value, or undefined. Throws BAD_REQUEST when there are several. */
export function given(query: Query, name: string): string | undefined {
  const value = query[name];
  if (Array.isArray(value)) throw badRequest(`${name} is given more than once`);
  return value;
}

/** NaN for anything but digits, with a fraction or without. */
function numberOf(text: string): number {
  return /^-?\d{1,9}(\.\d{1,9})?$/.test(text) ? Number(text) : NaN;
}

function badRequest(message: string): BinnacleError {
  return new BinnacleError('BAD_REQUEST', message);
}
