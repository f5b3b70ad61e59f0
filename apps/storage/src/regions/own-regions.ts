import { join } from 'node:path';
import { BinnacleError } from '@binnacle/contracts/errors';
import { ConfigError } from '@binnacle/node-kit/config-error';
import { NodeContext, type NodePart } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import type { WriteRequest } from '../documents/document.js';
import { newDocumentId } from '../documents/document-id.js';
import type { Manifest } from '../remote/manifest.js';
import { ManifestStore } from '../remote/manifest-store.js';
import { RemoteStore } from '../remote/remote-store.js';
import type { UploadedRegion, UploadedRegions } from '../remote/upload-regions.js';
import { regionsFile, RowStore } from '../row-store.js';
import { Catalog } from '../tables/catalog.js';
import type { Table } from '../tables/schema.js';
import { withTermAbove } from './assignment.js';
import { HeldRegion } from './held-region.js';
import { RegionAcquirer, retryMsMax } from './region-acquirer.js';
import { type FormerRegion, type LoadedRegion, RegionFile } from './region-file.js';
import { readChain, type RegionLog, RegionLogFenced } from './region-log.js';
import { RemoteLogMetrics } from './remote-log-metrics.js';
import { type Region, regionOf } from './region.js';

export interface OwnRegion extends UploadedRegion {
  readonly table: Table;
  readonly region: Region;
}

/** A node starts without regions that take longer to load. */
const startWaitMsMax = 3_000;
/** How long the remote store is waited for by a region whose rows are here. */
const claimPatienceMs = 5_000;
/** A table that another node knows of already arrives here within a second. */
const arrivalMsMax = 3_000;
const arrivalPollMs = 10;
/** A write with durability `remote` waits this long for the region to be claimed. */
const claimWaitMsMax = 5_000;

/**
 * Which regions this node is the write node of, and whether it has their rows. A region that was given to it is claimed in the remote store and its rows
 * are loaded before it serves; one that begins here serves as soon as the data folder says so, and is claimed meanwhile.
 */
@Injectable()
export class OwnRegions implements NodePart, UploadedRegions {
  readonly name = 'own regions';
  readonly manifests: ManifestStore;
  readonly #held = new Map<number, HeldRegion>();
  /** Tables all of whose regions are here and ready, by id, as the catalog has them: the fast way, without a hash. */
  readonly #whole = new Map<number, readonly Region[]>();
  readonly #metrics: RemoteLogMetrics;
  readonly #formerListeners = new Set<() => void>();
  #file: RegionFile | undefined;
  #acquirer: RegionAcquirer | undefined;
  /** Tables from this id on were made since this node began to look; Infinity: it is not known which. */
  #newTablesFrom = Infinity;
  /** Of the catalog as it was when last asked. */
  #assigned: { readonly tables: readonly Table[]; readonly regions: readonly OwnRegion[] } = { tables: [], regions: [] };
  #unlisten: () => void = () => {};
  #isStopped = false;

  constructor(
    private readonly node: NodeContext,
    private readonly catalog: Catalog,
    private readonly rows: RowStore,
    private readonly remote: RemoteStore,
  ) {
    this.manifests = new ManifestStore(() => remote.store());
    this.#metrics = new RemoteLogMetrics(node.metrics);
    node.addPart(this);
    // From before anything is written: what the folder has of which regions is not known until it is read.
    if (!remote.isOn()) return;
    rows.keepLogFor({ position: () => this.#neededFrom(({ held }) => held.neededFrom()) });
    rows.keepMarks(() => this.#neededFrom(({ held, region }) => (region.leftAt === undefined ? held.neededFrom() : held.marksNeededFrom())));
  }

  /** Nothing newer than this may be cut from the commit log, as far as the uploader does not know of it: what former regions have, and those that are not ready. */
  #neededFrom(ofRegion: (own: { held: HeldRegion; region: Region }) => number): number {
    if (this.#file === undefined || this.#file.former.length > 0 || [...this.leaving()].length > 0) return 0;
    return Math.min(Infinity, ...this.assigned().map(({ region }) => {
      const held = this.#held.get(region.id);
      return held === undefined ? 0 : ofRegion({ held, region });
    }));
  }

  async start(): Promise<void> {
    const path = join(this.node.config.dataDir, 'storage', regionsFile);
    this.#file = await RegionFile.open(path).catch((error: unknown) => {
      throw new ConfigError([`what regions the data folder has cannot be read: ${(error as Error).message}`]);
    });
    if (!this.#file.isKnown && this.rows.appliedVersion() > 0) {
      this.#file.isOld = true;
      this.#file.former = this.#leftBehind();
    }
    this.#newTablesFrom = await this.catalog.storedNextTableId().catch(() => Infinity);
    this.#acquirer = this.#newAcquirer(this.#file);
    await this.#acquirer.clean();
    this.#unlisten = this.catalog.onChange(() => this.#follow());
    this.#follow();
    // What takes no time is ready before the node says that it is.
    const untilMs = this.node.clock.monotonicMs() + startWaitMsMax;
    while (this.assigned().some(({ region }) => this.#refusalIn(region) !== undefined) && this.node.clock.monotonicMs() < untilMs) {
      await new Promise<void>((resolve) => this.node.clock.after(arrivalPollMs, resolve));
    }
  }

  #newAcquirer(file: RegionFile): RegionAcquirer {
    return new RegionAcquirer({
      node: this.node,
      rows: this.rows,
      remote: this.remote,
      manifests: this.manifests,
      metrics: this.#metrics,
      file,
      newTablesFrom: this.#newTablesFrom,
      onChange: (tableId) => {
        const table = this.catalog.byId(tableId);
        if (table !== undefined) this.#checkWhole(table);
      },
      fenced: (regionId, newer) => this.fenced(regionId, newer),
    });
  }

  /** Of a folder from before it said which regions it has: those that were given to others while the node was away. */
  #leftBehind(): FormerRegion[] {
    const toPosition = this.rows.appliedVersion();
    return this.catalog.all().flatMap(({ id: tableId, regions }) =>
      regions.flatMap(({ id, leftAt = [] }, index) => (leftAt.includes(this.node.id) ? [{ regionId: id, tableId, index, regionCount: regions.length, term: 0, versionBase: 0, loadedTo: 0, toPosition }] : [])),
    );
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#acquirer?.stop();
    this.#unlisten();
    for (const held of this.#held.values()) held.abort();
    await this.#file?.save();
  }

  regionOf(table: Table, handle: Uint8Array): Region {
    return regionOf(table.regions, handle);
  }

  /** Whether this node takes the row's writes. Hashes only where the table is on several nodes. */
  isOwn(table: Table, handle: Uint8Array): boolean {
    return this.ownsAll(table) || (this.ownsSome(table) && this.regionOf(table, handle).writeNode === this.node.id);
  }

  /** Every row of the table is here, or will be. */
  ownsAll({ regions }: Pick<Table, 'regions'>): boolean {
    return regions.every(({ writeNode }) => writeNode === this.node.id);
  }

  ownsSome({ regions }: Pick<Table, 'regions'>): boolean {
    return regions.some(({ writeNode }) => writeNode === this.node.id);
  }

  /** An id for a row that is to be here, where that is not sure of any id. Without own regions ids are as they come. */
  newId(table: Table): Pick<WriteRequest, 'newId'> {
    if (this.ownsAll(table) || !this.ownsSome(table)) return {};
    let newId = newDocumentId();
    while (!this.isOwn(table, Buffer.from(newId))) newId = newDocumentId();
    return { newId };
  }

  /** Undefined: the row may be read and written here now. NO_TARGET: it is another node's. NOT_READY: its region is being loaded. */
  refusal(table: Table, handle: Uint8Array): BinnacleError | undefined {
    if (this.#whole.get(table.id) === table.regions) return undefined;
    const region = this.regionOf(table, handle);
    if (region.writeNode !== this.node.id) return new BinnacleError('NO_TARGET', `The nodes do not agree yet on who holds collection \`${table.name}\`.`, { retryAfterS: 1 });
    return this.#refusalIn(region);
  }

  /** The same for the whole table, as far as it is this node's. */
  refusalOfAny(table: Table): BinnacleError | undefined {
    if (this.#whole.get(table.id) === table.regions) return undefined;
    for (const region of table.regions) {
      const refusal = region.writeNode === this.node.id ? this.#refusalIn(region) : undefined;
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }

  #refusalIn({ id, term }: Region): BinnacleError | undefined {
    const held = this.#held.get(id);
    if (held?.isReady === true && held.owner.term === term) return undefined;
    return new BinnacleError('NOT_READY', 'the rows are being loaded from the remote store', { retryAfterS: 1 });
  }

  /** A table that this node has just heard of: resolves once its own regions take writes, or a moment was not enough for that. */
  async arrived(table: Table): Promise<void> {
    const isOld = table.id < this.#newTablesFrom && this.#newTablesFrom !== Infinity;
    if (isOld || this.#whole.get(table.id) === table.regions || !this.ownsSome(table)) return;
    const untilMs = this.node.clock.monotonicMs() + arrivalMsMax;
    while (this.refusalOfAny(table) !== undefined && this.node.clock.monotonicMs() < untilMs) {
      await new Promise<void>((resolve) => this.node.clock.after(arrivalPollMs, resolve));
    }
  }

  /** Regions the catalog gives to this node. */
  assigned(): readonly OwnRegion[] {
    const tables = this.catalog.all();
    if (this.#assigned.tables !== tables) this.#assigned = { tables, regions: this.#assignedOf(tables) };
    return this.#assigned.regions;
  }

  #assignedOf(tables: readonly Table[]): OwnRegion[] {
    return tables.flatMap((table) => {
      const own = table.regions.filter(({ writeNode }) => writeNode === this.node.id);
      return own.map((region) => ({ table, region, regionCount: table.regions.length }));
    });
  }

  /** Those of them whose rows are here. */
  all(): OwnRegion[] {
    return this.assigned().filter(({ region }) => this.#refusalIn(region) === undefined);
  }

  ready(regionId: number): boolean {
    return this.#held.get(regionId)?.isReady === true;
  }

  held(regionId: number): HeldRegion | undefined {
    return this.#held.get(regionId);
  }

  claimed(regionId: number): { readonly term: number; readonly versionBase: number } | undefined {
    const held = this.#held.get(regionId);
    return held?.isReady === true ? held.claim : undefined;
  }

  /** Nothing more is taken in for the region: the catalog will tell who has it, and what is here only goes there. */
  fenced(regionId: number, { term, writeNode }: Pick<Manifest, 'term' | 'writeNode'>): void {
    const held = this.#held.get(regionId);
    if (held === undefined || held.isLost) return;
    held.isLost = true;
    held.logNeededFrom = 0;
    this.#whole.delete(held.owner.tableId);
    this.node.log.warn({ regionId, term, writeNode }, 'a region of this node was taken over by another one');
    if (writeNode !== '') this.#raise(held, { term, writeNode });
  }

  /** The manifest may be ahead of the catalog for good: cluster state was put back to what it was earlier. The region then begins anew in a term above both. */
  #raise(held: HeldRegion, newer: Pick<Manifest, 'term' | 'writeNode'>): void {
    this.catalog
      .assign((tables) => withTermAbove(tables, held.owner, newer))
      .catch(() => held.onAbort(this.node.clock.after(retryMsMax, () => this.#isStopped || this.#raise(held, newer))));
  }

  logFrom(regionId: number, uploadedVersion: number): number {
    return this.#held.get(regionId)?.log?.neededFrom(uploadedVersion) ?? 0;
  }

  /** Of the manifest that was just published. */
  async trimLog({ regionId, logFrom }: Pick<Manifest, 'regionId' | 'logFrom'>): Promise<void> {
    await this.#held.get(regionId)?.log?.trim(logFrom);
  }

  /** The region's log in the remote store. Rejects with NOT_READY while the region is not claimed, NO_TARGET when it is another node's. */
  async log(regionId: number): Promise<RegionLog> {
    const held = this.#held.get(regionId);
    if (held === undefined || held.isLost) throw new BinnacleError('NO_TARGET', 'Another node has taken the rows over.', { retryAfterS: 1 });
    if (held.log !== undefined && held.claim !== undefined) return held.log;
    if (!(await held.claimedWithin(this.node.clock, claimWaitMsMax))) throw new BinnacleError('NO_TARGET', 'Durability remote: the remote store does not answer.', { retryAfterS: 1 });
    if (held.log !== undefined) return held.log;
    held.opening ??= this.#openLog(held).finally(() => (held.opening = undefined));
    return held.opening;
  }

  async #openLog(held: HeldRegion): Promise<RegionLog> {
    const { tableId, regionId } = held.owner;
    const versionBase = held.claim?.versionBase ?? 0;
    try {
      const known = await this.manifests.read(tableId, regionId);
      const chain = await readChain(this.remote.store(), held.owner, known?.manifest.logFrom ?? 1, { versionBase, loadedTo: held.loaded?.loadedTo ?? 0 });
      held.log = (this.#acquirer as RegionAcquirer).logOf(held, versionBase, chain);
      return held.log;
    } catch (error) {
      if (!(error instanceof RegionLogFenced)) throw error;
      this.fenced(held.owner.regionId, { term: held.owner.term + 1, writeNode: '' });
      throw new BinnacleError('NO_TARGET', 'Another node has taken the rows over.', { cause: error, retryAfterS: 1 });
    }
  }

  /** What this node had of regions that others have now. */
  former(): readonly FormerRegion[] {
    return this.#file?.former ?? [];
  }

  /** Regions that are about to become former ones. */
  leaving(): Iterable<number> {
    const old = [...(this.#file?.loaded ?? [])].filter(([regionId, { term }]) => this.#held.get(regionId)?.owner.term !== term);
    return [...(this.#acquirer?.leaving() ?? []), ...old.map(([regionId]) => regionId)];
  }

  onFormer(listener: () => void): void {
    this.#formerListeners.add(listener);
  }

  async forgetFormer(former: FormerRegion): Promise<void> {
    const file = this.#file as RegionFile;
    file.former = file.former.filter((each) => each !== former);
    await file.save();
  }

  /** The catalog has changed, or is read for the first time. */
  #follow(): void {
    if (this.#isStopped) return;
    const assigned = new Map(this.assigned().map((own) => [own.region.id, own]));
    for (const held of this.#held.values()) if (assigned.get(held.owner.regionId)?.region.term !== held.owner.term) this.#leave(held);
    this.#leaveEntries(assigned);
    for (const own of assigned.values()) {
      const held = this.#held.get(own.region.id);
      if (held === undefined) this.#begin(own);
      // Nobody is left who could come back with rows of it.
      else if (own.region.leftAt === undefined) held.origins.clear();
    }
    this.#findWhole();
    for (const listener of this.#formerListeners) listener();
  }

  /**
   * The folder has the region. The remote store is asked first whether it has more of it, as it does after an older copy of the folder was put back:
   * what was taken in before that is known would be lost. While the store does not answer, nobody waits for it, unless the take-over is still to be
   * published: others may have begun from the same manifest.
   */
  #trust(held: HeldRegion, entry: LoadedRegion): void {
    held.loaded = entry;
    held.isReady = !this.remote.isOn();
    if (held.isReady || entry.isPending) return;
    held.onAbort(
      this.node.clock.after(claimPatienceMs, () => {
        if (held.loaded !== entry) return;
        held.isReady = true;
        this.#findWhole();
      }),
    );
  }

  #findWhole(): void {
    this.#whole.clear();
    for (const table of this.catalog.all()) this.#checkWhole(table);
  }

  #checkWhole({ id, regions }: Table): void {
    if (regions.every((region) => region.writeNode === this.node.id && this.#refusalIn(region) === undefined)) this.#whole.set(id, regions);
    else this.#whole.delete(id);
  }

  #begin({ table, region, regionCount }: OwnRegion): void {
    const owner = { tableId: table.id, regionId: region.id, term: region.term, node: this.node.id };
    const held = new HeldRegion(owner, { index: table.regions.indexOf(region), regionCount });
    this.#held.set(region.id, held);
    const file = this.#file as RegionFile;
    const entry = file.loaded.get(region.id);
    if (entry?.term === region.term) this.#trust(held, entry);
    this.#acquirer?.begin(held);
  }

  /** The region is another node's, or this node's anew, or its table is gone. */
  #leave(held: HeldRegion): void {
    held.abort();
    this.#held.delete(held.owner.regionId);
    this.#whole.delete(held.owner.tableId);
  }

  /** Entries of the data folder for regions that are not this node's in that term. */
  #leaveEntries(assigned: ReadonlyMap<number, OwnRegion>): void {
    const file = this.#file as RegionFile;
    for (const [regionId, { tableId, term }] of file.loaded) {
      if (assigned.get(regionId)?.region.term === term) continue;
      if (this.catalog.byId(tableId) !== undefined) this.#leaveEntry(regionId, term);
      // Only of what was dropped: a catalog that was lost takes nothing away.
      else if (this.catalog.dropped().some(({ id }) => id === tableId)) file.loaded.delete(regionId);
    }
  }

  #leaveEntry(regionId: number, term: number): void {
    this.#acquirer?.becomeFormer(regionId, term).then(
      () => this.#formerListeners.forEach((listener) => listener()),
      (error: unknown) => {
        this.node.log.warn({ err: error, regionId }, 'a region could not be left yet; it is tried again');
        this.node.clock.after(retryMsMax, () => this.#isStopped || this.#leaveEntry(regionId, term));
      },
    );
  }
}
