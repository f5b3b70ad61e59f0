import { expect, test } from '@jest/globals';
import { emptyCatalog, parseCatalog, withAlias, withFields, withMetadata, withoutDropped, withoutTable, withTable, type CatalogDocument } from './catalog-document.js';
import { parseNewTable } from './schema-check.js';
import type { Table } from './schema.js';

const fields = [{ name: 'title', type: 'string' }];
const facts = { place: () => ['s0'], createdAtS: 1, idFloor: 1 };
const add = (catalog: CatalogDocument, name: string, idFloor = 1) => withTable(catalog, parseNewTable({ name, fields }), { ...facts, idFloor });

test('ids only grow, also past those of rows whose catalog was lost', () => {
  const two = add(add(emptyCatalog, 'a'), 'b');
  const [, b] = two.tables as [Table, Table];
  const dropped = withoutTable(two, b);
  expect(add(dropped, 'c').tables.map(({ name, id }) => [name, id])).toEqual([['a', 1], ['c', 3]]);
  expect(add(emptyCatalog, 'd', 8).tables[0]?.id).toBe(8);
});

test('a dropped table stays on the list until every node that has rows of it has removed them', () => {
  const [first, second] = [{ id: 256, writeNode: 's0', term: 3, leftAt: ['s2', 's1'] }, { id: 257, writeNode: 's1', term: 1 }];
  const one = add(emptyCatalog, 'a');
  const table = { ...(one.tables[0] as Table), regions: [first, second] };
  const dropped = withoutTable({ ...one, tables: [table] }, table);
  expect(dropped).toMatchObject({ tables: [], dropped: [{ id: 1, nodes: ['s0', 's1', 's2'] }] });
  expect(withoutTable(dropped, table)).toBe(dropped);
  expect(withoutDropped(dropped, new Set([1]), 's1').dropped).toEqual([{ id: 1, nodes: ['s0', 's2'] }]);
  expect(['s2', 's1', 's0'].reduce((catalog, node) => withoutDropped(catalog, new Set([1]), node), dropped).dropped).toEqual([]);
});

test('regions are numbered throughout the cluster and placed knowing what the others have', () => {
  const two = withTable(add(emptyCatalog, 'a'), parseNewTable({ name: 'b', fields }), { ...facts, place: (tables) => ['s1', `after ${tables.length}`] });
  expect(two.tables[1]?.regions).toEqual([
    { id: 512, writeNode: 's1', term: 1 },
    { id: 513, writeNode: 'after 1', term: 1 },
  ]);
});

test('a stored catalog from before there were regions has one on the write node of each table', () => {
  const { regions, ...old } = add(emptyCatalog, 'a').tables[0] as Table;
  const stored = { ...emptyCatalog, tables: [{ ...old, writeNode: 's9' }], dropped: [{ id: 7, writeNode: 's8' }] };
  const read = parseCatalog(JSON.stringify(stored));
  expect(read.tables).toEqual([{ ...old, regions: [{ ...regions[0], writeNode: 's9' }] }]);
  expect(read.dropped).toEqual([{ id: 7, nodes: ['s8'] }]);
  expect(parseCatalog(JSON.stringify(read))).toEqual(read);
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
