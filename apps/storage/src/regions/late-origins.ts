import { mkdir, open, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Origins } from './take-over.js';

type Entry = readonly [key: string, position: number, version: number];

/**
 * `storage/late-rows/{region}`: which versions the late rows that were taken here stand for, so that a restart does not take them for rows of clients. A
 * line of JSON for each row. Entries of earlier loads do no harm: a position is that of one row version.
 */
export class LateOrigins {
  /** By region: what is not on disk yet, or could not be written. */
  readonly #unsaved = new Map<number, readonly Entry[]>();

  constructor(private readonly folder: string) {}

  /** Into `origins`, but for rows that are known there from later on. A torn end was of rows whose sender has no answer, and sends them again. */
  async readInto(regionId: number, origins: Origins): Promise<void> {
    const text = await readFile(this.#path(regionId), 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return '';
      throw error;
    });
    for (const line of text.split('\n')) {
      const entry = parsed(line);
      if (entry === undefined) continue;
      const [key, position, version] = entry;
      if ((origins.get(key)?.position ?? -1) < position) origins.set(key, { position, version });
    }
  }

  /** Resolves once it is on disk, and what could not be written before with it. */
  async append(regionId: number, entries: readonly Entry[]): Promise<void> {
    const unsaved = [...(this.#unsaved.get(regionId) ?? []), ...entries];
    if (unsaved.length === 0) return;
    this.#unsaved.set(regionId, unsaved);
    await mkdir(this.folder, { recursive: true });
    const file = await open(this.#path(regionId), 'a');
    try {
      // What is behind a torn line is a line of its own.
      await file.appendFile(`\n${unsaved.map((entry) => JSON.stringify(entry)).join('\n')}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    const written = new Set(unsaved);
    this.#unsaved.set(regionId, (this.#unsaved.get(regionId) ?? []).filter((entry) => !written.has(entry)));
  }

  /** Of regions that nobody comes back with rows of. */
  async removeOthers(kept: ReadonlySet<number>): Promise<void> {
    const names = await readdir(this.folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    });
    for (const regionId of this.#unsaved.keys()) if (!kept.has(regionId)) this.#unsaved.delete(regionId);
    for (const name of names) if (!kept.has(Number(name))) await rm(join(this.folder, name), { force: true });
  }

  #path(regionId: number): string {
    return join(this.folder, String(regionId));
  }
}

function parsed(line: string): Entry | undefined {
  try {
    return line === '' ? undefined : (JSON.parse(line) as Entry);
  } catch {
    return undefined;
  }
}
