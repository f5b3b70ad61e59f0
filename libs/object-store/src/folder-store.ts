import { randomUUID } from 'node:crypto';
import { type BigIntStats, constants, renameSync, statSync } from 'node:fs';
import { copyFile, type FileHandle, link, mkdir, open, readdir, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { DeadlinePassed, withDeadline } from './deadline.js';
import { folderError, isErrno, missing } from './folder-error.js';
import { listFolder } from './folder-list.js';
import { FolderLock } from './folder-lock.js';
import { checkKey, checkPrefix, checkRange } from './object-key.js';
import {
  type ByteRange, type GetOptions, type ListOptions, ObjectChanged, type ObjectFacts, ObjectNotFound, type ObjectStore,
  ObjectStoreUnavailable, type OperationOptions, PreconditionFailed, type PutAnswer, type PutOptions, type StoredObject,
} from './object-store.js';
import { proveConditions } from './prove-conditions.js';

export interface FolderStoreOptions {
  /** Of one operation. Files get a second more for every 10 MB. */
  readonly timeoutMs: number;
  /** A file being written that has not changed for this long was left by a process that died. Default: an hour. */
  readonly leftoverAgeMs?: number;
}

/** What no key can begin with. Same file system as the objects, so that what was written there can be renamed. */
const ownFolder = '.binnacle';
const leftoverAgeMsDefault = 3_600_000;
const bytesPerMs = 10_000;

/**
 * Objects as files of a folder, by their keys; for one machine, or several that mount it and whose clocks agree. A new object is written
 * beside the others, synced, and then linked or renamed to its key; what depends on the content that is there happens under a lock.
 */
export class FolderStore implements ObjectStore {
  readonly url: string;
  readonly #folder: string;
  readonly #temporary: string;
  readonly #lock: FolderLock;
  readonly #timeoutMs: number;

  private constructor(folder: string, lock: FolderLock, { timeoutMs }: FolderStoreOptions) {
    this.url = pathToFileURL(folder).href;
    this.#folder = folder;
    this.#temporary = join(folder, ownFolder, 'temporary');
    this.#lock = lock;
    this.#timeoutMs = timeoutMs;
  }

  /** Makes the folder when it is missing, and removes what crashed processes left in it. */
  static async open(path: string, options: FolderStoreOptions): Promise<FolderStore> {
    const folder = resolve(path);
    const own = join(folder, ownFolder);
    try {
      return await withDeadline(options.timeoutMs, undefined, async (signal) => {
        await makeFolder(join(own, 'temporary'));
        const store = new FolderStore(folder, await FolderLock.open(join(own, 'lock.sqlite'), signal), options);
        await store.#removeLeftovers(options.leftoverAgeMs ?? leftoverAgeMsDefault);
        return store;
      });
    } catch (error) {
      throw folderError(pathToFileURL(folder).href, error);
    }
  }

  async check(options: OperationOptions = {}): Promise<void> {
    await proveConditions(this, options);
  }

  async get(key: string, options: GetOptions = {}): Promise<StoredObject | undefined> {
    checkKey(key);
    return await this.#run(options, async (signal) => {
      return await this.#reading(key, async (file, facts) => {
        if (facts.etag === options.unlessEtag) return undefined;
        return { ...facts, body: await file.readFile({ signal }) };
      });
    });
  }

  async getRange(key: string, range: ByteRange, options: OperationOptions = {}): Promise<Buffer> {
    checkKey(key);
    checkRange(range);
    const bytes = await this.#run(options, async () => {
      return await this.#reading(key, async (file, facts) => {
        if (facts.bytes < range.offset + range.length) throw new ObjectChanged(`${key} has ${facts.bytes} bytes only`);
        const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(range.length), 0, range.length, range.offset);
        if (bytesRead < range.length) throw new ObjectChanged(`${key} became shorter`);
        return buffer;
      });
    });
    if (bytes === undefined) throw new ObjectNotFound(`there is no ${key} in ${this.url}`);
    return bytes;
  }

  async head(key: string, options: OperationOptions = {}): Promise<ObjectFacts | undefined> {
    checkKey(key);
    return await this.#run(options, async () => {
      const found = await stat(this.#path(key), { bigint: true }).catch(missing);
      return found?.isFile() ? factsOf(key, found) : undefined;
    });
  }

  async put(key: string, body: Uint8Array, options: PutOptions = {}): Promise<PutAnswer> {
    return await this.#create(key, options, this.#timeoutMs, async (path) => {
      const file = await open(path, 'wx');
      try {
        await file.writeFile(body);
      } finally {
        await file.close();
      }
    });
  }

  async putFile(key: string, path: string, options: PutOptions = {}): Promise<PutAnswer> {
    checkKey(key);
    const { size } = await stat(path);
    return await this.#create(key, options, this.#timeoutMs + size / bytesPerMs, async (temporary) => {
      await copyFile(path, temporary, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    });
  }

  async delete(key: string, options: OperationOptions = {}): Promise<void> {
    checkKey(key);
    const path = this.#path(key);
    const doomed = this.#temporaryPath();
    await this.#run(options, async (signal) => {
      // Moved away under the lock, deleted after it: freeing a large file takes time.
      const isMoved = await this.#lock.hold(() => {
        const isThere = fileAt(path) !== undefined;
        if (isThere) renameSync(path, doomed);
        return isThere;
      }, signal);
      if (!isMoved) return;
      await syncFolder(dirname(path));
      await rm(doomed, { force: true });
    });
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ObjectFacts> {
    checkPrefix(prefix);
    const keys = listFolder(this.#folder, prefix, options.after ?? '');
    for (;;) {
      const batch = await this.#run(options, async () => {
        const { done, value } = await keys.next();
        if (done) return undefined;
        return await Promise.all(value.map(async (key) => ({ key, found: await stat(this.#path(key), { bigint: true }).catch(missing) })));
      });
      if (batch === undefined) return;
      for (const { key, found } of batch) if (found?.isFile()) yield factsOf(key, found);
    }
  }

  async nowMs(): Promise<number> {
    return Date.now(); // As in `stamp`.
  }

  async close(): Promise<void> {
    this.#lock.close();
  }

  /** Undefined: there is no such object. */
  async #reading<T>(key: string, read: (file: FileHandle, facts: ObjectFacts) => Promise<T>): Promise<T | undefined> {
    const file = await open(this.#path(key)).catch(missing);
    if (file === undefined) return undefined;
    try {
      const found = await file.stat({ bigint: true });
      return found.isFile() ? await read(file, factsOf(key, found)) : undefined;
    } finally {
      await file.close();
    }
  }

  async #create(key: string, { condition, signal: caller }: PutOptions, timeoutMs: number, write: (path: string) => Promise<void>): Promise<PutAnswer> {
    checkKey(key);
    const path = this.#path(key);
    const temporary = this.#temporaryPath();
    return await this.#run(caller ? { signal: caller } : {}, async (signal) => {
      try {
        await makeFolder(dirname(path));
        await write(temporary);
        const etag = await stamp(temporary);
        signal.throwIfAborted();
        if (condition === 'absent') await link(temporary, path);
        else {
          await this.#lock.hold(() => {
            if (condition !== undefined && fileAt(path) !== condition.etag) throw new PreconditionFailed(`${key} is another now`);
            renameSync(temporary, path);
          }, signal);
        }
        await syncFolder(dirname(path));
        return { etag };
      } catch (error) {
        if (condition === 'absent' && isErrno(error, 'EEXIST')) throw new PreconditionFailed(`${key} exists`);
        throw error;
      } finally {
        await rm(temporary, { force: true });
      }
    }, timeoutMs);
  }

  async #run<T>({ signal }: OperationOptions, action: (signal: AbortSignal) => Promise<T>, timeoutMs = this.#timeoutMs): Promise<T> {
    try {
      return await withDeadline(timeoutMs, signal, action);
    } catch (error) {
      if (error instanceof DeadlinePassed) throw new ObjectStoreUnavailable(`${this.url} did not answer within ${Math.round(timeoutMs)} ms`);
      throw folderError(this.url, error);
    }
  }

  async #removeLeftovers(ageMs: number): Promise<void> {
    for (const name of await readdir(this.#temporary)) {
      const path = join(this.#temporary, name);
      const found = await stat(path).catch(missing);
      // The change time: a renamed file keeps the time of its content.
      if (found !== undefined && found.ctimeMs <= Date.now() - ageMs) await rm(path, { force: true });
    }
  }

  #path(key: string): string {
    return join(this.#folder, key);
  }

  #temporaryPath(): string {
    return join(this.#temporary, randomUUID());
  }
}

function factsOf(key: string, found: BigIntStats): ObjectFacts {
  return { key, bytes: Number(found.size), etag: etagOf(found), lastModifiedMs: Number(found.mtimeMs) };
}

function etagOf({ ino, mtimeNs, size }: BigIntStats): string {
  return [ino, mtimeNs, size].map((part) => part.toString(36)).join('-');
}

/** Its etag. Undefined: there is no file. */
function fileAt(path: string): string | undefined {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  return found?.isFile() ? etagOf(found) : undefined;
}

/**
 * Syncs a file that is about to be published, and gives it an etag of its own. File systems stamp by the tick of the kernel (4 ms) and use
 * inode numbers again, so an object replaced by others of its size would soon look like an earlier one: the time is set to the microsecond,
 * the part below a millisecond from a clock that does not stand still.
 */
async function stamp(path: string): Promise<string> {
  const file = await open(path, 'r+');
  try {
    const microseconds = Number((process.hrtime.bigint() / 1_000n) % 1_000n);
    const seconds = Date.now() / 1_000 + microseconds / 1e6;
    await file.utimes(seconds, seconds);
    await file.sync();
    return etagOf(await file.stat({ bigint: true }));
  } finally {
    await file.close();
  }
}

/** Makes it durable that there is the folder, too. */
async function makeFolder(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  for (let folder = dirname(path); folder.length >= dirname(first).length; folder = dirname(folder)) {
    await syncFolder(folder);
    if (folder === dirname(folder)) return;
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
