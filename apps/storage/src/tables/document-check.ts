import { BinnacleError } from '@binnacle/contracts/errors';
import { isJsonObject, isRawNumber, type Json, type JsonObject } from './json.js';
import type { Field, FieldType, Table } from './schema.js';

/** What becomes of a value that is not of its field's type. Only what loses nothing is coerced. */
export const dirtyValues = ['coerce_or_reject', 'coerce_or_drop', 'drop', 'reject'] as const;
export type DirtyValues = (typeof dirtyValues)[number];

export interface DocumentCheck {
  readonly dirtyValues: DirtyValues;
  /** Fields may be absent: the document is a patch. */
  readonly isPatch: boolean;
}

/** What of a table a document is checked against. */
export type CheckedTable = Pick<Table, 'fields' | 'defaultSortingField' | 'enableNestedFields'>;

const whole: DocumentCheck = { dirtyValues: 'reject', isPatch: false };

/**
 * Checks a document against the fields of its table; values are coerced, and dropped, in place. Fields the table does not have are kept
 * as they are. Throws BAD_REQUEST in Typesense's words.
 */
export function checkDocument(table: CheckedTable, document: JsonObject, check: DocumentCheck = whole): void {
  for (const field of table.fields) {
    const isFound = checkField(field, document, table.enableNestedFields, check);
    if (isFound || field.optional || check.isPatch) continue;
    throw badRequest(
      field.name === table.defaultSortingField
        ? `Field \`${field.name}\` has been declared as a default sorting field, but is not found in the document.`
        : `Field \`${field.name}\` has been declared in the schema, but is not found in the document.`,
    );
  }
}

function checkField(field: Field, document: JsonObject, isNested: boolean, check: DocumentCheck): boolean {
  if (Object.hasOwn(document, field.name)) return checkMember(field, document, field.name, false, check);
  if (!isNested || !field.name.includes('.')) return false;
  return checkPath(field, document, field.name.split('.'), false, check);
}

/** Follows the path of a nested field, into every element of the arrays on its way. False when nothing is there. */
function checkPath(field: Field, object: JsonObject, [name = '', ...rest]: readonly string[], isInArray: boolean, check: DocumentCheck): boolean {
  if (!Object.hasOwn(object, name)) return false;
  if (rest.length === 0) return checkMember(field, object, name, isInArray, check);
  const value = object[name] as Json;
  if (!Array.isArray(value)) return isJsonObject(value) && checkPath(field, value, rest, isInArray, check);
  let isFound = false;
  for (const element of value) if (isJsonObject(element) && checkPath(field, element, rest, true, check)) isFound = true;
  return isFound;
}

function checkMember(field: Field, object: JsonObject, name: string, isInArray: boolean, check: DocumentCheck): boolean {
  const value = object[name] as Json;
  if (value === null && field.optional) {
    // In a patch it says that the field is to be removed.
    if (!check.isPatch) delete object[name];
    return true;
  }
  const checked = checkedValue(field, value, isInArray, check);
  if (checked === dropped) delete object[name];
  else if (checked !== value) object[name] = checked;
  return true;
}

const dropped = Symbol('dropped');
const bad = Symbol('bad');

function checkedValue(field: Field, value: Json, isInArray: boolean, check: DocumentCheck): Json | typeof dropped {
  const { type } = field;
  if (!type.endsWith('[]')) {
    if (isInArray) {
      throw badRequest(`Field \`${field.name}\` has an incorrect type. Hint: field inside an array of objects must be an array type as well.`);
    }
    return checkedScalar(field, type, value, check, `must be ${nameOf[type]}.`);
  }
  const elementType = type.slice(0, -2) as FieldType;
  const mismatch = `must be an array of ${elementType}.`;
  // Inside an array of objects each of them may bring one value or several.
  if (!Array.isArray(value)) return isInArray ? checkedScalar(field, elementType, value, check, mismatch) : refused(field, 'must be an array.', check);
  let kept = 0;
  for (const element of value) {
    const checked = checkedScalar(field, elementType, element, check, mismatch);
    if (checked !== dropped) value[kept++] = checked;
  }
  value.length = kept;
  return value;
}

function checkedScalar(field: Field, type: FieldType, value: Json, check: DocumentCheck, mismatch: string): Json | typeof dropped {
  if (hasType(type, value)) return value;
  if (check.dirtyValues.startsWith('coerce')) {
    const coerced = coercedTo(type, value);
    if (coerced !== bad) return coerced;
  }
  return refused(field, type === 'int32' && isInteger(value) ? 'exceeds maximum value of int32.' : mismatch, check);
}

function refused(field: Field, mismatch: string, { dirtyValues: wanted }: DocumentCheck): typeof dropped {
  if (field.optional && wanted.endsWith('drop')) return dropped;
  throw badRequest(`Field \`${field.name}\` ${mismatch}`);
}

const nameOf: Readonly<Record<string, string>> = {
  string: 'a string',
  int32: 'an int32',
  int64: 'an int64',
  float: 'a float',
  bool: 'a bool',
  object: 'an object',
};

const int32Max = 2 ** 31 - 1;
const int64Max = 2n ** 63n - 1n;

function hasType(type: FieldType, value: Json): boolean {
  switch (type) {
    case 'string':
      return typeof value === 'string';
    case 'bool':
      return typeof value === 'boolean';
    case 'float':
      return typeof value === 'number' || isRawNumber(value);
    case 'int32':
      return typeof value === 'number' && Number.isInteger(value) && value <= int32Max && value >= -int32Max - 1;
    case 'int64':
      return Number.isSafeInteger(value) || (isRawNumber(value) && isInt64(BigInt(value.rawJSON)));
    default:
      return isJsonObject(value);
  }
}

function isInteger(value: Json): boolean {
  return Number.isInteger(value) || isRawNumber(value);
}

function isInt64(value: bigint): boolean {
  return value <= int64Max && value >= -int64Max - 1n;
}

/** The value as the type says it, or `bad` where something would be lost. */
function coercedTo(type: FieldType, value: Json): Json | typeof bad {
  switch (type) {
    case 'string':
      if (isRawNumber(value)) return value.rawJSON;
      return typeof value === 'number' || typeof value === 'boolean' ? String(value) : bad;
    case 'bool':
      if (value === 1 || value === 'true') return true;
      return value === 0 || value === 'false' ? false : bad;
    case 'float':
      return typeof value === 'string' && /^-?\d{1,15}(\.\d+)?$/.test(value) ? Number(value) : fromBoolean(value);
    case 'int32':
    case 'int64': {
      const number = typeof value === 'string' && /^-?\d{1,15}$/.test(value) ? Number(value) : fromBoolean(value);
      return number !== bad && hasType(type, number) ? number : bad;
    }
    default:
      return bad;
  }
}

function fromBoolean(value: Json): number | typeof bad {
  return typeof value === 'boolean' ? Number(value) : bad;
}

function badRequest(message: string): BinnacleError {
  return new BinnacleError('BAD_REQUEST', message);
}
