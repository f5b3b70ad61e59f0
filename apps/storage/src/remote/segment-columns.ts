import type { Field, FieldType } from '../tables/schema.js';
import { deletedColumn, documentColumn, handleColumn, type SegmentColumn, versionColumn } from './manifest.js';

/** While fields are taken out of documents; in no file. */
export const plainColumn = '_plain';

const reservedColumns = [handleColumn, versionColumn, deletedColumn, documentColumn, plainColumn];

/**
 * The columns that the fields of a table get in a segment, in their order. A field keeps its name unless that is taken: by what every segment has
 * (`_handle`...) or by a field before it, upper and lower case being the same. Then a number is put behind it, the first from 2 on that is free.
 */
export function columnsOf(fields: readonly Pick<Field, 'name' | 'type'>[]): SegmentColumn[] {
  const taken = new Set(reservedColumns);
  // A field's own name goes first to the field that has it, whatever is made up for others.
  const own = new Set(fields.map(({ name }) => name.toLowerCase()));
  return fields.map(({ name, type }) => {
    let column = name;
    for (let number = 2; taken.has(column.toLowerCase()) || (number > 2 && own.has(column.toLowerCase())); number++) column = `${name}_${number}`;
    taken.add(column.toLowerCase());
    return { name, type, column };
  });
}

/** In DuckDB's words. An object is there as JSON text. */
export function sqlTypeOf(type: FieldType): string {
  if (type.endsWith('[]')) return `${sqlTypeOf(type.slice(0, -2) as FieldType)}[]`;
  const types: Partial<Record<FieldType, string>> = { int32: 'INTEGER', int64: 'BIGINT', float: 'DOUBLE', bool: 'BOOLEAN' };
  return types[type] ?? 'VARCHAR';
}
