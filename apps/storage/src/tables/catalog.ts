import { WatchedDocument } from '@binnacle/cluster-state/watched-document';
import { BinnacleError } from '@binnacle/contracts/errors';
import { NodeContext, type NodePart } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import { RemoteStore } from '../remote/remote-store.js';
import { RestoredCatalog } from '../remote/restored-catalog.js';
import {
  catalogKey,
  emptyCatalog,
  parseCatalog,
  tableNamed,
  withAlias,
  withFields,
  withMetadata,
  withoutAlias,
  withoutDropped,
  withoutTable,
  withTable,
  type CatalogDocument,
  type DroppedTable,
  type NewTable,
  type NewTableFacts,
} from './catalog-document.js';
import type { Alias, Field, Metadata, Table } from './schema.js';

const schemaPollMs = 20;

/**
 * The tables of the cluster: one document in cluster state, changed by compare-and-set, the same on every node within a second.
 */
@Injectable()
export class Catalog implements NodePart {
  readonly name = 'catalog of tables';
  readonly #document: WatchedDocument<CatalogDocument>;
  /** Of the document as it was when last asked. */
  #lookup = new Lookup(emptyCatalog);

  constructor(
    private readonly node: NodeContext,
    private readonly remote: RemoteStore,
    private readonly restored: RestoredCatalog,
  ) {
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
    return this.find(name) ?? found(new Lookup(await this.stored()).resolve(name), 'Collection not found');
  }

  /** The alias of that name. Throws NOT_FOUND. */
  async lookUpAlias(name: string): Promise<Alias> {
    return this.#current().aliases.get(name) ?? found(new Lookup(await this.stored()).aliases.get(name), 'Not Found');
  }

  #current(): Lookup {
    const catalog = this.#document.value();
    if (this.#lookup.catalog !== catalog) this.#lookup = new Lookup(catalog);
    return this.#lookup;
  }

  /** As cluster state has it now. Rejects with `ClusterStateUnavailable`. */
  async stored(): Promise<CatalogDocument> {
    const { document } = await this.node.state.readDocument(catalogKey);
    return document === undefined ? emptyCatalog : parseCatalog(document.value);
  }

  /** As cluster state has it now. Rejects with `ClusterStateUnavailable`, and as long as the remote store may have tables that cluster state has not heard of. */
  async storedNextTableId(): Promise<number> {
    const { document } = await this.node.state.readDocument(catalogKey);
    if (document === undefined && this.remote.isOn()) throw new BinnacleError('NOT_READY', 'it is not known which tables there are');
    return (document === undefined ? emptyCatalog : parseCatalog(document.value)).nextTableId;
  }

  /** The table of that name or alias. A table's own name wins. */
  find(name: string): Table | undefined {
    return this.#current().resolve(name);
  }

  byId(id: number): Table | undefined {
    return this.#current().byId.get(id);
  }

  /** The table as it is now; as given, where this node has not heard of it yet. Throws NOT_FOUND when it is gone. */
  newest(table: Table): Table {
    const known = this.byId(table.id);
    if (known !== undefined) return known;
    return found(table.id < this.#document.value().nextTableId ? undefined : table, 'Collection not found');
  }

  /** Resolves to true once this node has the table with that schema, or a newer one; to false when it has not within that time. */
  async hasSchema(tableId: number, schemaVersion: number, withinMs: number): Promise<boolean> {
    const { clock } = this.node;
    const isHere = (): boolean => (this.byId(tableId)?.schemaVersion ?? 0) >= schemaVersion;
    const untilMs = clock.monotonicMs() + withinMs;
    while (!isHere() && clock.monotonicMs() < untilMs) await new Promise<void>((resolve) => clock.after(schemaPollMs, resolve));
    return isHere();
  }

  /** In the order they were created. */
  all(): readonly Table[] {
    return this.#document.value().tables;
  }

  aliases(): readonly Alias[] {
    return this.#document.value().aliases;
  }

  /** Tables that are gone but whose rows still have to be removed. */
  dropped(): readonly DroppedTable[] {
    return this.#document.value().dropped;
  }

  /** Calls back after any change. */
  onChange(listener: () => void): () => void {
    return this.#document.onChange(listener);
  }

  /** Throws CONFLICT when the name is taken. */
  async create(table: NewTable, facts: Omit<NewTableFacts, 'createdAtS'>): Promise<Table> {
    if (this.#document.version() === 0) await this.restored.known();
    const createdAtS = Math.floor(this.node.clock.nowMs() / 1_000);
    const catalog = await this.#document.update((current) => withTable(current, table, { createdAtS, ...facts }));
    return tableNamed(catalog, table.name) as Table;
  }

  /** `change` may be called several times, each time with the table as it is stored then. */
  async alter(tableId: number, change: (table: Table) => readonly Field[]): Promise<Table> {
    const catalog = await this.#document.update((current) => withFields(current, tableId, change));
    return catalog.tables.find((table) => table.id === tableId) as Table;
  }

  /** Changes who has which region; `change` may be called several times, and returns what it was given where there is nothing to change. */
  async assign(change: (tables: readonly Table[]) => readonly Table[]): Promise<void> {
    await this.#document.update((current) => ({ ...current, tables: change(current.tables) }));
  }

  async setMetadata(tableId: number, metadata: Metadata): Promise<void> {
    await this.#document.update((current) => withMetadata(current, tableId, metadata));
  }

  async drop(table: Table): Promise<void> {
    await this.#document.update((current) => withoutTable(current, table, this.remote.isOn()));
  }

  /** The rows of these dropped tables have been removed here, or in the remote store. */
  async forgetDropped(ids: ReadonlySet<number>, holder = this.node.id): Promise<void> {
    await this.#document.update((current) => withoutDropped(current, ids, holder));
  }

  async setAlias(alias: Alias): Promise<void> {
    await this.#document.update((current) => withAlias(current, alias));
  }

  async dropAlias(name: string): Promise<void> {
    await this.#document.update((current) => withoutAlias(current, name));
  }
}

/** Every request asks for a table, and there may be thousands. */
class Lookup {
  readonly byId: ReadonlyMap<number, Table>;
  readonly aliases: ReadonlyMap<string, Alias>;
  readonly #tables: ReadonlyMap<string, Table>;

  constructor(readonly catalog: CatalogDocument) {
    this.byId = new Map(catalog.tables.map((table) => [table.id, table]));
    this.aliases = new Map(catalog.aliases.map((alias) => [alias.name, alias]));
    this.#tables = new Map(catalog.tables.map((table) => [table.name, table]));
  }

  resolve(name: string): Table | undefined {
    return this.#tables.get(name) ?? this.#tables.get(this.aliases.get(name)?.table ?? '');
  }
}

function found<T>(value: T | undefined, refusal: string): T {
  if (value === undefined) throw new BinnacleError('NOT_FOUND', refusal);
  return value;
}
