import { readFile, rm, writeFile } from 'node:fs/promises';
import { basename, isAbsolute, join } from 'node:path';
import { syncPath } from './file-digest.js';
import { halfMadeName } from './manifest.js';

/**
 * Where the node is making a snapshot, on disk: what a `kill -9` leaves half-made is removed at the next start. The folder beside the
 * target is named in a file; the other one, in the data folder, has a name of its own.
 */
export class HalfMade {
  /** Engine files linked, on their way into the snapshot: on the file system of the engine, so that links can be. */
  readonly checkpoint: string;
  readonly #note: string;

  constructor(storageFolder: string) {
    this.checkpoint = join(storageFolder, 'checkpoint');
    this.#note = join(storageFolder, 'snapshot-under-way');
  }

  /** Before anything is made. */
  async begin(partial: string): Promise<void> {
    if (!halfMadeName.test(partial)) throw new Error(`${basename(partial)} is no name of something half-made`);
    await writeFile(this.#note, partial, { flush: true });
    syncPath(join(this.#note, '..'));
  }

  /** Removes what is there. Resolves with the folder named by the note, if there was one. */
  async remove(): Promise<string | undefined> {
    const partial = await readFile(this.#note, 'utf8').catch(() => undefined);
    const isOurs = partial !== undefined && isAbsolute(partial) && halfMadeName.test(partial);
    await rm(this.checkpoint, { recursive: true, force: true });
    if (isOurs) await rm(partial, { recursive: true, force: true });
    await rm(this.#note, { force: true });
    return isOurs ? partial : undefined;
  }
}
