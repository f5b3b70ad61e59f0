import { randomUUID } from 'node:crypto';
import type { ClusterState } from '@binnacle/cluster-state/cluster-state';
import { type ObjectStore, type OperationOptions, PreconditionFailed } from '@binnacle/object-store/object-store';
import { type CatalogDocument, catalogKey, emptyCatalog, parseCatalog } from '../tables/catalog-document.js';
import { catalogObjectKey } from './manifest.js';
import { listRegions } from './region-listing.js';

type Documents = Pick<ClusterState, 'readDocument' | 'writeDocument'>;

/** The bucket knows of tables that the cluster state has never heard of: somebody has lost something, and neither may replace the other. */
export class CatalogBehindError extends Error {
  override readonly name = 'CatalogBehindError';
}

const attemptsMax = 5;

/**
 * Gives a cluster state without a catalog the one of the bucket; of a bucket without one, an empty one whose tables get other numbers than those that have
 * objects there. Resolves to what was written; undefined: the cluster state has a catalog. Rejects with `ClusterStateUnavailable`,
 * `ObjectStoreUnavailable`, and with an Error on an object that is no catalog.
 */
export async function restoreCatalog(state: Documents, store: ObjectStore, options: OperationOptions = {}): Promise<CatalogDocument | undefined> {
  if ((await state.readDocument(catalogKey)).document !== undefined) return undefined;
  const stored = await store.get(catalogObjectKey, options);
  const catalog = stored === undefined ? { ...emptyCatalog, nextTableId: await freeTableId(store, options) } : parseObject(stored.body);
  const { written } = await state.writeDocument({ key: catalogKey, value: JSON.stringify(catalog), expectedVersion: 0, requestId: randomUUID() });
  return written ? catalog : undefined;
}

/**
 * Brings the catalog of the cluster state into the bucket. Who replaces it has read the cluster state after the object it replaces, so that it never goes
 * back, whoever else does the same. Rejects with `CatalogBehindError`, `ClusterStateUnavailable` and `ObjectStoreUnavailable`.
 */
export async function storeCatalog(state: Documents, store: ObjectStore, options: OperationOptions = {}): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const before = await store.get(catalogObjectKey, options);
    const { document } = await state.readDocument(catalogKey);
    if (document === undefined) throw new CatalogBehindError('the cluster state has no catalog of tables');
    const catalog = parseCatalog(document.value);
    const body = Buffer.from(`${JSON.stringify({ format: 1, catalog })}\n`);
    if (before?.body.equals(body)) return;
    const known = before === undefined ? emptyCatalog : parseObject(before.body);
    if (known.nextTableId > catalog.nextTableId) {
      throw new CatalogBehindError(`the catalog in the bucket has had tables up to ${known.nextTableId - 1}, that of the cluster state up to ${catalog.nextTableId - 1}: it is not replaced`);
    }
    try {
      await store.put(catalogObjectKey, body, { ...options, condition: before === undefined ? 'absent' : { etag: before.etag } });
      return;
    } catch (error) {
      if (!(error instanceof PreconditionFailed) || attempt === attemptsMax) throw error;
    }
  }
}

function parseObject(body: Buffer): CatalogDocument {
  const { format, catalog } = JSON.parse(body.toString()) as { format?: unknown; catalog?: unknown };
  if (format !== 1) throw new Error(`${catalogObjectKey} is no catalog, or of another version`);
  return parseCatalog(JSON.stringify(catalog));
}

/** Rows of a table whose catalog was lost are not given to a new one. */
async function freeTableId(store: ObjectStore, options: OperationOptions): Promise<number> {
  let free = emptyCatalog.nextTableId;
  for await (const { tableId } of listRegions(store, options)) free = Math.max(free, tableId + 1);
  return free;
}
