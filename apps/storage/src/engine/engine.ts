// Whoever compiles this file from another project has to find the declarations too.
// eslint-disable-next-line @typescript-eslint/triple-slash-reference
/// <reference path="./rocksdb-native.d.ts" />
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { BinnacleError } from '@binnacle/contracts/errors';
import RocksDB, { type RangeIterator, type ReadBatch } from 'rocksdb-native';
import type { LogBatch, LogOperation } from '../log/log-record.js';
import { linkEngineFiles, syncFiles } from './checkpoint-files.js';
import { appliedVersionKey, countKey, countKeys, decodeFound, decodeRow, decodeVersion, encodeKey, type FoundRow, keyHeadBytes, readVersion, type Row, type RowVersion, tableIdMax, tableIdOfCountKey, valueHeadBytes, writeKey, writeValue, writeVersion } from './row.js';

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

/** Rows that an iterator reads ahead: few, because a row may have megabytes. */
const rowsAheadMax = 64;

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
  readonly #iterators = new Set<RangeIterator>();

  private constructor(
    private readonly folder: string,
    private readonly db: RocksDB,
    private applied: number,
    /** Rows by table id, of every table that ever had one. */
    private readonly counts: Map<number, number>,
  ) {}

  /** Takes the folder's lock. Rejects with the files' names when they are damaged, and when another process has them open. */
  static async open(folder: string): Promise<Engine> {
    await mkdir(folder, { recursive: true });
    const db = new RocksDB(folder);
    try {
      await db.ready();
      const applied = await db.get(appliedVersionKey);
      const counts = new Map<number, number>();
      for await (const { key, value } of db.iterator(countKeys, { capacity: 64 })) counts.set(tableIdOfCountKey(key), readVersion(value));
      return new Engine(folder, db, applied === null ? 0 : readVersion(applied), counts);
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
    return this.counts.get(tableId) ?? 0;
  }

  /** Of the tables that ever had a row; 0 when there was none. */
  largestTableId(): number {
    return Math.max(0, ...this.counts.keys());
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

  /** What is asked for in the same turn of the event loop goes to RocksDB as one read: a hop to another thread costs more than a row. */
  #read(key: Buffer): Promise<Buffer | null> {
    if (this.#gets === undefined) {
      const batch = this.db.read({ capacity: 16, autoDestroy: true });
      this.#gets = batch;
      process.nextTick(() => {
        this.#gets = undefined;
        batch.tryFlush();
      });
    }
    return this.#gets.get(key);
  }

  /** The rows as they are now, whatever is written meanwhile, ordered by handle; memory for `rowsAheadMax` of them. */
  scan(tableId: number, range: ScanRange = {}): AsyncGenerator<Row> {
    return this.#scan(tableId, range, decodeRow);
  }

  /** As `scan`, with the marks of rows that were deleted. */
  scanVersions(tableId: number): AsyncGenerator<RowVersion> {
    return this.#scan(tableId, {}, decodeVersion);
  }

  async *#scan<T>(tableId: number, { after, limit = Infinity }: ScanRange, decode: (handle: Buffer, value: Buffer) => T | undefined): AsyncGenerator<T> {
    if (limit <= 0) return;
    const from = after === undefined ? { gte: tableStart(tableId) } : { gt: encodeKey(tableId, after) };
    const iterator = this.db.iterator({ ...from, lt: tableStart(tableId + 1) }, { capacity: Math.min(limit, rowsAheadMax) });
    this.#iterators.add(iterator);
    let left = limit;
    try {
      for await (const { key, value } of iterator) {
        const row = decode(key.subarray(keyHeadBytes), value);
        if (row === undefined) continue;
        yield row;
        left -= 1;
        if (left === 0) return;
      }
    } finally {
      this.#iterators.delete(iterator);
      iterator.destroy();
    }
  }

  /** Applies batches in their order, all or none, with the version they reach and the numbers of rows they lead to. */
  async apply(batches: readonly AppliedBatch[]): Promise<void> {
    const last = batches.at(-1);
    if (last === undefined) return;
    const counts = await this.#countsAfter(batches);
    let bytes = valueHeadBytes;
    let count = 1 + counts.size;
    for (const { operations } of batches) {
      count += operations.length;
      for (const { handle, document } of operations) bytes += keyHeadBytes + handle.length + valueHeadBytes + (document?.length ?? 0);
    }
    // One allocation for everything: many small ones would cost more than RocksDB does.
    const slab = Buffer.allocUnsafeSlow(bytes);
    const write = this.db.write({ capacity: count, autoDestroy: true });
    let offset = 0;
    for (const { firstVersion, operations } of batches) {
      let version = firstVersion;
      for (const { tableId, handle, document } of operations) {
        if (isDrop({ handle, document })) {
          write.tryDeleteRange(tableStart(tableId), tableStart(tableId + 1));
        } else {
          const keyEnd = writeKey(slab, offset, tableId, handle);
          const valueEnd = writeValue(slab, keyEnd, version, document);
          write.tryPut(slab.subarray(offset, keyEnd), slab.subarray(keyEnd, valueEnd));
          offset = valueEnd;
        }
        version += 1;
      }
    }
    const applied = last.firstVersion + last.operations.length - 1;
    write.tryPut(appliedVersionKey, numberValue(applied));
    for (const [tableId, rows] of counts) write.tryPut(countKey(tableId), numberValue(rows));
    await write.flush();
    this.applied = applied;
    for (const [tableId, rows] of counts) this.counts.set(tableId, rows);
  }

  /** Of the tables that the batches write to. */
  async #countsAfter(batches: readonly AppliedBatch[]): Promise<Map<number, number>> {
    const counts = new Map<number, number>();
    const present = await this.#presentRows(batches.filter(({ rowsAdded }) => rowsAdded === undefined));
    for (const { operations, rowsAdded } of batches) {
      const [first] = operations;
      if (first === undefined) continue;
      const { tableId } = first;
      const before = counts.get(tableId) ?? this.count(tableId);
      if (isDrop(first)) {
        counts.set(tableId, 0);
        for (const key of present) if (key.startsWith(`${tableId} `)) present.delete(key);
      } else {
        counts.set(tableId, before + (rowsAdded ?? addedTo(present, operations)));
      }
    }
    return counts;
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

  /** Ends the scans that still run. */
  async close(): Promise<void> {
    for (const iterator of this.#iterators) iterator.destroy();
    await this.db.close();
  }
}

function isDrop({ handle, document }: Pick<LogOperation, 'handle' | 'document'>): boolean {
  return handle.length === 0 && document === undefined;
}

/** By how many rows the operations make the table larger, whose rows are in `present` before and after. */
function addedTo(present: Set<string>, operations: readonly LogOperation[]): number {
  let added = 0;
  for (const { tableId, handle, document } of operations) {
    const key = presenceKey(tableId, handle);
    added += Number(document !== undefined) - Number(present.has(key));
    if (document === undefined) present.delete(key);
    else present.add(key);
  }
  return added;
}

function presenceKey(tableId: number, handle: Buffer): string {
  return `${tableId} ${handle.toString('latin1')}`;
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
