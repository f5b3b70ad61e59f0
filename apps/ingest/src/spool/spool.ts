import { readdirSync, rmSync, statSync } from 'node:fs';
import { mkdir, readFile, rename, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { makeFolder, syncFolder, writeDurably } from './durable-folder.js';

/** Rows of one table as JSON lines, as the storage role imports them. */
export interface SpoolPart {
  readonly table: string;
  readonly lines: Buffer;
}

interface Batch {
  readonly name: string;
  bytes: number;
  /** File names, `00003-metrics`. */
  readonly parts: string[];
}

/** `000000000012-000000000034`: its number, and the segment of the journal up to which it has everything. */
const batchName = /^(\d{12})-(\d{12})$/;

/**
 * Batches of rows on the disk, from the flush that made them until somebody took them: a folder each, which appears whole or not at all. When
 * there is no room for another one the oldest go, and are counted.
 */
export class Spool {
  readonly #batches: Batch[] = [];
  #bytes = 0;
  #nextNumber = 1;
  #coveredSegment = 0;
  /** The batch that is being sent does not go for want of room. */
  #inHand: Batch | undefined;
  /** Bytes that went for want of room, since the start. */
  lostBytes = 0;

  constructor(
    private readonly folder: string,
    private readonly bytesMax: number,
  ) {
    makeFolder(folder);
    for (const name of readdirSync(folder).sort()) {
      const [, number, segment] = batchName.exec(name) ?? [];
      // The process ended while it wrote it; the journal has what was to be in it.
      if (number === undefined) rmSync(join(folder, name), { recursive: true, force: true });
      else {
        const parts = readdirSync(join(folder, name)).sort();
        const bytes = parts.reduce((sum, part) => sum + statSync(join(folder, name, part)).size, 0);
        this.#batches.push({ name, bytes, parts });
        this.#bytes += bytes;
        this.#nextNumber = Number(number) + 1;
        this.#coveredSegment = Number(segment);
      }
    }
  }

  /** Of the newest batch that was found at the start: up to which segment the journal need not be replayed. 0: from the beginning. */
  coveredSegment(): number {
    return this.#coveredSegment;
  }

  bytes(): number {
    return this.#bytes;
  }

  batchCount(): number {
    return this.#batches.length;
  }

  /** Resolves when all of it is on the disk, and rejects when nothing of it is. */
  async add(parts: Iterable<SpoolPart>, coveredSegment: number): Promise<void> {
    const digits = (number: number): string => String(number).padStart(12, '0');
    const name = `${digits(this.#nextNumber)}-${digits(coveredSegment)}`;
    const half = join(this.folder, `${name}.half`);
    const batch: Batch = { name, bytes: 0, parts: [] };
    await mkdir(half, { mode: 0o700 });
    try {
      for (const { table, lines } of parts) {
        const part = `${String(batch.parts.length).padStart(5, '0')}-${table}`;
        await writeDurably(join(half, part), lines);
        batch.parts.push(part);
        batch.bytes += lines.length;
      }
      await syncFolder(half);
      await rename(half, join(this.folder, name));
      await syncFolder(this.folder);
    } catch (error) {
      await rm(half, { recursive: true, force: true }).catch(() => undefined);
      throw error;
    }
    this.#nextNumber += 1;
    this.#batches.push(batch);
    this.#bytes += batch.bytes;
    await this.#makeRoom();
  }

  /**
   * Sends the parts of the oldest batch one after the other; each goes once `send` has resolved, and the rest stays when it rejects.
   * False when there is none.
   */
  async sendOldest(send: (part: SpoolPart) => Promise<void>): Promise<boolean> {
    const batch = this.#batches[0];
    if (batch === undefined) return false;
    this.#inHand = batch;
    try {
      for (let part = batch.parts[0]; part !== undefined; part = batch.parts[0]) {
        const path = join(this.folder, batch.name, part);
        const lines = await readFile(path);
        await send({ table: part.slice(part.indexOf('-') + 1), lines });
        await rm(path);
        batch.parts.shift();
        batch.bytes -= lines.length;
        this.#bytes -= lines.length;
      }
      await rmdir(join(this.folder, batch.name));
      this.#batches.shift();
    } finally {
      this.#inHand = undefined;
    }
    return true;
  }

  async #makeRoom(): Promise<void> {
    while (this.#bytes > this.bytesMax && this.#batches.length > 1) {
      const at = this.#batches[0] === this.#inHand ? 1 : 0;
      // The newest one stays: it has what the journal is about to let go.
      if (at === this.#batches.length - 1) return;
      const [oldest] = this.#batches.splice(at, 1) as [Batch];
      this.#bytes -= oldest.bytes;
      this.lostBytes += oldest.bytes;
      await rm(join(this.folder, oldest.name), { recursive: true, force: true });
    }
  }
}
