import { fileURLToPath } from 'node:url';
import { FolderStore } from './folder-store.js';
import { checkPrefix } from './object-key.js';
import { type ObjectStore, ObjectStoreUnusable } from './object-store.js';

export interface ObjectStoreConfig {
  /** `s3://bucket/prefix` or `file:///folder`. */
  readonly url: string;
  /** '': Amazon's, by the region. */
  readonly s3Endpoint: string;
  /** '': from the environment. */
  readonly s3Region: string;
  readonly s3ForcePathStyle: boolean;
  /** Of one attempt. */
  readonly attemptTimeoutMs: number;
  /** Of one operation with its retries. */
  readonly timeoutMs: number;
  readonly connectionsMax: number;
}

/** Opens without asking the store anything: `check` does. Rejects with `ObjectStoreUnusable` on an address or options that are none. */
export async function openObjectStore(config: ObjectStoreConfig): Promise<ObjectStore> {
  const url = URL.canParse(config.url) ? new URL(config.url) : undefined;
  if (url?.protocol === 'file:') return await FolderStore.open(fileURLToPath(url), config);
  const [, bucket, prefix = ''] = /^s3:\/\/([a-z0-9][a-z0-9.-]+)(?:\/(.*?))?\/?$/.exec(config.url) ?? [];
  if (bucket !== undefined) {
    checkPrefix(prefix);
    const { S3Store } = await import('./s3-store.js');
    return await S3Store.open(bucket, prefix, config);
  }
  throw new ObjectStoreUnusable(`the address of an object store is s3://BUCKET/PREFIX or file:///FOLDER, not ${JSON.stringify(config.url)}`);
}
