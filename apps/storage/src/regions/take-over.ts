import type { ObjectStore } from '@binnacle/object-store/object-store';
import type { KnownManifest, ManifestStore } from '../remote/manifest-store.js';
import type { RowChange, RowStore } from '../row-store.js';
import { handOversMax, loggedUploaded } from './hand-overs.js';
import { eachSegmentRow } from './loaded-rows.js';
import { fenceLog, type LogChain, type LogOwner, readLogObject } from './region-log.js';
import { regionIndexOf } from './region.js';
import type { FormerRegion, LoadedRegion } from './region-file.js';

/** Versions between those of one owner and the next: more than an owner may have written and not uploaded, so that whatever it comes back with is older. */
const versionGap = 2 ** 36;
/** Written together. */
const rowsTogetherMax = 1_000;
const bytesTogetherMax = 2 ** 20;

export interface TakeOverParts {
  readonly rows: Pick<RowStore, 'write' | 'scan' | 'count' | 'appliedVersion'>;
  readonly store: ObjectStore;
  readonly manifests: ManifestStore;
  /** For what is fetched meanwhile. */
  readonly folder: string;
  /** Throws when the region is not to be taken over any more. */
  readonly check: () => void;
  /** What comes into the local log from here on is not in segments. */
  readonly onSegmentsLoaded?: (position: number) => void;
}

/** Which version of the region a local row stands for, by handle (each byte a character), if it did not come from a client here. */
export type Origins = Map<string, { readonly position: number; readonly version: number }>;

/** The rows are here; `publishTakeOver` is next, once the data folder says so. */
export interface TakenOver {
  readonly loaded: LoadedRegion & { readonly versionBase: number };
  readonly claimed: KnownManifest;
  readonly chain: LogChain;
  readonly origins: Origins;
}

/**
 * Makes this node the one that has the rows of the region: nobody of an earlier term can publish (claim) or acknowledge with durability `remote` (fence) once that is
 * done, and all they published or acknowledged so is then written here. Can be repeated from the start after any failure. Rejects with `FencedError` or
 * `RegionLogFenced` when another node has it by now.
 */
export async function takeOver(parts: TakeOverParts, owner: LogOwner, place: { index: number; regionCount: number }): Promise<TakenOver> {
  const { rows, store, manifests } = parts;
  const { tableId } = owner;
  const claimed = await manifests.claim({ ...owner, writeNode: owner.node, versionBase: (before) => before?.versionBase ?? 0 });
  const { sequences, next } = await fenceLog(store, owner, claimed.manifest.logFrom);
  const writer = new Writer(rows, tableId, parts.check);
  await purge(rows, writer, tableId, place, rows.appliedVersion());
  const beganAt = rows.appliedVersion();
  await eachSegmentRow(store, claimed.manifest.segments, parts.folder, async (found) => {
    for (const { handle, document } of found) if (document !== undefined) await writer.add({ handle, put: document });
  });
  await writer.flush();
  const segmentsEnd = rows.appliedVersion();
  parts.onSegmentsLoaded?.(segmentsEnd);
  const origins: Origins = new Map();
  let seen = claimed.manifest.uploadedVersion;
  const inherited: number[] = [];
  for (const sequence of sequences) {
    const { head, rows: logged } = await readLogObject(store, owner, sequence);
    if (head.kind === 'rows') inherited.push(sequence);
    // In the versions of the one that wrote them.
    const uploadedVersion = loggedUploaded(claimed.manifest, head);
    for (const { handle, version, document } of logged) {
      seen = Math.max(seen, version);
      const key = handle.toString('latin1');
      // Objects are in the order of the log but for writes that were on their way together.
      if (version <= uploadedVersion || (origins.get(key)?.version ?? 0) >= version) continue;
      origins.set(key, { position: 0, version });
      await writer.add(document === undefined ? { handle, decide: () => 'delete' } : { handle, put: document }, (position) => origins.set(key, { position, version }));
    }
  }
  await writer.flush();
  const loadedTo = rows.appliedVersion();
  const versionBase = seen + versionGap - beganAt;
  const loaded: TakenOver['loaded'] = { tableId, ...place, term: owner.term, versionBase, segmentsEnd, loadedTo, uploadedBefore: claimed.manifest.uploadedVersion, isPending: true };
  return { loaded, claimed, chain: { objects: inherited.map((sequence) => ({ sequence, lastVersion: versionBase + loadedTo })), next }, origins };
}

/**
 * Begins the versions of the new owner. What came from segments counts as uploaded, what came from the log does not. Once the data folder says that the
 * rows are here, and not before: what was only in the log would be taken for uploaded by whoever had to load the region again. Nothing is published
 * where the manifest has moved on since the rows were loaded, as it has after this.
 */
export async function publishTakeOver(manifests: ManifestStore, claimed: KnownManifest, loaded: TakenOver['loaded']): Promise<KnownManifest> {
  const { term, versionBase, segmentsEnd, loadedTo, uploadedBefore } = loaded;
  return manifests.update(claimed, (manifest) => {
    if (manifest.uploadedVersion !== uploadedBefore) return undefined;
    const handOver = { term, versionBase, loadedVersion: versionBase + loadedTo, uploadedVersion: uploadedBefore };
    const handOvers = [...(manifest.handOvers ?? []), handOver].slice(-handOversMax);
    return { ...manifest, versionBase, uploadedVersion: versionBase + segmentsEnd, handOvers };
  });
}

/** Rows of the region that lie here are from a load that did not end, or from before the region was elsewhere. */
async function purge(rows: TakeOverParts['rows'], writer: Writer, tableId: number, { index, regionCount }: { index: number; regionCount: number }, upTo: number): Promise<void> {
  if (rows.count(tableId) === 0) return;
  for await (const { handle } of rows.scan(tableId)) {
    // Whatever is newer was loaded since: the region may come back at any time.
    if (isIn(handle, index, regionCount)) await writer.add({ handle, decide: (current) => (current !== undefined && current.version <= upTo ? 'delete' : 'keep') });
  }
  await writer.flush();
}

export function isIn(handle: Uint8Array, index: number, regionCount: number): boolean {
  return regionCount === 1 || regionIndexOf(handle, regionCount) === index;
}

/** Removes the rows of a region that another node has, up to the position at which it went there. */
export async function removeRegionRows(rows: TakeOverParts['rows'], { tableId, toPosition, ...place }: FormerRegion): Promise<void> {
  const writer = new Writer(rows, tableId, () => {});
  await purge(rows, writer, tableId, place, toPosition);
}

/** Rows gathered into batches of the row store. */
class Writer {
  #changes: RowChange[] = [];
  #written: ((position: number) => void)[] = [];
  #bytes = 0;

  constructor(
    private readonly rows: TakeOverParts['rows'],
    private readonly tableId: number,
    private readonly check: () => void,
  ) {}

  async add(change: RowChange, onWritten: (position: number) => void = () => {}): Promise<void> {
    this.#changes.push(change);
    this.#written.push(onWritten);
    this.#bytes += change.handle.length + ('put' in change ? change.put.length : 0);
    if (this.#changes.length >= rowsTogetherMax || this.#bytes >= bytesTogetherMax) await this.flush();
  }

  async flush(): Promise<void> {
    const changes = this.#changes.splice(0);
    const written = this.#written.splice(0);
    this.#bytes = 0;
    if (changes.length === 0) return;
    this.check();
    const results = await this.rows.write(this.tableId, changes, { durability: 'fsync' });
    for (const [index, result] of results.entries()) {
      if (result instanceof Error) throw result;
      if (result !== 'kept') written[index]?.(result.version);
    }
  }
}
