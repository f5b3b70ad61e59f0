import { BinnacleError } from '@binnacle/contracts/errors';
import { regionId, writeNodesOf } from '../regions/region.js';
import type { Alias, Field, Metadata, Table } from './schema.js';

/** Key of the catalog in cluster state. */
export const catalogKey = 'tables';

/** All tables of the cluster; a value that is never changed, only replaced. */
export interface CatalogDocument {
  /** Larger than every id a table ever had. */
  readonly nextTableId: number;
  readonly tables: readonly Table[];
  readonly aliases: readonly Alias[];
  /** Tables that are gone but whose rows somebody has not removed yet. */
  readonly dropped: readonly DroppedTable[];
}

export interface DroppedTable {
  readonly id: number;
  /** Who still has to remove its rows: write nodes, present and former ones, and `remoteStoreHolder`. */
  readonly nodes: readonly string[];
}

/** Among the nodes of a dropped table: the remote store may have objects of it. No node has such an id. */
export const remoteStoreHolder = '*remote*';

export const emptyCatalog: CatalogDocument = { nextTableId: 1, tables: [], aliases: [], dropped: [] };

/** Formula: the document has 1 MiB in cluster state, and cluster state refuses one byte more with an error nobody would understand. */
const catalogBytesMax = 1024 * 1024 - 1024;
export const tablesMax = 4_096;
export const aliasesMax = 4_096;
const tableIdMax = 2 ** 32 - 1;

/** Reads the stored document. Throws on anything that is no catalog. A table from before there were regions has one, on its write node. */
export function parseCatalog(text: string): CatalogDocument {
  const document = JSON.parse(text) as Partial<CatalogDocument> | null;
  const isCatalog =
    typeof document?.nextTableId === 'number' && [document.tables, document.aliases, document.dropped].every((list) => Array.isArray(list));
  if (!isCatalog) throw new Error('the stored catalog of tables is none');
  const { tables, dropped, ...rest } = document as CatalogDocument;
  return { ...rest, tables: tables.map(withRegions), dropped: dropped.map(withNodes) };
}

function withRegions(table: Table & { readonly writeNode?: string }): Table {
  const { writeNode, ...kept } = table;
  return writeNode === undefined ? table : { ...kept, regions: [{ id: regionId(table.id, 0), writeNode, term: 1 }] };
}

function withNodes(dropped: DroppedTable & { readonly writeNode?: string }): DroppedTable {
  return dropped.writeNode === undefined ? dropped : { id: dropped.id, nodes: [dropped.writeNode] };
}

export function tableNamed(catalog: CatalogDocument, name: string): Table | undefined {
  return catalog.tables.find((table) => table.name === name);
}

/** What a client says of a new table. */
export type NewTable = Pick<Table, 'name' | 'fields' | 'defaultSortingField' | 'enableNestedFields' | 'tokenSeparators' | 'metadata'>;

export interface NewTableFacts {
  readonly createdAtS: number;
  /** The write nodes of its regions, in their order, given the tables there are. */
  readonly place: (tables: readonly Table[]) => readonly string[];
  /** Ids below it are in use by rows whose catalog may have been lost. */
  readonly idFloor: number;
}

export function withTable(catalog: CatalogDocument, table: NewTable, { createdAtS, place, idFloor }: NewTableFacts): CatalogDocument {
  if (tableNamed(catalog, table.name) !== undefined) {
    throw new BinnacleError('CONFLICT', `A collection with name \`${table.name}\` already exists.`);
  }
  if (catalog.aliases.some((alias) => alias.name === table.name)) {
    throw new BinnacleError('CONFLICT', `An alias with name \`${table.name}\` already exists.`);
  }
  if (catalog.tables.length >= tablesMax) throw new BinnacleError('BAD_REQUEST', `A cluster has at most ${tablesMax} collections.`);
  const id = Math.max(catalog.nextTableId, idFloor);
  if (id > tableIdMax) throw new BinnacleError('BAD_REQUEST', 'No number is left for another collection.');
  const regions = place(catalog.tables).map((writeNode, index) => ({ id: regionId(id, index), writeNode, term: 1 }));
  return checkedSize({ ...catalog, nextTableId: id + 1, tables: [...catalog.tables, { id, keyspace: 0, ...table, createdAtS, schemaVersion: 1, regions }] });
}

export function withFields(catalog: CatalogDocument, tableId: number, change: (table: Table) => readonly Field[]): CatalogDocument {
  return withChanged(catalog, tableId, (table) => ({ ...table, fields: change(table), schemaVersion: table.schemaVersion + 1 }));
}

export function withMetadata(catalog: CatalogDocument, tableId: number, metadata: Metadata): CatalogDocument {
  return withChanged(catalog, tableId, (table) => ({ ...table, metadata }));
}

/** Throws NOT_FOUND when the table is gone. */
function withChanged(catalog: CatalogDocument, tableId: number, change: (table: Table) => Table): CatalogDocument {
  if (!catalog.tables.some((table) => table.id === tableId)) throw new BinnacleError('NOT_FOUND', 'Collection not found');
  return checkedSize({ ...catalog, tables: catalog.tables.map((table) => (table.id === tableId ? change(table) : table)) });
}

/** `isRemote`: there is a remote store, which has to be rid of it too. */
export function withoutTable(catalog: CatalogDocument, { id }: Table, isRemote = false): CatalogDocument {
  const table = catalog.tables.find((each) => each.id === id);
  if (table === undefined) return catalog;
  const nodes = [...new Set([...writeNodesOf(table), ...table.regions.flatMap(({ leftAt = [] }) => leftAt), ...(isRemote ? [remoteStoreHolder] : [])])];
  return { ...catalog, tables: catalog.tables.filter((each) => each !== table), dropped: [...catalog.dropped, { id, nodes }] };
}

/** This node (or the remote store) has removed its rows of these tables. */
export function withoutDropped(catalog: CatalogDocument, ids: ReadonlySet<number>, node: string): CatalogDocument {
  const dropped = catalog.dropped.map((table) => (ids.has(table.id) ? { ...table, nodes: table.nodes.filter((each) => each !== node) } : table));
  return { ...catalog, dropped: dropped.filter(({ nodes }) => nodes.length > 0) };
}

export function withAlias(catalog: CatalogDocument, alias: Alias): CatalogDocument {
  if (tableNamed(catalog, alias.name) !== undefined) {
    throw new BinnacleError('CONFLICT', `Name \`${alias.name}\` conflicts with an existing collection name.`);
  }
  const others = catalog.aliases.filter(({ name }) => name !== alias.name);
  if (others.length >= aliasesMax) throw new BinnacleError('BAD_REQUEST', `A cluster has at most ${aliasesMax} aliases.`);
  return checkedSize({ ...catalog, aliases: [...others, alias] });
}

export function withoutAlias(catalog: CatalogDocument, name: string): CatalogDocument {
  return { ...catalog, aliases: catalog.aliases.filter((alias) => alias.name !== name) };
}

function checkedSize(catalog: CatalogDocument): CatalogDocument {
  if (Buffer.byteLength(JSON.stringify(catalog)) > catalogBytesMax) {
    throw new BinnacleError('BAD_REQUEST', 'The schemas of all collections and aliases together exceed 1 MiB: drop some collections or fields first.');
  }
  return catalog;
}
