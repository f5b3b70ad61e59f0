import { syncFolder } from '@binnacle/node-kit/sync-folder';
import { mkdirSync, readdirSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { mkdir, open, readFile, rename, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';

/** Something for one destination. */
export interface SpoolPart {
  /** The destination: letters, digits, dots, hyphens and underscores. */
  readonly lane: string;
  /** What the destination makes of it: a table, or the key of a message. Of the same characters. */
  readonly name: string;
  readonly content: Buffer;
}

interface Batch {
  /** Of its folder. */
  readonly name: string;
  /** Parts that are still there. */
  readonly parts: Set<StoredPart>;
}

interface StoredPart {
  readonly batch: Batch;
  /** `00003,tables,metrics`: its place in the batch, its lane, its name. */
  readonly file: string;
  readonly lane: string;
  readonly bytes: number;
}

/** `000000000012-000000000034`: its number, and the segment of the journal up to which it has everything. */
const batchName = /^(\d{12})-(\d{12})$/;
const partName = /^\d{5},([A-Za-z0-9._-]+),([A-Za-z0-9._-]+)$/;

/**
 * What flushes came to, on the disk until its destinations took it. A flush is one batch, with the parts of every destination: a folder, which appears
 * whole or not at all. Each destination has a lane, which is emptied oldest first whatever the others do; a batch goes with its last part. When there
 * is no room for another batch the oldest go, and are counted.
 */
export class Spool {
  /** In order of their making. */
  readonly #batches = new Set<Batch>();
  /** In order of their making, for each lane. */
  readonly #lanes = new Map<string, StoredPart[]>();
  #bytes = 0;
  #nextNumber = 1;
  #coveredSegment = 0;
  /** Parts that are being sent do not go for want of room. */
  readonly #inHand = new Set<StoredPart>();
  /** Bytes that went for want of room, since the start, by lane. */
  readonly lostBytes = new Map<string, number>();

  constructor(
    private readonly folder: string,
    private readonly bytesMax: number,
  ) {
    // Of this user alone: metrics may tell more than one thinks.
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(folder).sort()) {
      const [, number, segment] = batchName.exec(name) ?? [];
      // The process ended while it wrote it; the journal has what was to be in it.
      if (number === undefined) rmSync(join(folder, name), { recursive: true, force: true });
      else {
        this.#nextNumber = Number(number) + 1;
        this.#coveredSegment = Number(segment);
        this.#find(name);
      }
    }
  }

  /** Of the newest batch that was found at the start: up to which segment the journal need not be replayed. 0: from the beginning. */
  coveredSegment(): number {
    return this.#coveredSegment;
  }

  /** On the disk: of one lane, or of all. */
  bytes(lane?: string): number {
    return lane === undefined ? this.#bytes : (this.#lanes.get(lane) ?? []).reduce((sum, { bytes }) => sum + bytes, 0);
  }

  batchCount(): number {
    return this.#batches.size;
  }

  /** Those in which something waits. */
  lanes(): readonly string[] {
    return [...this.#lanes.keys()];
  }

  /**
   * Resolves when all of it is on the disk, and rejects when nothing of it is. Nothing is sent before `kept` has resolved, which is called once it is
   * on the disk; what that rejects with is passed on, though the batch stays.
   */
  async add(parts: Iterable<SpoolPart> | AsyncIterable<SpoolPart>, coveredSegment: number, kept: () => Promise<void> = async () => {}): Promise<void> {
    const digits = (number: number): string => String(number).padStart(12, '0');
    // Of its own for each try: what cannot be cleared away is in nobody's way.
    const name = `${digits(this.#nextNumber++)}-${digits(coveredSegment)}`;
    const whole = join(this.folder, name);
    const half = `${whole}.half`;
    const batch: Batch = { name, parts: new Set() };
    await mkdir(half, { mode: 0o700 });
    try {
      for await (const { lane, name: of, content } of parts) {
        const file = `${String(batch.parts.size).padStart(5, '0')},${lane},${of}`;
        if (!partName.test(file)) throw new Error(`a part of the spool cannot be called ${file}`);
        await writeDurably(join(half, file), content);
        batch.parts.add({ batch, file, lane, bytes: content.length });
      }
      await syncFolder(half);
      await rename(half, whole);
      await syncFolder(this.folder);
    } catch (error) {
      // Where only the last sync failed; a part of it may not be found at the next start, so it goes as it came.
      await rename(whole, half).catch(() => undefined);
      await rm(half, { recursive: true, force: true }).catch(() => undefined);
      throw error;
    }
    try {
      await kept();
    } finally {
      this.#publish(batch);
      await this.#makeRoom(batch);
    }
  }

  /** Sends the oldest part of a lane; it goes once `send` has resolved, and stays when it rejects. False when there is none. One at a time for each lane. */
  async sendOldest(lane: string, send: (part: SpoolPart) => Promise<void>): Promise<boolean> {
    const part = this.#lanes.get(lane)?.[0];
    if (part === undefined) return false;
    this.#inHand.add(part);
    try {
      const [, , name] = partName.exec(part.file) as unknown as [string, string, string];
      await send({ lane, name, content: await readFile(join(this.folder, part.batch.name, part.file)) });
      await this.#remove(part);
    } finally {
      this.#inHand.delete(part);
    }
    return true;
  }

  /** A batch that an earlier process left. */
  #find(name: string): void {
    const batch: Batch = { name, parts: new Set() };
    for (const file of readdirSync(join(this.folder, name)).sort()) {
      const [, lane] = partName.exec(file) ?? [];
      if (lane !== undefined) batch.parts.add({ batch, file, lane, bytes: statSync(join(this.folder, name, file)).size });
    }
    // Its last part was sent, and the process ended before the folder went.
    if (batch.parts.size === 0) rmdirSync(join(this.folder, name));
    else this.#publish(batch);
  }

  #publish(batch: Batch): void {
    if (batch.parts.size > 0) this.#batches.add(batch);
    for (const part of batch.parts) {
      const lane = this.#lanes.get(part.lane) ?? [];
      this.#lanes.set(part.lane, lane);
      lane.push(part);
      this.#bytes += part.bytes;
    }
  }

  /** Durably: a part that came back with the power might be sent when its receiver has forgotten it. */
  async #remove(part: StoredPart): Promise<void> {
    const { batch, file, lane: name, bytes } = part;
    const path = join(this.folder, batch.name);
    const lane = this.#lanes.get(name) as StoredPart[];
    const at = lane.indexOf(part);
    // At once, so that nobody begins to send what is about to go.
    lane.splice(at, 1);
    try {
      await rm(join(path, file), { force: true });
      await syncFolder(path);
    } catch (error) {
      lane.splice(at, 0, part);
      throw error;
    }
    if (lane.length === 0) this.#lanes.delete(name);
    batch.parts.delete(part);
    this.#bytes -= bytes;
    if (batch.parts.size > 0) return;
    this.#batches.delete(batch);
    // An empty one that stays goes at the next start.
    await rmdir(path).catch(() => undefined);
  }

  async #makeRoom(newest: Batch): Promise<void> {
    for (const batch of this.#batches) {
      // The newest one stays: it has what the journal has just let go.
      if (this.#bytes <= this.bytesMax || batch === newest) return;
      for (const part of batch.parts) {
        if (this.#inHand.has(part)) continue;
        this.lostBytes.set(part.lane, (this.lostBytes.get(part.lane) ?? 0) + part.bytes);
        await this.#remove(part);
      }
    }
  }
}

async function writeDurably(path: string, content: Buffer): Promise<void> {
  const handle = await open(path, 'w', 0o600);
  try {
    await handle.writeFile(content);
    await handle.datasync();
  } finally {
    await handle.close();
  }
}
