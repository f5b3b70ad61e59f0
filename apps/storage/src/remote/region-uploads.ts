import { randomUUID } from 'node:crypto';
import type { ObjectStore, OperationOptions } from '@binnacle/object-store/object-store';
import { eachOf } from '../each-of.js';
import { markKeyOf } from './delete-marks.js';
import { type Manifest, type Segment, segmentPrefix } from './manifest.js';
import { FencedError, type KnownManifest, type ManifestStore } from './manifest-store.js';
import type { SegmentFile } from './segment-file.js';
import type { UploadedRegion, UploadedRegions } from './upload-regions.js';

/** A region whose manifest this node has claimed and read. */
export interface RegionState {
  readonly own: UploadedRegion;
  readonly term: number;
  readonly versionBase: number;
  known: KnownManifest;
  /** Versions of the log up to this one are in the remote store, or are of no concern to the region. */
  covered: number;
  /** Ends with the last change that was begun: an upload and a merge may both have something to publish. */
  changing: Promise<unknown>;
  /** Something went wrong: what is stored may be another manifest than the one that is known. */
  isStale: boolean;
}

/** What a region publishes. Versions are those of the log. */
export interface Publication {
  readonly segments: readonly Segment[];
  readonly uploadedVersion: number;
  readonly completeToMs: number | undefined;
}

const readsTogether = 8;

/** A published manifest may have been changed by the collector because it took the files for abandoned: they are gone, and have to be made again. */
class CollectedError extends Error {}

/** An upload that seemed to have failed took effect after all: what it brought is not to be published a second time. */
class PublishedBeforeError extends Error {}

/** The regions this node publishes in, and what it knows of their manifests. */
export class RegionUploads {
  readonly #states = new Map<number, RegionState>();
  readonly #listeners = new Set<(known: KnownManifest) => void>();
  /** Collections of the region that had begun before the file was put: it has outlived those. */
  readonly #collections = new WeakMap<Segment, number>();

  constructor(
    private readonly store: () => ObjectStore,
    private readonly manifests: ManifestStore,
    private readonly regions: UploadedRegions,
  ) {}

  known(regionId: number): KnownManifest | undefined {
    return this.#states.get(regionId)?.known;
  }

  onPublished(listener: (known: KnownManifest) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Of the log: up to here everything is uploaded, for each region that is this node's. 0 while a region is not known. */
  covered(newestVersion: number): number {
    const coveredOf = ({ region }: UploadedRegion): number => this.#current(region.id)?.covered ?? 0;
    return Math.min(newestVersion, ...this.regions.all().map(coveredOf));
  }

  /** The regions of this node, with their manifests: read where they are not known. Those that could not be read are left out, and told of. */
  async refresh(options: OperationOptions): Promise<{ states: RegionState[]; failure?: unknown }> {
    const all = this.regions.all().filter(({ region }) => this.regions.claimed(region.id) !== undefined);
    const ids = new Set(all.map(({ region }) => region.id));
    for (const id of this.#states.keys()) if (!ids.has(id)) this.#states.delete(id);
    let failure: unknown;
    try {
      await eachOf(all, readsTogether, async (own) => {
        const current = this.#current(own.region.id);
        if (current?.isStale === false) this.#states.set(own.region.id, Object.assign(current, { own }));
        else await this.#read(own, current?.covered ?? 0, options);
      });
    } catch (error) {
      failure = error;
    }
    return { states: [...this.#states.values()].filter(({ isStale }) => !isStale), failure };
  }

  /** Puts the file where no other is. */
  async put(state: RegionState, file: SegmentFile, level: number, nowMs: number, options: OperationOptions): Promise<Segment> {
    const { tableId, regionId, collections } = state.known.manifest;
    const { path, ...facts } = file;
    const key = `${segmentPrefix(tableId, regionId)}${randomUUID()}.parquet`;
    await this.store().putFile(key, path, { ...options, condition: 'absent' });
    const segment = { key, level, createdAtMs: nowMs, ...facts };
    this.#collections.set(segment, collections);
    return segment;
  }

  /** The segments behind those that are there. Resolves to false when the region turned out to be another node's. */
  async publish(state: RegionState, { segments, uploadedVersion, completeToMs = 0 }: Publication, options: OperationOptions): Promise<boolean> {
    const version = state.versionBase + uploadedVersion;
    const isPublished = await this.change(
      state,
      segments,
      (manifest) => {
        const known = state.known.manifest.uploadedVersion;
        if (manifest.uploadedVersion > known) throw new PublishedBeforeError(`the manifest of region ${manifest.regionId} shows version ${manifest.uploadedVersion}, and ${known} was known`);
        return {
          ...manifest,
          uploadedVersion: Math.max(manifest.uploadedVersion, version),
          completeToMs: Math.max(manifest.completeToMs, completeToMs),
          logFrom: Math.max(manifest.logFrom, this.regions.logFrom?.(manifest.regionId, version) ?? 0),
          segments: [...manifest.segments, ...segments],
        };
      },
      options,
    );
    if (isPublished) state.covered = Math.max(state.covered, uploadedVersion);
    return isPublished;
  }

  /**
   * Compare-and-set on top of whatever this node published last; when that was replaced meanwhile, on top of the newer one. `added` are the objects
   * the change brings in. Resolves to false when the region is another node's, or the change does not apply any more.
   */
  change(state: RegionState, added: readonly Segment[], change: (manifest: Manifest) => Manifest | undefined, options: OperationOptions): Promise<boolean> {
    const changed = state.changing.then(() => this.#change(state, added, change, options));
    state.changing = changed.catch(() => undefined);
    return changed;
  }

  async #change(state: RegionState, added: readonly Segment[], change: (manifest: Manifest) => Manifest | undefined, options: OperationOptions): Promise<boolean> {
    const { regionId } = state.known.manifest;
    const before = state.known;
    let isChanged = false;
    try {
      state.known = await this.manifests.update(
        before,
        async (manifest) => {
          await this.#refuseCollected(added, manifest.collections, options);
          const next = change(manifest);
          isChanged = next !== undefined;
          return next && { ...next, term: state.term };
        },
        options,
      );
    } catch (error) {
      state.isStale = true;
      if (!(error instanceof FencedError)) throw error;
      this.#states.delete(regionId);
      this.regions.fenced(regionId, error.newer);
      return false;
    }
    if (isChanged) for (const listener of this.#listeners) listener(state.known);
    return isChanged;
  }

  /** Undefined: it is to be read. */
  #current(regionId: number): RegionState | undefined {
    const state = this.#states.get(regionId);
    const claim = this.regions.claimed(regionId);
    return state !== undefined && claim?.term === state.term && claim.versionBase === state.versionBase ? state : undefined;
  }

  /** `covered`: what is known to be uploaded, whatever the manifest says. */
  async #read(own: UploadedRegion, covered: number, options: OperationOptions): Promise<void> {
    const { id } = own.region;
    const known = await this.manifests.read(own.table.id, id, options);
    const claim = this.regions.claimed(id);
    if (claim === undefined) return;
    if (known === undefined) throw new Error(`region ${id} was claimed in term ${claim.term} and has no manifest`);
    const { manifest } = known;
    if (manifest.term > claim.term) {
      this.#states.delete(id);
      return this.regions.fenced(id, manifest);
    }
    if (manifest.term < claim.term) throw new Error(`region ${id} was claimed in term ${claim.term}, and its manifest is of term ${manifest.term}`);
    this.#states.set(id, { own, ...claim, known, changing: Promise.resolve(), isStale: false, covered: Math.max(covered, manifest.uploadedVersion - claim.versionBase) });
  }

  /** A file may have been taken for abandoned while this node slept: its mark is there before the manifest has another collection, until it is gone. */
  async #refuseCollected(segments: readonly Segment[], collections: number, options: OperationOptions): Promise<void> {
    for (const segment of segments.filter((each) => this.#collections.get(each) !== collections)) {
      const isMarked = (await this.store().head(markKeyOf(segment.key), options)) !== undefined;
      if (isMarked || (await this.store().head(segment.key, options)) === undefined) throw new CollectedError(`${segment.key} was collected before it was published`);
    }
  }
}
