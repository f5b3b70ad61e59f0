import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DocumentWrite, DocumentWriteAnswer, VersionedDocument } from '@binnacle/cluster-state/cluster-state';
import { FolderStore } from '@binnacle/object-store/folder-store';
import { type CatalogDocument, catalogKey, emptyCatalog, parseCatalog } from '../tables/catalog-document.js';
import { CatalogBehindError, restoreCatalog, storeCatalog } from './catalog-object.js';
import { ManifestStore } from './manifest-store.js';

let folder: string;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), 'binnacle-catalog-'))));
afterAll(() => rmSync(folder, { recursive: true }));
const open = (name: string): Promise<FolderStore> => FolderStore.open(join(folder, name), { timeoutMs: 10_000 });

/** Documents as cluster state keeps them, without a process behind. */
class Documents {
  document: VersionedDocument | undefined;

  constructor(catalog?: CatalogDocument) {
    if (catalog !== undefined) this.set(catalog);
  }

  set(catalog: CatalogDocument): void {
    this.document = { version: (this.document?.version ?? 0) + 1, value: JSON.stringify(catalog) };
  }

  async readDocument(): Promise<{ document: VersionedDocument | undefined; revision: number }> {
    return { document: this.document, revision: 1 };
  }

  async writeDocument({ key, value, expectedVersion }: DocumentWrite): Promise<DocumentWriteAnswer> {
    expect(key).toBe(catalogKey);
    const version = this.document?.version ?? 0;
    if (version !== expectedVersion) return { written: false, version };
    this.document = { version: version + 1, value };
    return { written: true, version: version + 1, revision: 1 };
  }

  catalog(): CatalogDocument | undefined {
    return this.document && parseCatalog(this.document.value);
  }
}

const upTo = (nextTableId: number): CatalogDocument => ({ ...emptyCatalog, nextTableId, aliases: [{ name: 'a', table: `t${nextTableId}` }] });

test('a cluster state without a catalog gets that of the bucket, and one that has a catalog keeps it', async () => {
  const store = await open('restore');
  await storeCatalog(new Documents(upTo(7)), store);
  const empty = new Documents();
  expect(await restoreCatalog(empty, store)).toEqual(upTo(7));
  expect(empty.catalog()).toEqual(upTo(7));
  const other = new Documents(upTo(3));
  expect(await restoreCatalog(other, store)).toBeUndefined();
  expect(other.catalog()).toEqual(upTo(3));
  await store.close();
});

test('without a catalog in the bucket no new table gets the number of one that has objects there', async () => {
  const store = await open('numbers');
  expect(await restoreCatalog(new Documents(), store)).toEqual(emptyCatalog);
  await new ManifestStore(() => store).claim({ tableId: 41, regionId: 41 * 256, term: 1, writeNode: 'n1', versionBase: () => 0 });
  expect(await restoreCatalog(new Documents(), store)).toEqual({ ...emptyCatalog, nextTableId: 42 });
  await store.close();
});

test('a catalog that was lost does not replace the one in the bucket', async () => {
  const store = await open('behind');
  await storeCatalog(new Documents(upTo(7)), store);
  await expect(storeCatalog(new Documents(upTo(2)), store)).rejects.toThrow(CatalogBehindError);
  await expect(storeCatalog(new Documents(), store)).rejects.toThrow(CatalogBehindError);
  const empty = new Documents();
  await restoreCatalog(empty, store);
  expect(empty.catalog()).toEqual(upTo(7));
  await store.close();
});

test('a leader that slept before it wrote does not put an older catalog over the one of the next', async () => {
  const store = await open('leaders');
  const documents = new Documents(upTo(2));
  let isAsleep = false;
  const sleepy = new Proxy(store, {
    get(target, name) {
      if (name !== 'put') return ((target as unknown as Record<PropertyKey, (...given: unknown[]) => unknown>)[name] as (...given: unknown[]) => unknown).bind(target);
      return async (...given: Parameters<FolderStore['put']>) => {
        if (!isAsleep) {
          isAsleep = true;
          documents.set(upTo(3));
          await storeCatalog(documents, store);
        }
        return store.put(...given);
      };
    },
  });
  await storeCatalog(documents, sleepy);
  const found = new Documents();
  await restoreCatalog(found, store);
  expect(found.catalog()).toEqual(upTo(3));
  await store.close();
});
