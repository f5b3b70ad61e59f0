import { type ObjectStore, type OperationOptions, PreconditionFailed } from '@binnacle/object-store/object-store';
import { markedKeyOf, markKeyOf } from './delete-marks.js';
import { findGarbage, type FoundGarbage, type Garbage, type GarbageReason, type KnownTables, type RegionGarbage, type SnapshotGarbage } from './garbage.js';
import { FencedError, type KnownManifest, ManifestMovedError, type ManifestStore } from './manifest-store.js';
import { eachOf } from '../each-of.js';
import { snapshotManifestKey, snapshotManifestText, snapshotSilenceMsMax } from './snapshot-object.js';

/** Unreferenced for less may be about to be published; marked for less may still be read. */
export const graceMs = 3_600_000;

export interface CollectionParts {
  readonly store: ObjectStore;
  readonly manifests: ManifestStore;
  readonly tables: KnownTables;
  /** Asked before every deletion: whether the lease is still held, in the term in which the collection began. */
  readonly isOwner: () => boolean;
  /** Who collects, for whoever looks at a delete mark. */
  readonly owner: { readonly node: string; readonly term: number };
  readonly signal: AbortSignal;
}

/** What a collection did. */
export interface CollectionResult {
  readonly deletedObjects: number;
  readonly deletedBytes: number;
  readonly marked: number;
  /** Objects that are still there and that nobody references nor is about to, those included that are never deleted. */
  readonly leftObjects: number;
  readonly leftBytes: number;
  /** Dropped tables of which nothing is left. */
  readonly emptied: readonly number[];
}

/** The lease went to another node while this one collected. */
export class OwnershipLost extends Error {
  override readonly name = 'OwnershipLost';

  constructor() {
    super('the lease remote-gc was lost: its new owner goes on');
  }
}

/**
 * `young`: may be about to be referenced. `due`: the next run marks it, or deletes it where it needs no mark. `marked`: a run deletes it once the mark is old
 * enough. `kept`: never deleted, because it may be all that is left of something; a person has to look.
 */
export type GarbageState = 'young' | 'due' | 'marked' | 'kept';

const deletionsTogether = 8;
const barrierAttemptsMax = 5;
const neverDeleted: ReadonlySet<GarbageReason> = new Set(['unknown table', 'no readable manifest', 'unknown object']);

/** By the store's clock. */
export function stateOf(found: FoundGarbage, { reason, lastModifiedMs, markedAtMs }: Garbage, nowMs: number): GarbageState {
  if (markedAtMs !== undefined && !neverDeleted.has(reason)) return 'marked';
  const isStillMade = found.kind === 'snapshot' && found.stalled !== undefined && nowMs - found.stalled.lastModifiedMs < snapshotSilenceMsMax;
  // Nobody publishes in a dropped table: what it left needs no grace of its own before the mark.
  if (isStillMade || (reason !== 'dropped table' && nowMs - lastModifiedMs < graceMs)) return 'young';
  return neverDeleted.has(reason) ? 'kept' : 'due';
}

/**
 * One run of the collector. An object nobody references gets a delete mark once it is old enough, and is deleted, and its mark after it, by a run that
 * finds the mark old enough. Before it deletes segments of a region it replaces the manifest, which in that moment references none of them, by the same
 * with one more collection: whoever would publish one of them then loses its compare-and-set, looks for marks, and finds this one. So no marked
 * segment is ever referenced again, and it does not matter when, how often and by whom it is deleted; nor where a run ends.
 */
export class Collection {
  #deletedObjects = 0;
  #deletedBytes = 0;
  #marked = 0;
  #leftObjects = 0;
  #leftBytes = 0;
  #nowMs = 0;
  /** Dropped tables that have objects or marks. */
  readonly #notEmpty = new Set<number>();
  readonly #options: OperationOptions;

  constructor(private readonly parts: CollectionParts) {
    this.#options = { signal: parts.signal };
  }

  /** Rejects with `OwnershipLost`, and with `ObjectStoreUnavailable`; what was done until then is right and the next run goes on. */
  async run(): Promise<CollectionResult> {
    const { store, tables } = this.parts;
    this.#nowMs = await store.nowMs();
    for await (const found of findGarbage(this.parts, this.#options)) {
      const deleted = found.kind === 'region' ? await this.#collectRegion(found) : found.kind === 'snapshot' ? await this.#collectSnapshot(found) : new Set<string>();
      for (const each of found.garbage) {
        if (deleted.has(each.key) || stateOf(found, each, this.#nowMs) === 'young') continue;
        this.#leftObjects += 1;
        this.#leftBytes += each.bytes;
      }
    }
    const emptied = [...tables.dropped].filter((id) => !this.#notEmpty.has(id));
    return { deletedObjects: this.#deletedObjects, deletedBytes: this.#deletedBytes, marked: this.#marked, leftObjects: this.#leftObjects, leftBytes: this.#leftBytes, emptied };
  }

  /** Resolves to the keys of what is gone. */
  async #collectRegion(found: RegionGarbage): Promise<Set<string>> {
    const { tableId, known, garbage, staleMarks } = found;
    if (garbage.length + staleMarks.length > 0) this.#notEmpty.add(tableId);
    const inState = (state: GarbageState): Garbage[] => garbage.filter((each) => stateOf(found, each, this.#nowMs) === state);
    let due = inState('marked').filter(({ markedAtMs = Infinity }) => this.#nowMs - markedAtMs >= graceMs);
    if (known !== undefined && due.length > 0) due = await this.#barrier(known, due);
    await this.#deleteAll(due);
    await eachOf(inState('due'), deletionsTogether, (each) => this.#mark(each));
    await eachOf(staleMarks, deletionsTogether, (mark) => this.#unmark(mark, known));
    return new Set(due.map(({ key }) => key));
  }

  /** Those of the objects that nobody can publish any more. */
  async #barrier(known: KnownManifest, due: readonly Garbage[]): Promise<Garbage[]> {
    let newest: KnownManifest | undefined = known;
    for (let attempt = 1; newest !== undefined && attempt <= barrierAttemptsMax; attempt++) {
      const { manifest }: KnownManifest = newest;
      const referenced = new Set(manifest.segments.map(({ key }) => key));
      const left = due.filter(({ key }) => !referenced.has(key));
      if (left.length === 0) return [];
      try {
        this.#check();
        await this.parts.manifests.replace(newest, { ...manifest, collections: manifest.collections + 1 }, this.#options);
        return left;
      } catch (error) {
        if (error instanceof ManifestMovedError) newest = error.known;
        else if (error instanceof FencedError) newest = await this.parts.manifests.read(manifest.tableId, manifest.regionId, this.#options);
        else throw error;
      }
    }
    // Too lively a region, or one whose manifest is gone: the next run tries again, or does not.
    return [];
  }

  /** The manifest of a dropped table after everything else of it. */
  async #deleteAll(due: readonly Garbage[]): Promise<void> {
    const isManifest = ({ key }: Garbage): boolean => key.endsWith('/manifest.json');
    for (const some of [due.filter((each) => !isManifest(each)), due.filter(isManifest)]) {
      await eachOf(some, deletionsTogether, async (each) => {
        await this.#delete(each);
        this.#check();
        await this.parts.store.delete(markKeyOf(each.key), this.#options);
      });
    }
  }

  async #delete({ key, bytes }: Garbage): Promise<void> {
    this.#check();
    await this.parts.store.delete(key, this.#options);
    this.#deletedObjects += 1;
    this.#deletedBytes += bytes;
  }

  async #mark({ key, reason }: Garbage): Promise<void> {
    this.#check();
    const body = Buffer.from(JSON.stringify({ ...this.parts.owner, reason }));
    try {
      await this.parts.store.put(markKeyOf(key), body, { ...this.#options, condition: 'absent' });
      this.#marked += 1;
    } catch (error) {
      // Another collector was faster: the older mark counts.
      if (!(error instanceof PreconditionFailed)) throw error;
    }
  }

  /** What was referenced once is never published again, and what is gone never comes back: without its mark nothing can happen to it. */
  async #unmark(markKey: string, known: KnownManifest | undefined): Promise<void> {
    const key = markedKeyOf(markKey);
    const isReferenced = known?.manifest.segments.some((segment) => segment.key === key) === true;
    if (!isReferenced && (await this.parts.store.head(key, this.#options)) !== undefined) return;
    this.#check();
    await this.parts.store.delete(markKey, this.#options);
  }

  /** The folder of an attempt is never used again once it is given up, so its files go without marks. */
  async #collectSnapshot(found: SnapshotGarbage): Promise<Set<string>> {
    const { stalled, garbage } = found;
    const due = garbage.filter((each) => stateOf(found, each, this.#nowMs) === 'due');
    if (stalled !== undefined && due.length > 0) {
      const { name, folder, etag } = stalled;
      this.#check();
      const body = Buffer.from(snapshotManifestText({ state: 'abandoned', folder }, { by: this.parts.owner }));
      try {
        await this.parts.store.put(snapshotManifestKey(name), body, { ...this.#options, condition: { etag } });
      } catch (error) {
        if (error instanceof PreconditionFailed) return new Set();
        throw error;
      }
    }
    await eachOf(due, deletionsTogether, (each) => this.#delete(each));
    return new Set(due.map(({ key }) => key));
  }

  #check(): void {
    if (!this.parts.isOwner()) throw new OwnershipLost();
  }
}
