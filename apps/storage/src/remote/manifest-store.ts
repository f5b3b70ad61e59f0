import { type ObjectStore, type OperationOptions, PreconditionFailed } from '@binnacle/object-store/object-store';
import { type Manifest, manifestKey, parseManifest } from './manifest.js';

/** A manifest as it was read or written, with what a compare-and-set needs. */
export interface KnownManifest {
  readonly manifest: Manifest;
  readonly etag: string;
}

/** The region has another write node by now: whoever gets this publishes nothing more in it under its term. */
export class FencedError extends Error {
  override readonly name = 'FencedError';

  constructor(readonly newer: Manifest) {
    super(`region ${newer.regionId} was taken over by node ${newer.writeNode} in term ${newer.term}`);
  }
}

/** Somebody of the same term (an upload, a merge, the collector) published first: to be tried again on top of `known`. Undefined: the manifest is gone. */
export class ManifestMovedError extends Error {
  override readonly name = 'ManifestMovedError';

  constructor(readonly known: KnownManifest | undefined) {
    super(`the manifest of region ${known?.manifest.regionId ?? '(removed)'} has changed meanwhile`);
  }
}

/** What a node owns a region with. */
export interface RegionClaim {
  readonly tableId: number;
  readonly regionId: number;
  readonly term: number;
  readonly writeNode: string;
  /** A function, because it depends on what is there: a new owner's versions must be greater than all before. */
  readonly versionBase: (before: Manifest | undefined) => number;
}

/** How often a compare-and-set is tried on top of what others published; each loss means that somebody else won. */
const attemptsMax = 10;

/** The manifests in the remote store. All methods reject with `ObjectStoreUnavailable`; whether a write took effect is then unknown: read again. */
export class ManifestStore {
  constructor(private readonly store: () => ObjectStore) {}

  /** Undefined: the region was never published. Throws on what is no manifest of this format. */
  async read(tableId: number, regionId: number, options?: OperationOptions): Promise<KnownManifest | undefined> {
    const stored = await this.store().get(manifestKey(tableId, regionId), options);
    return stored && { manifest: parseManifest(stored.body.toString()), etag: stored.etag };
  }

  /** As `read`; also undefined when it still is the one that is known. */
  async readUnless(known: KnownManifest, options?: OperationOptions): Promise<KnownManifest | undefined> {
    const { tableId, regionId } = known.manifest;
    const stored = await this.store().get(manifestKey(tableId, regionId), { ...options, unlessEtag: known.etag });
    return stored && { manifest: parseManifest(stored.body.toString()), etag: stored.etag };
  }

  /** Replaces exactly the known one; undefined: there is none yet. Rejects with `FencedError` and `ManifestMovedError`. */
  async replace(known: KnownManifest | undefined, next: Manifest, options?: OperationOptions): Promise<KnownManifest> {
    if (known !== undefined) refuseOlderTerm(known.manifest, next);
    const body = Buffer.from(JSON.stringify(next));
    const key = manifestKey(next.tableId, next.regionId);
    try {
      const { etag } = await this.store().put(key, body, { ...options, condition: known === undefined ? 'absent' : { etag: known.etag } });
      return { manifest: next, etag };
    } catch (error) {
      if (!(error instanceof PreconditionFailed)) throw error;
      const newer = await this.read(next.tableId, next.regionId, options);
      if (newer !== undefined) refuseOlderTerm(newer.manifest, next);
      throw new ManifestMovedError(newer);
    }
  }

  /**
   * `change` applied to the newest manifest, beginning with the known one, which may be older; it may be called several times and must hold for
   * each. Undefined from it: leave it as it is, which then is the answer. Rejects with `FencedError`.
   */
  async update(known: KnownManifest, change: (manifest: Manifest) => Manifest | undefined | Promise<Manifest | undefined>, options?: OperationOptions): Promise<KnownManifest> {
    let latest = known;
    for (let attempt = 1; ; attempt++) {
      const next = await change(latest.manifest);
      if (next === undefined) return latest;
      try {
        return await this.replace(latest, next, options);
      } catch (error) {
        if (!(error instanceof ManifestMovedError) || error.known === undefined || attempt === attemptsMax) throw error;
        latest = error.known;
      }
    }
  }

  /** Makes the manifest carry the claim's term and node, and nothing else of it different, so that nobody of an older term can publish. Idempotent. */
  async claim(claim: RegionClaim, options?: OperationOptions): Promise<KnownManifest> {
    const { tableId, regionId, term, writeNode, versionBase } = claim;
    let known = await this.read(tableId, regionId, options);
    for (let attempt = 1; ; attempt++) {
      const before = known?.manifest;
      if (known !== undefined && before?.term === term && before.writeNode === writeNode) return known;
      try {
        return await this.replace(known, { ...(before ?? emptyManifest(tableId, regionId)), term, writeNode, versionBase: versionBase(before) }, options);
      } catch (error) {
        if (!(error instanceof ManifestMovedError) || attempt === attemptsMax) throw error;
        known = error.known;
      }
    }
  }
}

export function emptyManifest(tableId: number, regionId: number): Manifest {
  return { format: 1, tableId, regionId, term: 0, writeNode: '', versionBase: 0, uploadedVersion: 0, completeToMs: 0, logFrom: 1, collections: 0, segments: [] };
}

/** One term belongs to one node; the same term under another name is somebody else's too. */
function refuseOlderTerm(stored: Manifest, next: Manifest): void {
  if (stored.term > next.term || (stored.term === next.term && stored.writeNode !== next.writeNode)) throw new FencedError(stored);
}
