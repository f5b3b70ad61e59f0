import { WatchedDocument } from '@binnacle/cluster-state/watched-document';
import { BinnacleError } from '@binnacle/contracts/errors';
import { NodeContext, type NodePart } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import {
  catalogKey,
  emptyCatalog,
  parseCatalog,
  tableNamed,
  withAlias,
  withFields,
  withoutAlias,
  withoutDropped,
  withoutTable,
  withTable,
  type CatalogDocument,
  type DroppedTable,
  type NewTable,
} from './catalog-document.js';
import type { Alias, Field, Table } from './schema.js';

/**
 * The tables of the cluster: one document in cluster state, changed by compare-and-set, the same on every node within a second.
 */
@Injectable()
export class Catalog implements NodePart {
  readonly name = 'catalog of tables';
  readonly #document: WatchedDocument<CatalogDocument>;

  constructor(private readonly node: NodeContext) {
    this.#document = new WatchedDocument<CatalogDocument>(node.state, node.clock, {
      key: catalogKey,
      initial: emptyCatalog,
      parse: parseCatalog,
      onInvalid: (error) => node.log.error({ err: error }, 'the catalog of tables in cluster state is damaged; the last good one stays'),
    });
    node.addPart(this);
  }

  async start(): Promise<void> {
    await this.#document.start();
  }

  async stop(): Promise<void> {
    this.#document.stop();
  }

  /** The table of that name or alias. Throws NOT_FOUND in Typesense's words. */
  byName(name: string): Table {
    return found(this.find(name), 'Collection not found');
  }

  /** As `byName`, but a name this node does not know is asked of cluster state: another node may just have made the table. */
  async lookUp(name: string): Promise<Table> {
    return this.find(name) ?? found(resolve(await this.#stored(), name), 'Collection not found');
  }

  /** The alias of that name. Throws NOT_FOUND. */
  async lookUpAlias(name: string): Promise<Alias> {
    return aliasNamed(this.#document.value(), name) ?? found(aliasNamed(await this.#stored(), name), 'Not Found');
  }

  async #stored(): Promise<CatalogDocument> {
    const { document } = await this.node.state.readDocument(catalogKey);
    return document === undefined ? emptyCatalog : parseCatalog(document.value);
  }

  /** The table of that name or alias. A table's own name wins. */
  find(name: string): Table | undefined {
    return resolve(this.#document.value(), name);
  }

  byId(id: number): Table | undefined {
    return this.#document.value().tables.find((table) => table.id === id);
  }

  /** In the order they were created. */
  all(): readonly Table[] {
    return this.#document.value().tables;
  }

  aliases(): readonly Alias[] {
    return this.#document.value().aliases;
  }

  /** Tables that are gone but whose rows still have to be removed by their write nodes. */
  dropped(): readonly DroppedTable[] {
    return this.#document.value().dropped;
  }

  /** Calls back after any change. */
  onChange(listener: () => void): () => void {
    return this.#document.onChange(listener);
  }

  /** Throws CONFLICT when the name is taken. */
  async create(table: NewTable, { writeNode, idFloor }: { writeNode: string; idFloor: number }): Promise<Table> {
    const createdAtS = Math.floor(this.node.clock.nowMs() / 1_000);
    const catalog = await this.#document.update((current) => withTable(current, table, { writeNode, createdAtS, idFloor }));
    return tableNamed(catalog, table.name) as Table;
  }

  /** `change` may be called several times, each time with the table as it is stored then. */
  async alter(tableId: number, change: (table: Table) => readonly Field[]): Promise<Table> {
    const catalog = await this.#document.update((current) => {
      if (!current.tables.some((table) => table.id === tableId)) throw new BinnacleError('NOT_FOUND', 'Collection not found');
      return withFields(current, tableId, change);
    });
    return catalog.tables.find((table) => table.id === tableId) as Table;
  }

  async drop(table: Table): Promise<void> {
    await this.#document.update((current) => withoutTable(current, table));
  }

  /** The rows of these dropped tables have been removed. */
  async forgetDropped(ids: ReadonlySet<number>): Promise<void> {
    await this.#document.update((current) => withoutDropped(current, ids));
  }

  async setAlias(alias: Alias): Promise<void> {
    await this.#document.update((current) => withAlias(current, alias));
  }

  async dropAlias(name: string): Promise<void> {
    await this.#document.update((current) => withoutAlias(current, name));
  }
}

function aliasNamed(catalog: CatalogDocument, name: string): Alias | undefined {
  return catalog.aliases.find((alias) => alias.name === name);
}

function resolve(catalog: CatalogDocument, name: string): Table | undefined {
  const alias = aliasNamed(catalog, name);
  return tableNamed(catalog, name) ?? (alias && tableNamed(catalog, alias.table));
}

function found<T>(value: T | undefined, refusal: string): T {
  if (value === undefined) throw new BinnacleError('NOT_FOUND', refusal);
  return value;
}
