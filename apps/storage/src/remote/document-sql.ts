import type { FieldType } from '../tables/schema.js';
import { documentColumn, type SegmentColumn } from './manifest.js';
import { plainColumn, sqlTypeOf } from './segment-columns.js';

/*
 * Takes the fields out of the text of documents, in DuckDB: what a field has is the value of its type that the document has there, digit by digit; of
 * another type (the document is older than the field) it is null. DuckDB keeps numbers as text until they are cast, so no int64 passes through a double.
 */

/** Plain fields of one row in one pass over its document, as a list of JSON values; see `fieldExpressions`. Null for a text DuckDB cannot read: half a surrogate pair. */
export function plainValues(columns: readonly SegmentColumn[], document = documentColumn): string {
  const plain = columns.filter(({ name }) => !name.includes('.'));
  // Of an empty list of paths DuckDB does not know the type.
  if (plain.length === 0) return 'NULL::JSON[]';
  return `TRY(json_extract(${document}, [${plain.map(({ name }) => pointer(name)).join(', ')}]))`;
}

/** `expression AS "column"` of each, over a row that has the document and, as `plainColumn`, what `plainValues` gave. */
export function fieldExpressions(columns: readonly SegmentColumn[], document = documentColumn): string[] {
  let plainCount = 0;
  return columns.map(({ name, type, column }) => {
    const expression = name.includes('.') ? nested(name, type, document) : single(`${plainColumn}[${++plainCount}]`, type);
    return `${expression} AS ${quoted(column)}`;
  });
}

/** The column of a field out of the JSON value it has. A single value counts as a list of one, as in the search index. */
function single(value: string, type: FieldType): string {
  if (!type.endsWith('[]')) return scalar(value, type);
  const element = type.slice(0, -2) as FieldType;
  return `CASE WHEN starts_with(${value}, '[') THEN ${typedList(`TRY_CAST(${value} AS JSON[])`, element)} ELSE ${unlessEmpty(typedList(`[${value}]`, element), element)} END`;
}

/** A field inside objects. The path may lead through arrays of them: then it has several values, and a field that is no list gets the first one of its type. */
function nested(path: string, type: FieldType, document: string): string {
  const isList = type.endsWith('[]');
  const element = (isList ? type.slice(0, -2) : type) as FieldType;
  const list = typedList(valuesAt(`TRY_CAST(${document} AS JSON)`, path, 0), element);
  return isList ? unlessEmpty(list, element) : `${list}[1]`;
}

/** Every value at a path, as a list of JSON values. A field whose name has the dots itself wins. */
function valuesAt(object: string, path: string, depth: number): string {
  const whole = `json_extract(${object}, ${pointer(path)})`;
  const dot = path.indexOf('.');
  if (dot < 0) return elements(whole);
  const element = `e${depth}`;
  const inner = `flatten(list_transform(${elements(`json_extract(${object}, ${pointer(path.slice(0, dot))})`)}, lambda ${element}: ${valuesAt(element, path.slice(dot + 1), depth + 1)}))`;
  return `CASE WHEN ${whole} IS NOT NULL THEN ${elements(whole)} ELSE ${inner} END`;
}

/** Of an array; else the value as a list of one; of none an empty list. */
function elements(value: string): string {
  return `CASE WHEN ${value} IS NULL THEN []::JSON[] WHEN starts_with(${value}, '[') THEN TRY_CAST(${value} AS JSON[]) ELSE [${value}] END`;
}

/** Those of the type. */
function typedList(list: string, type: FieldType): string {
  return `list_filter(list_transform(${list}, lambda v: ${scalar('v', type)}), lambda v: v IS NOT NULL)`;
}

/** Null where the document has no such field, or nothing of the type in it. */
function unlessEmpty(list: string, type: FieldType): string {
  return `nullif(${list}, []::${sqlTypeOf(type)}[])`;
}

function scalar(value: string, type: FieldType): string {
  switch (type) {
    case 'string':
      return `CASE WHEN starts_with(${value}, '"') THEN ${value} ->> '$' END`;
    case 'bool':
      return `CASE ${value}::VARCHAR WHEN 'true' THEN true WHEN 'false' THEN false END`;
    case 'float':
      return `TRY_CAST(${value}::VARCHAR AS DOUBLE)`;
    case 'int32':
    case 'int64':
      // A cast would round what has a fraction.
      return `CASE WHEN NOT contains(${value}, '.') AND NOT contains(${value}, 'e') THEN TRY_CAST(${value}::VARCHAR AS ${sqlTypeOf(type)}) END`;
    default:
      return `CASE WHEN starts_with(${value}, '{') THEN ${value}::VARCHAR END`;
  }
}

/** A JSON pointer as an SQL literal; a JSON path cannot hold every name. */
function pointer(name: string): string {
  return literal(`/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`);
}

export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
