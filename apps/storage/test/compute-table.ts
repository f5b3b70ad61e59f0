import { regionId } from '../src/regions/region.js';
import type { Field, FieldType, Table } from '../src/tables/schema.js';

/** `string facet sort`: the type and what else the field is for. */
export function computeTable(id: number, fields: Record<string, string>, regionCount = 2, more: Partial<Table> = {}): Table {
  const parsed = Object.entries(fields).map(([name, text]): Field => {
    const [type, ...words] = text.split(' ');
    const has = (word: string): boolean => words.includes(word);
    return { name, type: type as FieldType, optional: true, index: !has('unindexed'), facet: has('facet'), sort: has('sort') };
  });
  const regions = Array.from({ length: regionCount }, (_, index) => ({ id: regionId(id, index), writeNode: 'n1', term: 1 }));
  return { id, keyspace: 0, name: `table${id}`, fields: parsed, defaultSortingField: '', enableNestedFields: true, tokenSeparators: [], createdAtS: 0, schemaVersion: 1, regions, ...more };
}
