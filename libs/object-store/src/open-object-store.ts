import { fileURLToPath } from 'node:url';
import { FolderStore } from './folder-store.js';
import { checkPrefix } from './object-key.js';
import { type ObjectStore, ObjectStoreUnusable } from './object-store.js';
import type { S3StoreOptions } from './s3-store.js';

export interface ObjectStoreConfig extends S3StoreOptions {
  /** `s3://bucket/prefix` or `file:///folder`. */
  readonly url: string;
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
