import { expect, test } from '@jest/globals';
import { emptyCatalog, parseCatalog, withAlias, withFields, withMetadata, withoutDropped, withoutTable, withTable, type CatalogDocument } from './catalog-document.js';
import { parseNewTable } from './schema-check.js';
import type { Table } from './schema.js';

const fields = [{ name: 'title', type: 'string' }];
const facts = { writeNode: 's0', createdAtS: 1, idFloor: 1 };
const add = (catalog: CatalogDocument, name: string, idFloor = 1) => withTable(catalog, parseNewTable({ name, fields }), { ...facts, idFloor });

test('ids only grow, also past those of rows whose catalog was lost', () => {
  const two = add(add(emptyCatalog, 'a'), 'b');
  const [, b] = two.tables as [Table, Table];
  const dropped = withoutTable(two, b);
  expect(add(dropped, 'c').tables.map(({ name, id }) => [name, id])).toEqual([['a', 1], ['c', 3]]);
  expect(add(emptyCatalog, 'd', 8).tables[0]?.id).toBe(8);
});

test('a dropped table stays on the list of its write node until its rows are gone', () => {
  const one = add(emptyCatalog, 'a');
  const dropped = withoutTable(one, one.tables[0] as Table);
  expect(dropped).toMatchObject({ tables: [], dropped: [{ id: 1, writeNode: 's0' }] });
  expect(withoutTable(dropped, one.tables[0] as Table)).toBe(dropped);
  expect(withoutDropped(dropped, new Set([1])).dropped).toEqual([]);
});

test('a name belongs to one collection or alias', () => {
  const catalog = withAlias(add(emptyCatalog, 'a'), { name: 'x', table: 'not there yet' });
  expect(() => add(catalog, 'a')).toThrow('A collection with name `a` already exists.');
  expect(() => add(catalog, 'x')).toThrow('An alias with name `x` already exists.');
  expect(() => withAlias(catalog, { name: 'a', table: 'a' })).toThrow('Name `a` conflicts with an existing collection name.');
  expect(withAlias(catalog, { name: 'x', table: 'a' }).aliases).toEqual([{ name: 'x', table: 'a' }]);
});

test('changing the fields raises the version of the schema', () => {
  const one = add(emptyCatalog, 'a');
  expect(withFields(one, 1, ({ fields: before }) => before).tables[0]?.schemaVersion).toBe(2);
});

test('metadata is replaced and leaves the version of the schema alone: nothing is indexed again', () => {
  const once = withMetadata(add(emptyCatalog, 'a'), 1, { batch: 7, at: 'noon' });
  expect(withMetadata(once, 1, { batch: 8 }).tables[0]).toMatchObject({ schemaVersion: 1, metadata: { batch: 8 } });
  expect(() => withMetadata(once, 2, {})).toThrow('Collection not found');
});

test('a catalog that would not fit into cluster state is refused with what to do', () => {
  const many = Array.from({ length: 500 }, (_, index) => ({ name: `${'f'.repeat(200)}${index}`, type: 'string' }));
  const large = parseNewTable({ name: 'large', fields: many });
  const fill = (): void => {
    let catalog: CatalogDocument = emptyCatalog;
    for (let index = 0; index < 100; index++) catalog = withTable(catalog, { ...large, name: `t${index}` }, facts);
  };
  expect(fill).toThrow('The schemas of all collections and aliases together exceed 1 MiB');
});

test.each(['null', '7', '{}', '{"nextTableId":1,"tables":{},"aliases":[],"dropped":[]}', 'x'])('%s is no catalog', (text) => {
  expect(() => parseCatalog(text)).toThrow();
});

test('a catalog survives being stored', () => {
  const catalog = withAlias(add(emptyCatalog, 'a'), { name: 'x', table: 'a' });
  expect(parseCatalog(JSON.stringify(catalog))).toEqual(catalog);
});
