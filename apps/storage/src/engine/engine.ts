// Whoever compiles this file from another project has to find the declarations too.
// eslint-disable-next-line @typescript-eslint/triple-slash-reference
/// <reference path="./rocksdb-native.d.ts" />
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { BinnacleError } from '@binnacle/contracts/errors';
import RocksDB, { type ReadBatch } from 'rocksdb-native';
import type { LogBatch } from '../log/log-record.js';
import { linkEngineFiles, syncFiles } from './checkpoint-files.js';
import { DeleteMarks } from './delete-marks.js';
import {
  appliedVersionKey,
  countKey,
  countKeys,
  decodeFigures,
  decodeFound,
  decodeRow,
  decodeVersion,
  encodeFigures,
  encodeKey,
  type FoundRow,
  keyHeadBytes,
  readVersion,
  type Row,
  type RowVersion,
  type TableFigures,
  tableIdMax,
  tableIdOfCountKey,
  valueHeadBytes,
  writeKey,
  writeValue,
  writeVersion,
} from './row.js';
import { scanPages } from './scan-pages.js';
import { figuresAfter, isDrop, presenceKey } from './table-figures.js';

export interface ScanRange {
  /** Rows with greater handles only. */
  readonly after?: Buffer;
  /** Rows at most. */
  readonly limit?: number;
}

/** A batch, and by how much it changes the number of its table's rows; where that is not known, the rows it writes are read first. */
export interface AppliedBatch extends LogBatch {
  readonly rowsAdded?: number;
}

/** The engine's folder cannot be opened; the message says why and what to do. */
export class EngineUnusableError extends Error {
  override readonly name = 'EngineUnusableError';
}

/** What a scan reads at once: so many rows, or fewer, so that those of the size of the table's largest document fit into the bytes. */
const rowsAheadMax = 256;
const bytesAheadMax = 4 * 2 ** 20;
/** Delete marks removed together; writes wait meanwhile, for some two milliseconds. */
const marksTogetherMax = 500;

/** Newest rows, held in memory until they are written as a table: two of these at most. RocksDB's own 64 MiB would take up to 96 MiB more; tables are merged more often instead. */
const writeBufferBytes = 16 * 2 ** 20;

/** Work of RocksDB's own threads, each property a number of jobs or 0 and 1. */
const background = ['rocksdb.num-running-compactions', 'rocksdb.compaction-pending', 'rocksdb.num-running-flushes'];
const quietPollMs = 5;
/** Under writes that keep it compacting all the time, a checkpoint is made after that all the same, and writes wait. */
const quietWaitMs = 60_000;

/**
 * The rows of this node in RocksDB. The version up to which the log is applied is a row of the same column family: both are always in the
 * same state, also after a power cut, which takes what RocksDB had not flushed (the binding cannot sync its log; ours can).
 */
export class Engine {
  #gets: ReadBatch | undefined;
  /** Ends with the last compaction or checkpoint. */
  #maintenance: Promise<unknown> = Promise.resolve();
  /** Ends with the last write, whether it brings rows or removes marks: one at a time, so that what was read for it still holds. */
  #writing: Promise<unknown> = Promise.resolve();
  readonly #marks: DeleteMarks;

  private constructor(
    private readonly folder: string,
    private readonly db: RocksDB,
    private applied: number,
    /** By table id, of every table that ever had a row. */
    private readonly figures: Map<number, TableFigures>,
  ) {
    this.#marks = new DeleteMarks(db);
  }

  /** Takes the folder's lock. Rejects with the files' names when they are damaged, and when another process has them open. */
  static async open(folder: string): Promise<Engine> {
    await mkdir(folder, { recursive: true });
    const db = new RocksDB(folder, { writeBufferSize: writeBufferBytes });
    try {
      await db.ready();
      const applied = await db.get(appliedVersionKey);
      const figures = new Map<number, TableFigures>();
      for await (const { key, value } of db.iterator(countKeys, { capacity: 64 })) figures.set(tableIdOfCountKey(key), decodeFigures(value));
      return new Engine(folder, db, applied === null ? 0 : readVersion(applied), figures);
    } catch (error) {
      await db.close().catch(() => undefined);
      const reason = (error as Error).message;
      if (reason.includes(join(folder, 'LOCK'))) throw new EngineUnusableError(`${folder} is open in another process: each node needs a data folder of its own`, { cause: error });
      const advice = /no space left/i.test(reason) ? 'Free some disk space' : 'Keep the files, and restore the node from a snapshot: binnacle restore SNAPSHOT --data-dir DIR';
      throw new EngineUnusableError(`the rows in ${folder} cannot be opened: ${reason}. ${advice}`, { cause: error });
    }
  }

  /** The newest version that reads see. */
  appliedVersion(): number {
    return this.applied;
  }

  /** Rows of the table, as of `appliedVersion`. */
  count(tableId: number): number {
    return this.figures.get(tableId)?.rows ?? 0;
  }

  /** Delete marks since the start. */
  marks(): { readonly written: number; readonly removed: number } {
    return this.#marks;
  }

  /** Of the tables that ever had a row; 0 when there was none. */
  largestTableId(): number {
    return Math.max(0, ...this.figures.keys());
  }

  get(tableId: number, handle: Buffer): Promise<Row | undefined> {
    return this.#read(encodeKey(tableId, handle)).then((value) => decodeRow(handle, value));
  }

  /** In the order of the handles. */
  async getMany(tableId: number, handles: readonly Buffer[]): Promise<(Row | undefined)[]> {
    return (await this.getFound(tableId, handles)).map(({ row }) => row);
  }

  /** The same, with the versions of delete marks. */
  async getFound(tableId: number, handles: readonly Buffer[]): Promise<FoundRow[]> {
    if (handles.length === 0) return [];
    const batch = this.db.read({ capacity: handles.length, autoDestroy: true });
    const reads = handles.map((handle) => batch.get(encodeKey(tableId, handle)));
    batch.tryFlush();
    const values = await Promise.all(reads);
    return values.map((value, index) => decodeFound(handles[index] as Buffer, value));
  }

  /**
   * What is asked for in the same turn of the event loop, on all connections together, goes to RocksDB as one read: a hop to another thread costs
   * more than a row. Hence `setImmediate`: what else follows one connection's request comes before the next connection has its turn.
   */
  #read(key: Buffer): Promise<Buffer | null> {
    if (this.#gets === undefined) {
      const batch = this.db.read({ capacity: 16, autoDestroy: true });
      this.#gets = batch;
      setImmediate(() => {
        this.#gets = undefined;
        batch.tryFlush();
      });
    }
    return this.#gets.get(key);
  }

  /** The rows as they are now, whatever is written meanwhile, ordered by handle; memory for `bytesAheadMax` of them, or for one. */
  scan(tableId: number, range: ScanRange = {}): AsyncGenerator<Row> {
    return this.#scan(tableId, range, decodeRow);
  }

  /** As `scan`, with the marks of rows that were deleted. */
  scanVersions(tableId: number): AsyncGenerator<RowVersion> {
    return this.#scan(tableId, {}, decodeVersion);
  }

  async *#scan<T>(tableId: number, { after, limit = Infinity }: ScanRange, decode: (handle: Buffer, value: Buffer) => T | undefined): AsyncGenerator<T> {
    if (limit <= 0) return;
    // No row of this moment is larger: the figure only grows, and is written with the rows.
    const largestBytes = Math.max(1, this.figures.get(tableId)?.largestBytes ?? 0);
    const together = Math.max(1, Math.min(rowsAheadMax, limit, Math.floor(bytesAheadMax / largestBytes)));
    let left = limit;
    const from = after === undefined ? { gte: tableStart(tableId) } : { gt: encodeKey(tableId, after) };
    for await (const { key, value } of scanPages(this.db, { ...from, lt: tableStart(tableId + 1) }, together)) {
      const row = decode(key.subarray(keyHeadBytes), value);
      if (row === undefined) continue;
      yield row;
      left -= 1;
      if (left === 0) return;
    }
  }

  /** Applies batches in their order, all or none, with the version they reach and the numbers of rows they lead to. */
  async apply(batches: readonly AppliedBatch[]): Promise<void> {
    if (batches.length > 0) await this.#inTurn(() => this.#apply(batches));
  }

  async #apply(batches: readonly AppliedBatch[]): Promise<void> {
    const present = await this.#presentRows(batches.filter(({ rowsAdded }) => rowsAdded === undefined));
    const figures = figuresAfter(batches, this.figures, present);
    let bytes = valueHeadBytes;
    let count = 1 + figures.size;
    for (const { operations } of batches) {
      count += operations.length;
      for (const { handle, document } of operations) {
        bytes += keyHeadBytes + handle.length + valueHeadBytes + (document?.length ?? 0);
        if (document === undefined) count += 1;
      }
    }
    // One allocation for everything: many small ones would cost more than RocksDB does.
    const slab = Buffer.allocUnsafeSlow(bytes);
    const write = this.db.write({ capacity: count, autoDestroy: true });
    let offset = 0;
    let marks = 0;
    for (const { firstVersion, operations } of batches) {
      let version = firstVersion;
      for (const { tableId, handle, document } of operations) {
        if (isDrop({ handle, document })) {
          write.tryDeleteRange(tableStart(tableId), tableStart(tableId + 1));
        } else {
          const keyEnd = writeKey(slab, offset, tableId, handle);
          const valueEnd = writeValue(slab, keyEnd, version, document);
          const key = slab.subarray(offset, keyEnd);
          write.tryPut(key, slab.subarray(keyEnd, valueEnd));
          offset = valueEnd;
          if (document === undefined) {
            this.#marks.list(write, version, key);
            marks += 1;
          }
        }
        version += 1;
      }
    }
    const last = batches.at(-1) as AppliedBatch;
    const applied = last.firstVersion + last.operations.length - 1;
    write.tryPut(appliedVersionKey, numberValue(applied));
    for (const [tableId, ofTable] of figures) write.tryPut(countKey(tableId), encodeFigures(ofTable));
    // Before the rows can be read: whoever scans goes by it.
    for (const [tableId, { largestBytes }] of figures) this.figures.set(tableId, { rows: this.count(tableId), largestBytes });
    await write.flush();
    this.applied = applied;
    this.#marks.written += marks;
    for (const [tableId, ofTable] of figures) this.figures.set(tableId, ofTable);
  }

  /**
   * Removes delete marks of versions before `neededFrom`, the oldest first and `limit` at most; writes go on in between. Resolves to how many
   * were looked at: fewer than `limit`, and there are no more of them. It is not in the log: a replay brings back a mark at most.
   */
  async removeMarks(neededFrom: number, limit: number): Promise<number> {
    let seen = 0;
    while (seen < limit) {
      const together = Math.min(marksTogetherMax, limit - seen);
      const taken = await this.#inTurn(() => this.#marks.remove(Math.min(neededFrom, this.applied + 1), together));
      seen += taken;
      if (taken < together) break;
    }
    return seen;
  }

  #inTurn<T>(write: () => Promise<T>): Promise<T> {
    const done = this.#writing.then(write);
    this.#writing = done.catch(() => undefined);
    return done;
  }

  /** Which of the rows that the batches write are there now. */
  async #presentRows(batches: readonly LogBatch[]): Promise<Set<string>> {
    const written = batches.flatMap(({ operations }) => operations).filter(({ handle }) => handle.length > 0);
    const values = await Promise.all(written.map(({ tableId, handle }) => this.#read(encodeKey(tableId, handle))));
    const present = written.filter(({ handle }, index) => decodeRow(handle, values[index] ?? null) !== undefined);
    return new Set(present.map(({ tableId, handle }) => presenceKey(tableId, handle)));
  }

  /** Resolves to a version up to which everything is in RocksDB's tables, on disk: the log is not needed for it any more. */
  async flush(): Promise<number> {
    const { applied } = this;
    await this.db.flush();
    return applied;
  }

  /** Rewrites the tables without what was overwritten or dropped. Reads and writes go on. An abort stops the waiting, not RocksDB. */
  async compact(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const compacted = this.#alone(async () => {
      await this.db.flush();
      await this.db.compactRange();
    });
    await new Promise<void>((resolve, reject) => {
      const abort = () => reject(signal.reason as Error);
      signal.addEventListener('abort', abort, { once: true });
      compacted.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
    });
  }

  /** Of the tables on disk. */
  async sizeBytes(): Promise<number> {
    return Number(await this.db.getProperty('rocksdb.live-sst-files-size'));
  }

  /**
   * An engine folder in the state of one moment, which shares the disk space of the tables. Writes wait while files are linked.
   * Resolves, when all is on disk, to the version applied in it.
   */
  async hardLinkTo(folder: string): Promise<number> {
    return this.#alone(async () => {
      await this.db.flush();
      await this.#untilQuiet();
      await this.db.suspend();
      let applied: number;
      let copied: string[];
      try {
        applied = this.applied;
        copied = await linkEngineFiles(this.folder, folder);
      } finally {
        await this.db.resume();
      }
      await syncFiles(folder, copied);
      return applied;
    });
  }

  /** RocksDB compacts by itself, above all after a flush: to suspend it meanwhile would make writes wait for the end of that. */
  async #untilQuiet(): Promise<void> {
    const deadlineMs = performance.now() + quietWaitMs;
    const isQuiet = async (): Promise<boolean> => (await Promise.all(background.map((property) => this.db.getProperty(property)))).every((value) => value === '0');
    while (performance.now() < deadlineMs && !(await isQuiet())) await delay(quietPollMs);
  }

  /** To suspend means to wait for what runs, and with a compaction every write would wait for it: they take turns. */
  #alone<T>(task: () => Promise<T>): Promise<T> {
    const done = this.#maintenance.then(task);
    this.#maintenance = done.catch(() => undefined);
    return done;
  }

  /** Scans that still run end with an error. */
  async close(): Promise<void> {
    await this.db.close();
  }
}

function numberValue(number: number): Buffer {
  const value = Buffer.alloc(8);
  writeVersion(value, 0, number);
  return value;
}

function tableStart(tableId: number): Buffer {
  if (tableId < 1 || tableId > tableIdMax + 1) throw new BinnacleError('INTERNAL', `${tableId} is no table id`);
  return encodeKey(tableId, Buffer.alloc(0));
}
