import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { NodeContext } from '@binnacle/node-kit/node-context';
import { FencedError, type KnownManifest, type ManifestStore } from '../remote/manifest-store.js';
import type { Manifest } from '../remote/manifest.js';
import type { RemoteStore } from '../remote/remote-store.js';
import type { RowStore } from '../row-store.js';
import type { HeldRegion } from './held-region.js';
import { nextHandOver } from './hand-overs.js';
import type { LoadedRegion, RegionFile } from './region-file.js';
import { type LogChain, RegionLog, RegionLogFenced } from './region-log.js';
import { publishTakeOver, takeOver } from './take-over.js';
import type { RemoteLogMetrics } from './remote-log-metrics.js';

/** Claims and take-overs at the same time. */
const workersMax = 4;
const retryMsMin = 200;
export const retryMsMax = 10_000;

export interface AcquirerParts {
  readonly node: NodeContext;
  readonly rows: RowStore;
  readonly remote: RemoteStore;
  readonly manifests: ManifestStore;
  readonly metrics: RemoteLogMetrics;
  readonly file: RegionFile;
  /** Tables from this id on were made since this node began to look: nobody has rows of them. */
  readonly newTablesFrom: number;
  /** Whether a region of the table serves has changed. */
  readonly onChange: (tableId: number) => void;
  /** The region is another node's by now. */
  readonly fenced: (regionId: number, newer: Pick<Manifest, 'term' | 'writeNode'>) => void;
}

/** Gets the regions that are given to this node: their rows where it has not got them, and the claim of each in the remote store. */
export class RegionAcquirer {
  readonly #queue: (() => Promise<void>)[] = [];
  readonly #leaving = new Map<number, Promise<void>>();
  #workers = 0;
  #isStopped = false;

  constructor(private readonly parts: AcquirerParts) {}

  /** Removes what a load that did not end has left. */
  async clean(): Promise<void> {
    await rm(this.#loadingFolder(), { recursive: true, force: true });
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** In the background, until the region is here and claimed, or is not this node's any more. */
  begin(held: HeldRegion): void {
    this.#work(() => this.#acquire(held));
  }

  /** Regions on their way to be former ones. */
  leaving(): Iterable<number> {
    return this.#leaving.keys();
  }

  logOf(held: HeldRegion, versionBase: number, chain: LogChain): RegionLog {
    const { node, remote, metrics, fenced } = this.parts;
    const onFenced = (): void => fenced(held.owner.regionId, { term: held.owner.term + 1, writeNode: '' });
    return new RegionLog(() => remote.store(), node.clock, held.owner, versionBase, chain, onFenced, metrics);
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
      const { regionId, term } = held.owner;
      const left = this.parts.file.loaded.get(regionId)?.term;
      if (left !== term) await this.becomeFormer(regionId, left);
      if (held.loaded === undefined && (await this.#beginsHere(held))) {
        await this.#keep(held, beganHere(held));
        this.#serve(held);
      }
      if (!this.parts.remote.isOn() || held.isOver) return;
      if (held.loaded !== undefined) await this.#claim(held);
      else await this.#take(held);
    } catch (error) {
      if (error instanceof FencedError || error instanceof RegionLogFenced) return this.parts.fenced(held.owner.regionId, error instanceof FencedError ? error.newer : { term: 0, writeNode: '' });
      if (held.isOver || this.#isStopped) return;
      const delayMs = Math.min(retryMsMin * 2 ** attempt, retryMsMax);
      this.parts.node.log.warn({ err: error, regionId: held.owner.regionId, delayMs }, 'a region could not be claimed or loaded; it is tried again');
      held.onAbort(this.parts.node.clock.after(delayMs, () => this.#work(() => this.#acquire(held, attempt + 1))));
    }
  }

  /** Nobody else has rows of it: there is no remote store, or its table is new, or the folder is one from before it said which regions it has. */
  async #beginsHere({ owner }: HeldRegion): Promise<boolean> {
    if (!this.parts.remote.isOn() || (owner.term === 1 && owner.tableId >= this.parts.newTablesFrom)) return true;
    if (!this.parts.file.isOld) return false;
    const manifest = (await this.parts.manifests.read(owner.tableId, owner.regionId))?.manifest;
    return manifest === undefined || (manifest.term === owner.term && manifest.writeNode === owner.node);
  }

  /** The folder says so before the region serves: the next start would else load it over what was acknowledged meanwhile. */
  async #keep(held: HeldRegion, loaded: LoadedRegion): Promise<void> {
    const { regionId } = held.owner;
    const { file } = this.parts;
    file.loaded.set(regionId, loaded);
    await file.save().catch((error: unknown) => {
      file.loaded.delete(regionId);
      throw error;
    });
    held.loaded = loaded;
  }

  #serve(held: HeldRegion): void {
    if (held.isReady || held.isOver) return;
    held.isReady = true;
    this.parts.onChange(held.owner.tableId);
  }

  async #claim(held: HeldRegion): Promise<void> {
    const { owner } = held;
    const loaded = held.loaded as LoadedRegion;
    const claimed = await this.parts.manifests.claim({ ...owner, writeNode: owner.node, versionBase: (before) => before?.versionBase ?? 0 });
    const { versionBase: ownBase, isPending, ...place } = loaded;
    // Only a take-over that is published tells the versions of this owner from those of others, who begin from the same manifest.
    const known = isPending && ownBase !== undefined ? await publishTakeOver(this.parts.manifests, claimed, { ...loaded, versionBase: ownBase }) : claimed;
    const { versionBase, uploadedVersion } = known.manifest;
    // The bucket has what this node has lost: an older copy of the data folder, or a power cut. What is here beyond it is not newer.
    const isTakenSince = nextHandOver(known.manifest, { term: owner.term, versionBase: ownBase ?? versionBase }) !== undefined;
    if (isTakenSince || versionBase + this.parts.rows.appliedVersion() < uploadedVersion) {
      Object.assign(held, { isReady: false, loaded: undefined, logNeededFrom: Infinity });
      this.parts.onChange(owner.tableId);
      this.parts.file.loaded.delete(owner.regionId);
      await this.parts.file.save();
      return this.#take(held);
    }
    this.#claimedAs(held, known);
    this.#serve(held);
    if (ownBase === undefined || isPending) await this.#keep(held, { ...place, versionBase: ownBase ?? versionBase });
  }

  #claimedAs(held: HeldRegion, { manifest }: KnownManifest): void {
    if (held.isOver) return;
    held.claim = { term: manifest.term, versionBase: manifest.versionBase };
    held.handOvers = manifest.handOvers ?? [];
  }

  async #take(held: HeldRegion): Promise<void> {
    const startedAtMs = performance.now();
    const { rows, remote, manifests } = this.parts;
    const folder = this.#loadingFolder();
    const check = (): void => {
      if (held.isOver || this.#isStopped) throw new Error('the region is not to be loaded any more');
    };
    // Rows of segments are where they came from; of the log those are not that came from the log of the owners before.
    held.logNeededFrom = Infinity;
    const onSegmentsLoaded = (position: number): void => void (held.logNeededFrom = position);
    const { loaded, claimed, chain, origins } = await takeOver({ rows, store: remote.store(), manifests, folder, check, onSegmentsLoaded }, held.owner, held.place);
    check();
    Object.assign(held, { origins, log: this.logOf(held, loaded.versionBase, chain) });
    await this.#keep(held, loaded);
    const loadedRows = claimed.manifest.segments.reduce((sum, segment) => sum + segment.rows, 0);
    this.parts.node.log.info({ ...held.owner, rows: loadedRows, objects: chain.objects.length, ms: Math.round(performance.now() - startedAtMs) }, 'region taken over');
    await this.#claim(held);
  }

  #loadingFolder(): string {
    return join(this.parts.node.config.dataDir, 'storage', 'loading');
  }

  /** Makes what the folder has of the region in that term a former region. What it has of it in another one stays: it may have come back meanwhile. */
  becomeFormer(regionId: number, term: number | undefined): Promise<void> {
    const { file, rows } = this.parts;
    const known = this.#leaving.get(regionId);
    const entry = file.loaded.get(regionId);
    if (known !== undefined || entry === undefined || entry.term !== term) return known ?? Promise.resolve();
    const leaving = (async () => {
      const { tableId, index, regionCount, versionBase = 0, loadedTo } = entry;
      // After every write that was let in: those behind it are refused in their turn.
      await rows.write(tableId, [{ handle: Buffer.from('id'), decide: () => 'keep' }], { durability: 'none' });
      const former = { regionId, tableId, index, regionCount, term: entry.term, versionBase, loadedTo, toPosition: rows.appliedVersion() };
      file.former = [...file.former, former];
      file.loaded.delete(regionId);
      await file.save().catch((error: unknown) => {
        file.former = file.former.filter((each) => each !== former);
        file.loaded.set(regionId, entry);
        throw error;
      });
    })().finally(() => this.#leaving.delete(regionId));
    this.#leaving.set(regionId, leaving);
    return leaving;
  }
}

function beganHere({ owner: { tableId, term }, place }: HeldRegion): LoadedRegion {
  return { tableId, ...place, term, segmentsEnd: 0, loadedTo: 0, uploadedBefore: 0 };
}
