import { BinnacleError } from '@binnacle/contracts/errors';

/** A JSON value. A number that JavaScript cannot hold exactly is a `RawNumber`, so that every int64 survives. */
export type Json = null | boolean | number | string | RawNumber | Json[] | JsonObject;
export interface JsonObject {
  [name: string]: Json;
}
/** What `JSON.rawJSON` makes: the digits as they were sent. */
export interface RawNumber {
  readonly rawJSON: string;
}

/** The language has them (ECMAScript's JSON.parse source text access); the type library of its edition does not. */
interface JsonWithSource {
  parse(text: string, reviver: (this: unknown, key: string, value: unknown, context: { source?: string }) => unknown): unknown;
  rawJSON(text: string): RawNumber;
  isRawJSON(value: unknown): value is RawNumber;
}
const json = JSON as unknown as JsonWithSource;

/** How deep a document may nest; deeper ones are of use to nobody, and everything that walks them recurses. */
export const nestingMax = 100;

/** A number with that many digits, or that large an exponent, may not be exact; nobody else pays for the slow way. */
const longNumber = /\d{16}|\d[eE]\+?\d{3}/;

/** Reads JSON text. Throws BAD_REQUEST in Typesense's words, and for what nests too deep. */
export function parseJson(text: string): Json {
  const value = parseAny(text);
  if (!isShallow(value, nestingMax)) throw new BinnacleError('BAD_REQUEST', `Bad JSON: it nests deeper than ${nestingMax} levels.`);
  return value;
}

function parseAny(text: string): Json {
  try {
    if (!longNumber.test(text)) return JSON.parse(text) as Json;
    return json.parse(text, (_key, value, { source = '' }) => (typeof value === 'number' ? exactNumber(value, source) : value)) as Json;
  } catch (error) {
    if (error instanceof BinnacleError) throw error;
    throw new BinnacleError('BAD_REQUEST', `Bad JSON: ${(error as Error).message}`, { cause: error });
  }
}

function exactNumber(value: number, source: string): number | RawNumber {
  if (!Number.isFinite(value)) throw new BinnacleError('BAD_REQUEST', 'Bad JSON: a number is too large.');
  const isWhole = /^-?\d+$/.test(source);
  return isWhole && !Number.isSafeInteger(value) ? json.rawJSON(source) : value;
}

/** The text of a value, on one line. Its numbers are those that were sent. */
export function jsonBytes(value: Json): Buffer {
  return Buffer.from(JSON.stringify(value));
}

export function isRawNumber(value: Json): value is RawNumber {
  return typeof value === 'object' && json.isRawJSON(value);
}

export function isJsonObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !json.isRawJSON(value);
}

function isShallow(value: Json, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return true;
  if (levels === 0) return false;
  if (Array.isArray(value)) return value.every((element) => isShallow(element, levels - 1));
  for (const name in value) if (!isShallow((value as JsonObject)[name] as Json, levels - 1)) return false;
  return true;
}

/** `patch` applied to `target` as a JSON merge patch (RFC 7396): objects are merged, null removes, everything else replaces. */
export function mergePatch(target: Json | undefined, patch: Json): Json {
  if (!isJsonObject(patch)) return patch;
  // Spread, not assignment: a key `__proto__` is a key like any other.
  const merged: JsonObject = isJsonObject(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete merged[name];
    else define(merged, name, mergePatch(Object.hasOwn(merged, name) ? merged[name] : undefined, value));
  }
  return merged;
}

function define(object: JsonObject, name: string, value: Json): void {
  if (name !== '__proto__') object[name] = value;
  else Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true });
}
