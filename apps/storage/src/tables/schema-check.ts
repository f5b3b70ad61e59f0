import { BinnacleError } from '@binnacle/contracts/errors';
import type { NewTable } from './catalog-document.js';
import { fieldTypes, isNumeric, isObject, type Field, type FieldType, type Metadata, type Table } from './schema.js';

/** Formula: a field takes about 100 bytes in the catalog, which has 1 MiB for all tables. */
export const fieldsMax = 500;
const fieldNameBytesMax = 255;
const tableNameBytesMax = 255;
/** Levels of a nested field's name. */
const nestingMax = 32;

type Properties = Readonly<Record<string, unknown>>;

/** Properties of Typesense's fields that change nothing while they have these values, which SDKs send along. */
const withoutEffect: Readonly<Record<string, readonly unknown[]>> = {
  infix: [false],
  locale: ['', 'en'],
  stem: [false],
  range_index: [true, false],
  store: [true],
  nested: [true, false],
  nested_array: [0, 1, 2],
  num_dim: [0],
  reference: [''],
  symbols_to_index: [],
  token_separators: [],
};
const booleanProperties = ['facet', 'optional', 'index', 'sort'] as const;

/** The body of `POST /collections`. Throws BAD_REQUEST in Typesense's words. */
export function parseNewTable(body: unknown): NewTable {
  if (!isObjectBody(body)) throw badRequest('Bad JSON.');
  if (body.name === undefined) throw badRequest('Parameter `name` is required.');
  const name = checkedName(body.name, 'collection', tableNameBytesMax);
  if (body.fields === undefined) throw badRequest('Parameter `fields` is required.');
  const enableNestedFields = body.enable_nested_fields ?? false;
  if (typeof enableNestedFields !== 'boolean') throw badRequest('`enable_nested_fields` should be a boolean.');
  if (!Array.isArray(body.fields) || body.fields.length === 0) {
    throw badRequest('The `fields` value should be an array of objects containing `name`, `type` and optionally, `facet` properties.');
  }
  const fields = parseFields(body.fields, enableNestedFields);
  const tokenSeparators = characters(body, 'token_separators');
  if (characters(body, 'symbols_to_index').length > 0) throw notSupported('`symbols_to_index`: letters and digits are indexed, nothing else');
  const metadata = metadataOf(body);
  return { name, fields, defaultSortingField: defaultSortingField(body, fields), enableNestedFields, tokenSeparators, ...(metadata && { metadata }) };
}

function metadataOf({ metadata }: Properties): Metadata | undefined {
  if (metadata !== undefined && !isObjectBody(metadata)) throw badRequest('The `metadata` value should be an object.');
  return metadata;
}

function defaultSortingField(body: Properties, fields: readonly Field[]): string {
  const name = body.default_sorting_field ?? '';
  if (typeof name !== 'string') {
    throw badRequest('`default_sorting_field` should be a string. It should be the name of an int32/float field.');
  }
  if (name === '') return name;
  const field = fields.find((candidate) => candidate.name === name);
  if (field === undefined) throw badRequest(`Default sorting field is defined as \`${name}\` but is not found in the schema.`);
  if (!isNumeric(field.type)) throw badRequest(`Default sorting field \`${name}\` must be a single valued numerical field.`);
  if (field.optional) throw badRequest(`Default sorting field \`${name}\` cannot be an optional field.`);
  return name;
}

function characters(body: Properties, name: string): readonly string[] {
  const list = body[name] ?? [];
  const isList = Array.isArray(list) && list.length <= 64 && list.every((item) => typeof item === 'string' && item.length === 1);
  if (!isList) throw badRequest(`\`${name}\` should be an array of character symbols.`);
  return list as string[];
}

/** What a PATCH of a collection asks for. */
export interface TableChanges extends FieldChanges {
  readonly metadata: Metadata | undefined;
}

export interface FieldChanges {
  readonly dropped: readonly string[];
  readonly added: readonly Field[];
}

const changeable: ReadonlySet<string> = new Set(['fields', 'metadata']);

/** The body of `PATCH /collections/:collection` for the table as it is now. Throws BAD_REQUEST in Typesense's words. */
export function parseTableChanges(body: unknown, table: Table): TableChanges {
  if (!isObjectBody(body)) throw badRequest('Bad JSON.');
  const names = Object.keys(body);
  if (names.length === 0) throw badRequest('Alter payload is empty.');
  if (names.some((name) => !changeable.has(name))) throw badRequest('Only `fields` and `metadata` can be updated at the moment.');
  const changes = body.fields === undefined ? { dropped: [], added: [] } : parseFieldChanges(body.fields, table);
  return { ...changes, metadata: metadataOf(body) };
}

function parseFieldChanges(list: unknown, table: Table): FieldChanges {
  if (!Array.isArray(list) || list.length === 0) {
    throw badRequest('The `fields` value should be an array of objects containing the field `name` and other properties.');
  }
  const dropped = list.filter(isDrop).map((item) => droppedName(item, table));
  const added = list.some((item) => !isDrop(item)) ? parseFields(list.filter((item) => !isDrop(item)), table.enableNestedFields) : [];
  for (const { name } of added) {
    if (table.fields.some((field) => field.name === name) && !dropped.includes(name)) {
      throw badRequest(`Field \`${name}\` is already part of the schema: To change this field, drop it first before adding it back to the schema.`);
    }
  }
  if (dropped.includes(table.defaultSortingField) && !added.some(({ name }) => name === table.defaultSortingField)) {
    throw badRequest(`Field \`${table.defaultSortingField}\` is the default sorting field and cannot be dropped.`);
  }
  return { dropped, added };
}

function isDrop(item: unknown): boolean {
  return isObjectBody(item) && 'drop' in item;
}

function droppedName(item: Properties, table: Table): string {
  const { name } = item;
  if (typeof name !== 'string') {
    throw badRequest('The `fields` value should be an array of objects containing the field `name` and other properties.');
  }
  if (!table.fields.some((field) => field.name === name)) throw badRequest(`Field \`${name}\` is not part of collection schema.`);
  if (item.drop !== true) throw badRequest(`Field \`${name}\` must have a drop value of \`true\`.`);
  return name;
}

/** The table's fields after the changes. Throws BAD_REQUEST when they are no schema. */
export function changedFields(table: Table, { dropped, added }: FieldChanges): readonly Field[] {
  const fields = [...table.fields.filter(({ name }) => !dropped.includes(name)), ...added];
  if (new Set(fields.map(({ name }) => name)).size < fields.length) throw badRequest('There are duplicate field names in the schema.');
  if (fields.length > fieldsMax) throw badRequest(`A collection has at most ${fieldsMax} fields.`);
  defaultSortingField({ default_sorting_field: table.defaultSortingField }, fields);
  return fields;
}

function parseFields(list: readonly unknown[], enableNestedFields: boolean): readonly Field[] {
  if (list.length > fieldsMax) throw badRequest(`A collection has at most ${fieldsMax} fields.`);
  const fields = list.map((item) => parseField(item, enableNestedFields)).filter((field) => field !== undefined);
  if (new Set(fields.map(({ name }) => name)).size < fields.length) throw badRequest('There are duplicate field names in the schema.');
  return fields;
}

/** Undefined for `id`, which every table has. */
function parseField(item: unknown, enableNestedFields: boolean): Field | undefined {
  if (!isObjectBody(item) || typeof item.name !== 'string' || typeof item.type !== 'string') {
    throw badRequest('Wrong format for `fields`. It should be an array of objects containing `name`, `type`, `optional` and `facet` properties.');
  }
  const name = checkedName(item.name, 'field', fieldNameBytesMax);
  if (name === 'id') return undefined;
  for (const property of booleanProperties) {
    if (item[property] !== undefined && typeof item[property] !== 'boolean') {
      throw badRequest(`The \`${property}\` property of the field \`${name}\` should be a boolean.`);
    }
  }
  refuseUnsupported(item, name);
  const type = fieldType(item.type, name, enableNestedFields);
  const given = item as Partial<Record<(typeof booleanProperties)[number], boolean>>;
  const { facet = false, optional = false, index = true, sort = isNumeric(type) || type === 'bool' } = given;
  if (facet && !index) throw badRequest(`Field \`${name}\` cannot be a facet since it's marked as non-indexable.`);
  return { name, type, optional, facet, index, sort };
}

function fieldType(type: string, name: string, enableNestedFields: boolean): FieldType {
  if (name.includes('*') || type === 'auto' || type === 'string*') {
    throw notSupported(`field \`${name}\` of type \`${type}\`: types are not detected from documents, so name every field with its type`);
  }
  const known = fieldTypes.find((candidate) => candidate === type);
  if (known === undefined) {
    throw badRequest(`Field \`${name}\` has an invalid data type \`${type}\`: the supported ones are ${fieldTypes.join(', ')}.`);
  }
  if (isObject(known) && !enableNestedFields) {
    throw badRequest('Type `object` or `object[]` can be used only when nested fields are enabled by setting` enable_nested_fields` to true.');
  }
  return known;
}

/** What would be ignored in silence is refused instead. */
function refuseUnsupported(item: Properties, name: string): void {
  for (const [property, value] of Object.entries(item)) {
    if (property === 'name' || property === 'type' || booleanProperties.some((known) => known === property)) continue;
    if (property === 'drop') throw badRequest(`Invalid property \`drop\` on field \`${name}\`: it is allowed only during schema update.`);
    const isHarmless = withoutEffect[property]?.includes(value) || (Array.isArray(value) && value.length === 0) || value === null;
    if (!isHarmless) throw notSupported(`the property \`${property}\` of the field \`${name}\``);
  }
}

/** No control characters; what is left of Unicode may name a thing. `__proto__` is none in JavaScript. */
function checkedName(name: unknown, what: string, bytesMax: number): string {
  if (typeof name !== 'string' || name === '') throw badRequest('Parameter `name` must be a non-empty string.');
  if (Buffer.byteLength(name) > bytesMax) throw badRequest(`The name of a ${what} has at most ${bytesMax} bytes.`);
  if (/[\u0000-\u001f\u007f]/.test(name) || /\p{Surrogate}/u.test(name)) throw badRequest(`The name of a ${what} has no control characters.`);
  const parts = name.split('.');
  if (parts.includes('__proto__') || (what === 'field' && parts.length > nestingMax)) throw badRequest(`\`${name}\` cannot be the name of a ${what}.`);
  return name;
}

export function checkedAliasName(name: string): string {
  return checkedName(name, 'alias', tableNameBytesMax);
}

function isObjectBody(value: unknown): value is Properties {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function notSupported(what: string): BinnacleError {
  return badRequest(`Not supported here: ${what}. Binnacle stores tables; for this use Typesense itself.`);
}

function badRequest(message: string): BinnacleError {
  return new BinnacleError('BAD_REQUEST', message);
}
