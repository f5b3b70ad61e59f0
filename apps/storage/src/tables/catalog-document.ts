import { BinnacleError } from '@binnacle/contracts/errors';
import type { Alias, Field, Metadata, Table } from './schema.js';

/** Key of the catalog in cluster state. */
export const catalogKey = 'tables';

/** All tables of the cluster; a value that is never changed, only replaced. */
export interface CatalogDocument {
  /** Larger than every id a table ever had. */
  readonly nextTableId: number;
  readonly tables: readonly Table[];
  readonly aliases: readonly Alias[];
  /** Tables that are gone but whose rows the write node has not removed yet. */
  readonly dropped: readonly DroppedTable[];
}

export interface DroppedTable {
  readonly id: number;
  readonly writeNode: string;
}

export const emptyCatalog: CatalogDocument = { nextTableId: 1, tables: [], aliases: [], dropped: [] };

/** Formula: the document has 1 MiB in cluster state, and cluster state refuses one byte more with an error nobody would understand. */
const catalogBytesMax = 1024 * 1024 - 1024;
export const tablesMax = 4_096;
export const aliasesMax = 4_096;
const tableIdMax = 2 ** 32 - 1;

/** Reads the stored document. Throws on anything that is no catalog. */
export function parseCatalog(text: string): CatalogDocument {
  const document = JSON.parse(text) as Partial<CatalogDocument> | null;
  const isCatalog =
    typeof document?.nextTableId === 'number' && [document.tables, document.aliases, document.dropped].every((list) => Array.isArray(list));
  if (!isCatalog) throw new Error('the stored catalog of tables is none');
  return document as CatalogDocument;
}

export function tableNamed(catalog: CatalogDocument, name: string): Table | undefined {
  return catalog.tables.find((table) => table.name === name);
}

/** What a client says of a new table. */
export type NewTable = Pick<Table, 'name' | 'fields' | 'defaultSortingField' | 'enableNestedFields' | 'tokenSeparators' | 'metadata'>;

/** `idFloor`: ids below it are in use by rows whose catalog may have been lost. */
export function withTable(
  catalog: CatalogDocument,
  table: NewTable,
  facts: Pick<Table, 'writeNode' | 'createdAtS'> & { readonly idFloor: number },
): CatalogDocument {
  if (tableNamed(catalog, table.name) !== undefined) {
    throw new BinnacleError('CONFLICT', `A collection with name \`${table.name}\` already exists.`);
  }
  if (catalog.aliases.some((alias) => alias.name === table.name)) {
    throw new BinnacleError('CONFLICT', `An alias with name \`${table.name}\` already exists.`);
  }
  if (catalog.tables.length >= tablesMax) throw new BinnacleError('BAD_REQUEST', `A cluster has at most ${tablesMax} collections.`);
  const { idFloor, ...kept } = facts;
  const id = Math.max(catalog.nextTableId, idFloor);
  if (id > tableIdMax) throw new BinnacleError('BAD_REQUEST', 'No number is left for another collection.');
  return checkedSize({ ...catalog, nextTableId: id + 1, tables: [...catalog.tables, { id, keyspace: 0, ...table, ...kept, schemaVersion: 1 }] });
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

export function withoutTable(catalog: CatalogDocument, { id, writeNode }: Table): CatalogDocument {
  if (!catalog.tables.some((table) => table.id === id)) return catalog;
  return { ...catalog, tables: catalog.tables.filter((table) => table.id !== id), dropped: [...catalog.dropped, { id, writeNode }] };
}

/** The write node has removed the rows. */
export function withoutDropped(catalog: CatalogDocument, ids: ReadonlySet<number>): CatalogDocument {
  return { ...catalog, dropped: catalog.dropped.filter(({ id }) => !ids.has(id)) };
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
