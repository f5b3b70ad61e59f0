import { FaultyStore, type FaultPlan } from '@binnacle/object-store/faulty-store';
import type { ObjectStore } from '@binnacle/object-store/object-store';
import { Collection, type CollectionParts, type CollectionResult } from '../src/remote/collection.js';
import { type KnownManifest, ManifestStore } from '../src/remote/manifest-store.js';
import { manifestKey, type Segment, segmentPrefix } from '../src/remote/manifest.js';
import { encodeLogObject, logObjectKey } from '../src/regions/log-object.js';
import { snapshotFilesPrefix, type SnapshotHead, snapshotManifestKey, snapshotManifestText } from '../src/remote/snapshot-object.js';

export const hourMs = 3_600_000;

/** A bucket with objects of every kind the collector knows, on a store whose clock goes as the test says. */
export class TestableBucket {
  readonly store: FaultyStore;
  readonly manifests: ManifestStore;
  #aheadMs = 0;

  constructor(readonly inner: ObjectStore) {
    this.store = new FaultyStore(inner);
    this.manifests = new ManifestStore(() => this.store);
    this.plan({});
  }

  plan(plan: FaultPlan): void {
    this.store.plan = { ...plan, clockAheadMs: () => this.#aheadMs };
  }

  /** Everything that is there becomes older. A fresh object is as old as the time that passes after it. */
  async pass(ms: number): Promise<void> {
    this.#aheadMs += ms;
  }

  async keys(): Promise<string[]> {
    const keys: string[] = [];
    for await (const { key } of this.inner.list('')) keys.push(key);
    return keys;
  }

  async segment(tableId: number, regionId: number, name: string): Promise<Segment> {
    const key = `${segmentPrefix(tableId, regionId)}${name}.parquet`;
    await this.inner.put(key, Buffer.from(name));
    const counts = { bytes: name.length, metaOffset: 0, level: 0, rows: 1, deleteMarks: 0, minVersion: 1, maxVersion: 1, schemaVersion: 1, createdAtMs: 0 };
    return { key, ...counts, minHandle: 'a', maxHandle: 'b', columns: [] };
  }

  async region(tableId: number, regionId: number, segments: readonly Segment[], logFrom = 1): Promise<KnownManifest> {
    const manifests = new ManifestStore(() => this.inner);
    const known = await manifests.claim({ tableId, regionId, term: 1, writeNode: 'n1', versionBase: () => 0 });
    return await manifests.replace(known, { ...known.manifest, segments, logFrom });
  }

  async log(tableId: number, regionId: number, sequence: number, kind: 'rows' | 'fence'): Promise<string> {
    const key = logObjectKey(tableId, regionId, sequence);
    await this.inner.put(key, encodeLogObject(tableId, { kind, term: 1, node: 'n1', id: `${sequence}`, versionBase: 0 }, []));
    return key;
  }

  async snapshot(name: string, head: SnapshotHead, files: readonly string[]): Promise<string[]> {
    await this.inner.put(snapshotManifestKey(name), Buffer.from(snapshotManifestText(head, {})));
    const keys = files.map((file) => `${snapshotFilesPrefix(name, head.folder)}${file}`);
    for (const key of keys) await this.inner.put(key, Buffer.from('x'));
    return keys;
  }

  collection(change: Partial<CollectionParts> = {}): Collection {
    const tables = { live: new Set([1]), dropped: new Set([2]) };
    const parts = { store: this.store, manifests: this.manifests, tables, isOwner: () => true, owner: { node: 'n1', term: 1 }, signal: new AbortController().signal };
    return new Collection({ ...parts, ...change });
  }

  async collect(change: Partial<CollectionParts> = {}): Promise<CollectionResult> {
    return await this.collection(change).run();
  }

  /** Keys the manifest of the region names and that are not there. */
  async missing(tableId: number, regionId: number): Promise<string[]> {
    const keys = new Set(await this.keys());
    const known = await new ManifestStore(() => this.inner).read(tableId, regionId);
    return [manifestKey(tableId, regionId), ...(known?.manifest.segments ?? []).map(({ key }) => key)].filter((key) => !keys.has(key));
  }
}
