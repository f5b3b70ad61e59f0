import { storeIdOf } from '@binnacle/contracts/store-id';
import type { ObjectFacts, ObjectStore, OperationOptions } from '@binnacle/object-store/object-store';
import { markedKeyOf, marksPrefix } from './delete-marks.js';
import type { ManifestStore } from './manifest-store.js';
import { listRegions } from './region-listing.js';

/** What a store keeps in the remote store, in TiFlash's words: data files are its logs, dt files its segments; keys are objects. */
export interface StoreInfo {
  readonly store_id: number;
  num_manifests: number;
  num_keys: number;
  readonly data_file: { num: number; num_delmark: number; bytes: number };
  readonly dt_file: { num: number; num_keys: number; num_delmark: number; bytes: number };
}

const storeIdMax = 2 ** 32 - 1;
const storeIdsMax = 1_000;

/** The ids of `/tiflash/remote/info/:stores`, joined by commas. Undefined: that is none. */
export function parseStoreIds(text: string): number[] | undefined {
  const parts = text.split(',');
  if (parts.length > storeIdsMax || !parts.every((part) => /^\d{1,10}$/.test(part) && Number(part) <= storeIdMax)) return undefined;
  return [...new Set(parts.map(Number))];
}

/** Of the given stores, or of those of `nodeIds` and of every other that has published something. Ascending by id. */
export async function remoteInfo(store: ObjectStore, manifests: ManifestStore, { nodeIds, wanted }: { nodeIds: readonly string[]; wanted: readonly number[] | undefined }, options: OperationOptions): Promise<StoreInfo[]> {
  const marked = new Set<string>();
  for await (const { key } of store.list(marksPrefix, options)) marked.add(markedKeyOf(key));
  const infos = new Map((wanted ?? nodeIds.map(storeIdOf)).map((id) => [id, emptyInfo(id)]));
  for await (const { tableId, regionId, manifest, segments, log } of listRegions(store, options)) {
    const known = manifest && (await manifests.read(tableId, regionId, options));
    if (known === undefined) continue;
    const id = storeIdOf(known.manifest.writeNode);
    const info = infos.get(id) ?? emptyInfo(id);
    if (wanted === undefined) infos.set(id, info);
    info.num_manifests += 1;
    info.num_keys += 1 + segments.length + log.length;
    add(info.data_file, log, marked);
    add(info.dt_file, segments, marked);
    info.dt_file.num_keys += segments.length;
  }
  return [...infos.values()].sort((a, b) => a.store_id - b.store_id);
}

function emptyInfo(id: number): StoreInfo {
  return { store_id: id, num_manifests: 0, num_keys: 0, data_file: { num: 0, num_delmark: 0, bytes: 0 }, dt_file: { num: 0, num_keys: 0, num_delmark: 0, bytes: 0 } };
}

function add(sum: { num: number; num_delmark: number; bytes: number }, objects: readonly ObjectFacts[], marked: ReadonlySet<string>): void {
  for (const { key, bytes } of objects) {
    sum.num += 1;
    sum.bytes += bytes;
    if (marked.has(key)) sum.num_delmark += 1;
  }
}
