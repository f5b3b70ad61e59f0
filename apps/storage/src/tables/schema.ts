import type { Region } from '../regions/region.js';

/** The types a field may have, in Typesense's names. */
export const fieldTypes = [
  'string',
  'int32',
  'int64',
  'float',
  'bool',
  'string[]',
  'int32[]',
  'int64[]',
  'float[]',
  'bool[]',
  'object',
  'object[]',
] as const;
export type FieldType = (typeof fieldTypes)[number];

/** One typed field of a table. `id`, the primary key, is a field of every table and never among these. */
export interface Field {
  /** With dots for a field inside an object (`address.city`), if the table has nested fields. */
  readonly name: string;
  readonly type: FieldType;
  /** A document may lack it, or have null there. */
  readonly optional: boolean;
  /** Counts by value may be asked for. */
  readonly facet: boolean;
  /** Can be searched and filtered; without it the field is only checked and stored. */
  readonly index: boolean;
  readonly sort: boolean;
}

export type Metadata = Readonly<Record<string, unknown>>;

/** A table, known to Typesense's clients as a collection. */
export interface Table {
  /** 1 to 2^32 - 1; never used again, not even after the table is dropped. */
  readonly id: number;
  /** The tenant; 0 by default. */
  readonly keyspace: number;
  readonly name: string;
  readonly fields: readonly Field[];
  /** Name of a required numeric field, or empty. */
  readonly defaultSortingField: string;
  readonly enableNestedFields: boolean;
  /** Kept for the client and otherwise without effect here: every character but letters and digits separates tokens. */
  readonly tokenSeparators: readonly string[];
  /** What the client wants to be told again; absent where it said nothing. */
  readonly metadata?: Metadata;
  readonly createdAtS: number;
  /** Grows with each change of the fields. */
  readonly schemaVersion: number;
  /** Hash ranges of its rows, equally wide, in their order; never empty. */
  readonly regions: readonly Region[];
}

/** A second name of a table. It may name a table that does not exist. */
export interface Alias {
  readonly name: string;
  readonly table: string;
}

export function isNumeric(type: FieldType): boolean {
  return type === 'int32' || type === 'int64' || type === 'float';
}

export function isObject(type: FieldType): boolean {
  return type === 'object' || type === 'object[]';
}
