import { opendir, rmdir, stat } from 'node:fs/promises';
import { unlinkSync } from 'node:fs';
import { join, relative } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { CacheIndex } from './cache-index.js';
import { blockBytes, type MirrorDisk } from './mirror-disk.js';
import type { Mirror } from './mirror.js';
import type { Reclaimer } from './reclaimer.js';

const statBlockBytes = 512;
/** The file system's own records of a file with many holes. */
const overheadBytesMax = 64 * 1024;
const mirrorsPerSlice = 1_000;
const foldersDeepMax = 16;

/**
 * Goes through the folder and the index in the background, and makes both agree: after a start, since a killed process may have written
 * or freed more than its index file knows, and when a mirror was found missing.
 */
export class Examination {
  #number = 0;
  #running: Promise<void> | undefined;
  #again = false;
  #stopped = false;

  constructor(
    private readonly index: CacheIndex,
    private readonly disk: MirrorDisk,
    private readonly reclaimer: Reclaimer,
    private readonly onError: (error: unknown) => void,
  ) {}

  /** Resolves when one that began after this call, or no earlier than it, is over. */
  async request(): Promise<void> {
    this.#again = true;
    this.#running ??= this.#runAll().finally(() => (this.#running = undefined));
    await this.#running;
  }

  stop(): void {
    this.#stopped = true;
  }

  async #runAll(): Promise<void> {
    while (this.#again && !this.#stopped) {
      this.#again = false;
      this.#number++;
      try {
        await this.#walk(this.disk.files, foldersDeepMax);
        await this.#compareIndex();
      } catch (error) {
        this.onError(error);
      }
    }
  }

  async #walk(folder: string, deep: number): Promise<void> {
    if (deep === 0 || this.#stopped) return;
    const entries = await opendir(folder).catch(() => undefined);
    if (entries === undefined) return;
    let names = 0;
    for await (const entry of entries) {
      names++;
      const path = join(folder, entry.name);
      if (entry.isDirectory()) await this.#walk(path, deep - 1);
      else await this.#file(path);
      if (this.#stopped) return;
    }
    // Of a table that was dropped, say. It fails when something has come in meanwhile.
    if (names === 0 && folder !== this.disk.files) await rmdir(folder).catch(() => undefined);
  }

  async #file(path: string): Promise<void> {
    const mirror = this.index.mirrors.get(relative(this.disk.files, path));
    if (mirror === undefined) {
      // In one go with the look into the index: a mirror made in between would lose its file.
      unlinkSync(path);
      return;
    }
    const { blocks } = await stat(path).catch(() => ({ blocks: 0 }));
    mirror.examination = this.#number;
    this.index.setAllocated(mirror, blocks * statBlockBytes);
    if (mirror.isBusy() || mirror.allocatedBytes <= this.#neededBytes(mirror) + overheadBytesMax) return;
    mirror.holes.push([0, mirror.bytes]);
    this.reclaimer.add(mirror);
  }

  #neededBytes(mirror: Mirror): number {
    const { entries } = this.index;
    return mirror.slots.reduce((sum, slot) => sum + Math.ceil(entries.endOf(slot) / blockBytes) * blockBytes - Math.floor((entries.offset[slot] as number) / blockBytes) * blockBytes, 0);
  }

  async #compareIndex(): Promise<void> {
    let count = 0;
    for (const mirror of this.index.mirrors.values()) {
      if (++count % mirrorsPerSlice === 0) await nextTurn();
      if (this.#stopped) return;
      if (mirror.examination === this.#number || mirror.isBusy()) continue;
      if (mirror.slots.length === 0) this.index.forget(mirror);
      else if ((await this.disk.allocatedBytes(mirror.key)) === undefined) this.index.dropPresent(mirror);
    }
  }
}
