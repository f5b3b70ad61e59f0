import { BinnacleError } from '@binnacle/contracts/errors';
import { syncFolder } from '@binnacle/node-kit/sync-folder';
import { mkdirSync, readdirSync } from 'node:fs';
import { open, readFile, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { decodeRecords, encodeRecord, type JournalRecord } from './journal-record.js';

export interface JournalLimits {
  /** Records on their way to the disk. */
  readonly pendingBytesMax: number;
  /** What may wait on the disk for a flush that succeeds. */
  readonly bytesMax: number;
  /** A segment is read as a whole at the start: beyond this the next one begins. */
  readonly segmentBytesMax: number;
}

interface Append {
  readonly chunks: readonly Buffer[];
  readonly bytes: number;
  readonly durable: () => void;
  readonly failed: (error: unknown) => void;
}

type Task = Append | { readonly boundary: (segment: number) => void; readonly failed: (error: unknown) => void };

/** Of one write; more wait for the next. */
const groupBytesMax = 8 * 2 ** 20;

/**
 * What was acknowledged over HTTP and is not in the spool yet, on the disk: one segment or more for each flush interval. While one write runs, what comes in
 * queues up and goes out with the next, under one fdatasync.
 *
 * A record counts once it is durable, and before anything that comes behind it in the queue: so a boundary between two segments is one between two
 * intervals of what was counted, too.
 */
export class Journal {
  readonly #queue: Task[] = [];
  /** Bytes of the segments that are not released, in order of their numbers. */
  readonly #segments = new Map<number, number>();
  #pendingBytes = 0;
  #segment: number;
  #file: FileHandle | undefined;
  #working: Promise<void> | undefined;
  #isClosed = false;

  private constructor(
    private readonly folder: string,
    private readonly limits: JournalLimits,
    lastSegment: number,
  ) {
    this.#segment = lastSegment + 1;
  }

  /**
   * Opens the journal of a process that ended. Segments up to `coveredSegment` are in the spool already and go; of the others every record is handed
   * to `replay`, and they stay until they are released.
   */
  static async open(folder: string, limits: JournalLimits, coveredSegment: number, replay: (record: JournalRecord) => Promise<void>): Promise<Journal> {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const segments = readdirSync(folder).filter((name) => /^\d{12}\.journal$/.test(name)).map((name) => Number.parseInt(name, 10)).sort((a, b) => a - b);
    const journal = new Journal(folder, limits, Math.max(coveredSegment, segments.at(-1) ?? 0));
    for (const segment of segments) journal.#segments.set(segment, 0);
    await journal.release(coveredSegment);
    for (const segment of journal.#segments.keys()) {
      const content = await readFile(journal.#path(segment));
      journal.#segments.set(segment, content.length);
      for (const record of decodeRecords(content)) await replay(record);
    }
    return journal;
  }

  /** On the disk, of all segments. */
  bytes(): number {
    let bytes = 0;
    for (const each of this.#segments.values()) bytes += each;
    return bytes;
  }

  /**
   * Resolves when the record is durable and `count` has been called. Rejects, and then it was not counted: OVERLOADED, OUT_OF_DISK, or what the
   * disk said.
   */
  append(record: JournalRecord, count: () => void): Promise<void> {
    const chunks = encodeRecord(record);
    const bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    if (this.#isClosed || this.#pendingBytes + bytes > this.limits.pendingBytesMax) return Promise.reject(new BinnacleError('OVERLOADED', 'too much is on its way to the disk', { retryAfterS: 1 }));
    if (this.bytes() + this.#pendingBytes + bytes > this.limits.bytesMax) return Promise.reject(new BinnacleError('OUT_OF_DISK', 'the journal is full: what it holds cannot be flushed', { retryAfterS: 10 }));
    this.#pendingBytes += bytes;
    return new Promise((resolve, reject) => {
      const durable = (): void => {
        // What goes wrong in counting is told to the one it goes wrong for.
        try {
          count();
          resolve();
        } catch (error) {
          reject(error);
        }
      };
      this.#enqueue({ chunks, bytes, durable, failed: reject });
    });
  }

  /** Ends the segment: `close` is called between what is in it and what comes after it, and its number told, for `release`. */
  endSegment<T>(close: () => T): Promise<{ segment: number; closed: T }> {
    return new Promise((resolve, reject) => {
      const boundary = (segment: number): void => {
        try {
          resolve({ segment, closed: close() });
        } catch (error) {
          reject(error);
        }
      };
      this.#enqueue({ boundary, failed: reject });
    });
  }

  /** What is in the segments up to this one is safe elsewhere: they go, and stay away when the power fails. */
  async release(segment: number): Promise<void> {
    const released = [...this.#segments.keys()].filter((each) => each <= segment);
    if (released.length === 0) return;
    for (const each of released) await rm(this.#path(each), { force: true });
    await syncFolder(this.folder);
    for (const each of released) this.#segments.delete(each);
  }

  /** Takes no more, and resolves when what is on its way has arrived. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#working;
    await this.#file?.close();
    this.#file = undefined;
  }

  #enqueue(task: Task): void {
    this.#queue.push(task);
    this.#working ??= this.#work();
  }

  async #work(): Promise<void> {
    // What is appended in the same turn goes out together.
    await Promise.resolve();
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      if ('boundary' in next) {
        this.#queue.shift();
        await this.#endSegment().then(next.boundary, next.failed);
      } else await this.#writeGroup();
    }
    // In the same turn as the look at the queue: whoever comes later begins anew.
    this.#working = undefined;
  }

  async #endSegment(): Promise<number> {
    const segment = this.#segment;
    const file = this.#file;
    // An interval in which nothing came has no file; its number is used up all the same.
    this.#file = undefined;
    this.#segment += 1;
    await file?.close();
    return segment;
  }

  async #writeGroup(): Promise<void> {
    const group: Append[] = [];
    let bytes = 0;
    while (this.#queue.length > 0) {
      const next = this.#queue[0] as Task;
      if ('boundary' in next || (group.length > 0 && bytes + next.bytes > groupBytesMax)) break;
      group.push(next);
      bytes += next.bytes;
      this.#queue.shift();
    }
    try {
      await this.#write(Buffer.concat(group.flatMap((append) => append.chunks)));
    } catch (error) {
      const isFull = (error as NodeJS.ErrnoException).code === 'ENOSPC';
      const refusal = isFull ? new BinnacleError('OUT_OF_DISK', 'the disk under the journal is full', { cause: error, retryAfterS: 10 }) : error;
      // Before anyone is told: who is refused sends it again, and then a replay would count both.
      const reason = await this.#takeBack().then(() => refusal, (cause: unknown) => new Error('what the disk refused may count at the next start', { cause }));
      for (const append of group) append.failed(reason);
      // Nothing may be written behind what is half there, or a replay would end before it.
      await this.#endSegment().catch(() => undefined);
      return;
    } finally {
      this.#pendingBytes -= bytes;
    }
    for (const append of group) append.durable();
  }

  async #write(content: Buffer): Promise<void> {
    if (this.#file !== undefined && (this.#segments.get(this.#segment) ?? 0) + content.length > this.limits.segmentBytesMax) await this.#endSegment();
    if (this.#file === undefined) {
      this.#file = await open(this.#path(this.#segment), 'wx', 0o600);
      this.#segments.set(this.#segment, 0);
      await syncFolder(this.folder);
    }
    await this.#file.appendFile(content);
    await this.#file.datasync();
    this.#segments.set(this.#segment, (this.#segments.get(this.#segment) ?? 0) + content.length);
  }

  /** What of a group reached the file that could not be written whole. */
  async #takeBack(): Promise<void> {
    await this.#file?.truncate(this.#segments.get(this.#segment) ?? 0);
    await this.#file?.datasync();
  }

  #path(segment: number): string {
    return join(this.folder, `${String(segment).padStart(12, '0')}.journal`);
  }
}
