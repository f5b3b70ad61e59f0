import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, open, rm, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BinnacleError } from '@binnacle/contracts/errors';
import type { Piece } from './mirror-disk.js';

export interface SpareFile {
  readonly path: string;
  remove(): Promise<void>;
}

/** What was to be copied is not there any more. */
export class SourceGone extends Error {}

/** Memory first: it is there when the disk of the cache is full or cannot be written. */
const parents = ['/dev/shm', tmpdir()];

/** Files that go with their reader, for what the disk of the cache does not take. Mostly in memory, hence few bytes. */
export class SpareFiles {
  /** Of this cache alone; a reader must be allowed to open what is in them. */
  readonly folders: readonly string[];
  bytes = 0;
  #made = 0;

  constructor(
    cacheFolder: string,
    private readonly bytesMax: number,
  ) {
    const name = `binnacle-${createHash('sha256').update(cacheFolder).digest('hex').slice(0, 16)}`;
    this.folders = parents.filter((parent) => existsSync(parent)).map((parent) => join(parent, name));
  }

  /** Takes `bytes` of the budget; call what it returns once they are not needed. Throws `OUT_OF_DISK`. */
  reserve(bytes: number): () => void {
    if (this.bytes + bytes > this.bytesMax) {
      throw new BinnacleError('OUT_OF_DISK', `the disk of the file cache takes nothing, and ${bytes} bytes are more than is left of ${this.bytesMax} to read without it`, { retryAfterS: 5 });
    }
    this.bytes += bytes;
    let reserved = true;
    return () => {
      if (reserved) this.bytes -= bytes;
      reserved = false;
    };
  }

  /** A sparse file of `fileBytes` with what `fill` writes. Throws `OUT_OF_DISK` when no folder takes it. */
  async make(fileBytes: number, fill: (write: (piece: Piece) => Promise<void>) => Promise<void>): Promise<SpareFile> {
    let cause: unknown;
    for (const folder of this.folders) {
      const path = join(folder, `${++this.#made}.parquet`);
      try {
        await mkdir(folder, { recursive: true, mode: 0o700 });
        const file = await open(path, 'wx', 0o600);
        try {
          await file.truncate(fileBytes);
          await fill(async ({ offset, bytes }) => {
            for (let written = 0; written < bytes.length; ) written += (await file.write(bytes, written, bytes.length - written, offset + written)).bytesWritten;
          });
        } finally {
          await file.close();
        }
        return { path, remove: async () => rm(path, { force: true }) };
      } catch (error) {
        await rm(path, { force: true }).catch(() => undefined);
        if (error instanceof SourceGone) throw error;
        cause = error;
      }
    }
    throw new BinnacleError('OUT_OF_DISK', 'neither the file cache nor a temporary folder has room for what is to be read', { cause, retryAfterS: 5 });
  }

  /** Removes the folders, unless a reader still has something in them. */
  async leave(): Promise<void> {
    for (const folder of this.folders) await rmdir(folder).catch(() => undefined);
  }

  /** What a killed process left. */
  async clean(): Promise<void> {
    for (const folder of this.folders) await rm(folder, { recursive: true, force: true }).catch(() => undefined);
  }
}
