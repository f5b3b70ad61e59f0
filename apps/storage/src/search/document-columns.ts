import { isJsonObject, isRawNumber, parseJson, type Json } from '../tables/json.js';
import type { Column, TableLayout } from './table-layout.js';

export interface DocumentColumns {
  /** In the order of the layout's columns. */
  readonly values: readonly (string | number | bigint | null)[];
  /** In the order of those columns that hold text. */
  readonly words: readonly string[];
}

/** A document, as JSON text, as the index holds it. Values of another type than the field's are left out: they are older than the field. */
export function documentColumns(layout: TableLayout, text: string): DocumentColumns {
  const document = parseJson(text);
  const values: (string | number | bigint | null)[] = [];
  const words: string[] = [];
  for (const column of layout.columns) {
    const found = valuesAt(document, column.field).map((value) => columnValue(column, value)).filter((value) => value !== undefined);
    values.push(column.isArray ? arrayText(found) : (found[0] ?? null));
    // The line break keeps the last word of one value and the first of the next apart.
    if (column.words !== '') words.push(found.join('\n'));
  }
  return { values, words };
}

/** The values a document has at a path with dots, of every element of an array one by one. A field whose name has the dots itself wins. */
function valuesAt(document: Json, path: string): Json[] {
  if (!isJsonObject(document)) return [];
  if (Object.hasOwn(document, path)) return elementsOf(document[path] as Json);
  const dot = path.indexOf('.');
  const head = path.slice(0, dot);
  if (dot < 0 || !Object.hasOwn(document, head)) return [];
  return elementsOf(document[head] as Json).flatMap((element) => valuesAt(element, path.slice(dot + 1)));
}

function elementsOf(value: Json): Json[] {
  return Array.isArray(value) ? value : [value];
}

function columnValue({ type }: Column, value: Json): string | number | bigint | undefined {
  if (type.startsWith('string')) return typeof value === 'string' ? value : undefined;
  if (type.startsWith('bool')) return typeof value === 'boolean' ? Number(value) : undefined;
  if (type.startsWith('float')) return typeof value === 'number' ? value : isRawNumber(value) ? Number(value.rawJSON) : undefined;
  if (isRawNumber(value)) return int64(BigInt(value.rawJSON));
  return Number.isSafeInteger(value) ? (value as number) : undefined;
}

function int64(value: bigint): bigint | undefined {
  return BigInt.asIntN(64, value) === value ? value : undefined;
}

/** JSON text; null when there is none. */
function arrayText(values: readonly (string | number | bigint)[]): string | null {
  if (values.length === 0) return null;
  return `[${values.map((value) => (typeof value === 'bigint' ? value.toString() : JSON.stringify(value))).join(',')}]`;
}
