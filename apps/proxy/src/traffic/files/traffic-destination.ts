import { syncFolder } from '@binnacle/node-kit/sync-folder';
import type { ObjectStore } from '@binnacle/object-store/object-store';
import { openObjectStore } from '@binnacle/object-store/open-object-store';
import type { S3StoreOptions } from '@binnacle/object-store/s3-store';
import { randomUUID } from 'node:crypto';
import { link, mkdir, mkdtemp, readdir, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { metaName, partSuffix } from './file-names.js';

/** Where a capture goes. Files are written in `partFolder`, then published whole. */
export interface TrafficDestination {
  /** For people. */
  readonly name: string;
  readonly partFolder: string;
  /** Of all files there. */
  names(): Promise<string[]>;
  /** Moves a file that is written from its part there. With `numberedName` it has that name, too, where a file can have two. */
  publish(name: string, numberedName?: string): Promise<void>;
  writeMeta(text: string): Promise<void>;
  /** Resolves when all that was published is there; rejects with what went wrong. */
  settle(): Promise<void>;
  close(): Promise<void>;
}

export interface DestinationOptions {
  /** A folder, `file:///folder`, or `s3://bucket/prefix`. */
  readonly output: string;
  /** For buckets: how to speak to them. */
  readonly store: S3StoreOptions;
  /** For buckets: where files are until they are uploaded. */
  readonly temporaryFolder: string;
  readonly onWarning: (message: string) => void;
}

export async function openDestination({ output, store, temporaryFolder, onWarning }: DestinationOptions): Promise<TrafficDestination> {
  if (output.startsWith('s3://')) {
    await mkdir(temporaryFolder, { recursive: true, mode: 0o700 });
    return new BucketDestination(await openObjectStore({ ...store, url: output }), await mkdtemp(join(temporaryFolder, 'traffic-')));
  }
  const folder = localFolder(output);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  return new FolderDestination(folder, onWarning);
}

/** Throws on the address of something else. */
export function localFolder(address: string): string {
  if (address.startsWith('file://')) return fileURLToPath(address);
  if (/^[a-z0-9+.-]+:\/\//i.test(address)) throw new Error(`traffic is kept in a folder or in s3://BUCKET/PREFIX, not in ${JSON.stringify(address)}`);
  return resolve(address);
}

class FolderDestination implements TrafficDestination {
  readonly name: string;
  readonly partFolder: string;
  #isLinkable = true;

  constructor(folder: string, private readonly onWarning: (message: string) => void) {
    this.name = this.partFolder = folder;
  }

  async names(): Promise<string[]> {
    return await readdir(this.partFolder);
  }

  async publish(name: string, numberedName?: string): Promise<void> {
    const path = join(this.partFolder, name);
    await rename(path + partSuffix, path);
    if (numberedName !== undefined) await this.#link(path, join(this.partFolder, numberedName));
    await syncFolder(this.partFolder);
  }

  async writeMeta(text: string): Promise<void> {
    const path = join(this.partFolder, metaName);
    const draft = join(this.partFolder, `.${metaName}-${randomUUID()}`);
    try {
      await writeFile(draft, text, { mode: 0o600, flag: 'wx', flush: true });
      await rename(draft, path);
    } finally {
      await rm(draft, { force: true });
    }
    await syncFolder(this.partFolder);
  }

  async settle(): Promise<void> {}

  async close(): Promise<void> {}

  /** Only v1.4 needs it. */
  async #link(from: string, to: string): Promise<void> {
    if (!this.#isLinkable) return;
    await link(from, to).catch((error: NodeJS.ErrnoException) => {
      this.#isLinkable = false;
      this.onWarning(`${this.name} takes no hard links (${error.code}): TiProxy v1.4 will not find the files, which it wants as traffic-1.log and so on`);
    });
  }

}

/** Objects appear whole, when their file is full: on the disk are one that is written, one that waits and one that is uploaded, of each prefix. */
class BucketDestination implements TrafficDestination {
  readonly name: string;
  #uploading: Promise<void> = Promise.resolve();

  constructor(
    private readonly store: ObjectStore,
    readonly partFolder: string,
  ) {
    this.name = store.url;
  }

  async names(): Promise<string[]> {
    const names: string[] = [];
    for await (const { key } of this.store.list('')) names.push(key);
    return names;
  }

  async publish(name: string): Promise<void> {
    const path = join(this.partFolder, name);
    await rename(path + partSuffix, path);
    const before = this.#uploading;
    this.#uploading = before.then(async () => {
      await this.store.putFile(name, path);
      await rm(path);
    });
    // Whoever comes next hears of it.
    this.#uploading.catch(() => {});
    await before;
  }

  async writeMeta(text: string): Promise<void> {
    await this.store.put(metaName, Buffer.from(text));
  }

  async settle(): Promise<void> {
    await this.#uploading.catch((cause: unknown) => {
      throw new Error(`what was not uploaded is in ${this.partFolder}: ${(cause as Error).message}`, { cause });
    });
  }

  /** What could not be uploaded stays in the part folder. */
  async close(): Promise<void> {
    await this.store.close();
    await rmdir(this.partFolder).catch(() => {});
  }
}
