import { join } from 'node:path';
import { BinnacleError } from '@binnacle/contracts/errors';
import { ConfigError } from '@binnacle/node-kit/config-error';
import { NodeContext, type NodePart } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import type { WriteRequest } from '../documents/document.js';
import { newDocumentId } from '../documents/document-id.js';
import type { Manifest } from '../remote/manifest.js';
import { FencedError, type KnownManifest, ManifestStore } from '../remote/manifest-store.js';
import { RemoteStore } from '../remote/remote-store.js';
import type { UploadedRegion, UploadedRegions } from '../remote/upload-regions.js';
import { RowStore } from '../row-store.js';
import { Catalog } from '../tables/catalog.js';
import type { Table } from '../tables/schema.js';
import { HeldRegion } from './held-region.js';
import { type FormerRegion, type LoadedRegion, RegionFile } from './region-file.js';
import { type LogChain, type LogOwner, readChain, RegionLog, RegionLogFenced } from './region-log.js';
import { RemoteLogMetrics } from './remote-log-metrics.js';
import { type Region, regionOf } from './region.js';
import { publishTakeOver, takeOver } from './take-over.js';

export interface OwnRegion extends UploadedRegion {
  readonly table: Table;
  readonly region: Region;
}

/** Claims and take-overs at the same time. */
const workersMax = 4;
const retryMsMin = 200;
const retryMsMax = 10_000;
/** A node starts without regions that take longer to load. */
const startWaitMsMax = 1_000;
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
  readonly #queue: (() => Promise<void>)[] = [];
  readonly #metrics: RemoteLogMetrics;
  readonly #leaving = new Map<number, Promise<void>>();
  readonly #formerListeners = new Set<() => void>();
  #file: RegionFile | undefined;
  /** Tables from this id on were made since this node began to look: nobody has rows of them. Undefined: not known. */
  #newTablesFrom: number | undefined;
  /** The folder has rows from before it said which regions they are of. */
  #isOldFolder = false;
  #workers = 0;
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
  }

  async start(): Promise<void> {
    const path = join(this.node.config.dataDir, 'storage', 'regions.json');
    this.#file = await RegionFile.open(path).catch((error: unknown) => {
      throw new ConfigError([`what regions the data folder has cannot be read: ${(error as Error).message}`]);
    });
    this.#isOldFolder = !this.#file.isKnown && this.rows.appliedVersion() > 0;
    if (this.#isOldFolder) this.#file.former = this.#leftBehind();
    this.#newTablesFrom = await this.catalog.storedNextTableId().catch(() => undefined);
    this.#unlisten = this.catalog.onChange(() => this.#follow());
    this.#follow();
    // What takes no time is ready before the node says that it is.
    const untilMs = this.node.clock.monotonicMs() + startWaitMsMax;
    while (this.assigned().some(({ region }) => this.#refusalIn(region) !== undefined) && this.node.clock.monotonicMs() < untilMs) {
      await new Promise<void>((resolve) => this.node.clock.after(arrivalPollMs, resolve));
    }
  }

  /** Of a folder from before it said which regions it has: those that were given to others while the node was away. */
  #leftBehind(): FormerRegion[] {
    const toPosition = this.rows.appliedVersion();
    return this.catalog.all().flatMap(({ id: tableId, regions }) =>
      regions.flatMap(({ id, leftAt = [] }, index) => (leftAt.includes(this.node.id) ? [{ regionId: id, tableId, index, regionCount: regions.length, versionBase: 0, toPosition }] : [])),
    );
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
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
    if (this.#whole.get(table.id) === table.regions || table.id < (this.#newTablesFrom ?? Infinity) || !this.ownsSome(table)) return;
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
    this.#whole.delete(held.owner.tableId);
    this.node.log.warn({ regionId, term, writeNode }, 'a region of this node was taken over by another one');
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
    try {
      const known = await this.manifests.read(tableId, regionId);
      const chain = await readChain(this.remote.store(), held.owner, known?.manifest.logFrom ?? 1);
      held.log = this.#logOf(held, held.claim?.versionBase ?? 0, chain);
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
    return [...this.#leaving.keys(), ...old.map(([regionId]) => regionId)];
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
    for (const own of assigned.values()) if (!this.#held.has(own.region.id)) this.#begin(own);
    this.#findWhole();
    for (const listener of this.#formerListeners) listener();
  }

  #findWhole(): void {
    this.#whole.clear();
    for (const { id, regions } of this.catalog.all()) {
      if (regions.every((region) => region.writeNode === this.node.id && this.#refusalIn(region) === undefined)) this.#whole.set(id, regions);
    }
  }

  #begin({ table, region, regionCount }: OwnRegion): void {
    const owner = { tableId: table.id, regionId: region.id, term: region.term, node: this.node.id };
    const held = new HeldRegion(owner, { index: table.regions.indexOf(region), regionCount });
    this.#held.set(region.id, held);
    const file = this.#file as RegionFile;
    const entry = file.loaded.get(region.id);
    if (entry?.term === region.term) {
      held.loaded = entry;
      held.isReady = true;
    }
    this.#work(() => this.#acquire(held));
  }

  /** A few at a time: a node may have thousands of regions. */
  #work(task: () => Promise<void>): void {
    this.#queue.push(task);
    if (this.#workers === workersMax) return;
    this.#workers++;
    void (async () => {
      for (let next = this.#queue.shift(); next !== undefined && !this.#isStopped; next = this.#queue.shift()) await next();
      this.#workers--;
    })();
  }

  /** Until the region is here and claimed, or is not this node's any more. Never rejects. */
  async #acquire(held: HeldRegion, attempt = 0): Promise<void> {
    try {
      // What is here from an earlier term has to be known as such before anything is loaded over it.
      await this.#becomeFormer(held.owner);
      if (!held.isReady && (await this.#beginsHere(held))) await this.#ready(held);
      if (!this.remote.isOn() || held.isOver) return;
      if (held.isReady) await this.#claim(held);
      else await this.#take(held);
    } catch (error) {
      if (error instanceof FencedError || error instanceof RegionLogFenced) return this.fenced(held.owner.regionId, error instanceof FencedError ? error.newer : { term: 0, writeNode: '' });
      if (held.isOver || this.#isStopped) return;
      const delayMs = Math.min(retryMsMin * 2 ** attempt, retryMsMax);
      this.node.log.warn({ err: error, regionId: held.owner.regionId, delayMs }, 'a region could not be claimed or loaded; it is tried again');
      held.retry = this.node.clock.after(delayMs, () => this.#work(() => this.#acquire(held, attempt + 1)));
    }
  }

  /** Nobody else has rows of it: there is no remote store, or its table is new, or the folder is one from before it said which regions it has. */
  async #beginsHere({ owner }: HeldRegion): Promise<boolean> {
    if (!this.remote.isOn() || (owner.term === 1 && owner.tableId >= (this.#newTablesFrom ?? Infinity))) return true;
    if (!this.#isOldFolder) return false;
    const manifest = (await this.manifests.read(owner.tableId, owner.regionId))?.manifest;
    return manifest === undefined || (manifest.term === owner.term && manifest.writeNode === owner.node);
  }

  async #ready(held: HeldRegion): Promise<void> {
    const { owner, place, loaded } = held;
    const file = this.#file as RegionFile;
    held.loaded = loaded ?? { tableId: owner.tableId, ...place, term: owner.term, segmentsEnd: 0, loadedTo: 0, uploadedBefore: 0 };
    file.loaded.set(owner.regionId, held.loaded);
    await file.save();
    if (held.isOver) return;
    held.isReady = true;
    this.#findWhole();
  }

  async #claim(held: HeldRegion): Promise<void> {
    const { owner } = held;
    const loaded = held.loaded as LoadedRegion;
    const claimed = await this.manifests.claim({ ...owner, writeNode: owner.node, versionBase: (before) => before?.versionBase ?? 0 });
    const known = loaded.versionBase === undefined ? claimed : await publishTakeOver(this.manifests, claimed, { ...loaded, versionBase: loaded.versionBase });
    const { versionBase, uploadedVersion } = known.manifest;
    // The bucket has what this node has lost: an older copy of the data folder, or a power cut. What is here beyond it is not newer.
    if (versionBase + this.rows.appliedVersion() < uploadedVersion || versionBase > (loaded.versionBase ?? versionBase)) {
      held.isReady = false;
      this.#whole.delete(owner.tableId);
      this.#file?.loaded.delete(owner.regionId);
      await this.#file?.save();
      return this.#take(held);
    }
    this.#claimedAs(held, known);
    if (loaded.versionBase !== undefined) return;
    held.loaded = { ...loaded, versionBase };
    this.#file?.loaded.set(owner.regionId, held.loaded);
    await this.#file?.save();
  }

  #claimedAs(held: HeldRegion, { manifest }: KnownManifest): void {
    if (held.isOver) return;
    held.claim = { term: manifest.term, versionBase: manifest.versionBase };
    held.handOvers = manifest.handOvers ?? [];
  }

  async #take(held: HeldRegion): Promise<void> {
    const startedAtMs = performance.now();
    const folder = join(this.node.config.dataDir, 'storage', 'loading');
    const check = (): void => {
      if (held.isOver || this.#isStopped) throw new Error('the region is not to be loaded any more');
    };
    const { loaded, claimed, chain, origins } = await takeOver({ rows: this.rows, store: this.remote.store(), manifests: this.manifests, folder, check }, held.owner, held.place);
    check();
    Object.assign(held, { loaded, origins, log: this.#logOf(held, loaded.versionBase, chain) });
    await this.#ready(held);
    const rows = claimed.manifest.segments.reduce((sum, segment) => sum + segment.rows, 0);
    this.node.log.info({ ...held.owner, rows, objects: chain.objects.length, ms: Math.round(performance.now() - startedAtMs) }, 'region taken over');
    await this.#claim(held);
  }

  #logOf(held: HeldRegion, versionBase: number, chain: LogChain): RegionLog {
    const onFenced = (): void => this.fenced(held.owner.regionId, { term: held.owner.term + 1, writeNode: '' });
    return new RegionLog(() => this.remote.store(), this.node.clock, held.owner, versionBase, chain, onFenced, this.#metrics);
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
      if (this.catalog.byId(tableId) !== undefined) this.#leaveEntry({ regionId, term: 0 });
      // Only of what was dropped: a catalog that was lost takes nothing away.
      else if (this.catalog.dropped().some(({ id }) => id === tableId)) file.loaded.delete(regionId);
    }
  }

  #leaveEntry(region: Pick<LogOwner, 'regionId' | 'term'>): void {
    this.#becomeFormer(region).then(
      () => this.#formerListeners.forEach((listener) => listener()),
      (error: unknown) => {
        this.node.log.warn({ err: error, regionId: region.regionId }, 'a region could not be left yet; it is tried again');
        this.node.clock.after(retryMsMax, () => this.#isStopped || this.#leaveEntry(region));
      },
    );
  }

  /** Makes what the folder has of the region in another term than this a former region. */
  #becomeFormer({ regionId, term }: Pick<LogOwner, 'regionId' | 'term'>): Promise<void> {
    const file = this.#file as RegionFile;
    const known = this.#leaving.get(regionId);
    const entry = file.loaded.get(regionId);
    if (known !== undefined || entry === undefined || entry.term === term) return known ?? Promise.resolve();
    const leaving = (async () => {
      const { tableId, index, regionCount, versionBase = 0 } = entry;
      // After every write that was let in: those behind it are refused in their turn.
      await this.rows.write(tableId, [{ handle: Buffer.from('id'), decide: () => 'keep' }], { durability: 'none' });
      file.former.push({ regionId, tableId, index, regionCount, versionBase, toPosition: this.rows.appliedVersion() });
      file.loaded.delete(regionId);
      await file.save();
    })().finally(() => this.#leaving.delete(regionId));
    this.#leaving.set(regionId, leaving);
    return leaving;
  }
}
