import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { BinnacleError } from '@binnacle/contracts/errors';
import { ConfigError } from '@binnacle/node-kit/config-error';
import { NodeContext, type NodePart } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import { syncFiles } from './engine/checkpoint-files.js';
import { EngineUnusableError, type ScanRange } from './engine/engine.js';
import type { Row, RowVersion } from './engine/row.js';
import type { Durability } from './log/commit-log.js';
import { LogCorruptionError } from './log/log-error.js';
import { openRows } from './row-recovery.js';
import { type OpenRows, RowStoreMetrics } from './row-store-metrics.js';
import { type Follower, WritePace } from './write-pace.js';
import { type RowChange, type RowResult, WritePath } from './write-path.js';

export type { Decide, Decision, RowChange, RowResult } from './write-path.js';

export interface WriteOptions {
  readonly durability: Durability;
}

/** Somebody who reads the log files; segments it has not read are kept for it, within a limit. */
export interface LogReader {
  /** The newest version it has read. */
  position(): number;
}

/** What the folder has of which regions; see `RegionFile`. */
export const regionsFile = 'regions.json';

const mebibyte = 2 ** 20;
const segmentBytesMax = 64 * mebibyte;
/** The log is removed a segment at a time: with fewer of them in its limit, there would be little to remove. */
const segmentsPerLogMin = 4;
/** A reader that is behind by this many times the log's limit is left behind: it finds its versions gone and begins anew. */
const laggardFactor = 4;
const progressIntervalMs = 2_000;
/** Delete marks are removed in the background once there are so many, so many at a time (some 60 ms of work in pieces of three). */
const sweptMarks = 10_000;
const sweepIntervalMs = 10_000;
/** While there are more of them. */
const nextSweepMs = 1_000;

/** The rows of this node: the commit log makes them durable, the engine holds them. Open between `check` and `stop` of the node. */
@Injectable()
export class RowStore implements NodePart {
  readonly name = 'row store';
  readonly #folder: string;
  readonly #readers: LogReader[] = [];
  readonly #markHolders: (() => number)[] = [];
  readonly #durableListeners = new Set<(version: number) => void>();
  readonly #metrics: RowStoreMetrics;
  readonly #pace: WritePace;
  #open: OpenRows | undefined;
  #trimming: Promise<void> | undefined;
  #logBytesAtTrim = 0;
  #sweeping: Promise<void> | undefined;
  #cancelSweep: () => void = () => {};
  /** Of those written since the start. Nobody has counted the ones from before: there may be enough of them. */
  #marksSwept = -sweptMarks;

  constructor(private readonly node: NodeContext) {
    this.#folder = join(node.config.dataDir, 'storage');
    this.#pace = new WritePace(node.clock, node.config.storage.indexLagMsMax);
    this.#metrics = new RowStoreMetrics(node.metrics, this.#pace, () => this.#open);
    node.addPart(this);
  }

  /** For `readLog`. */
  logFolder(): string {
    return join(this.#folder, 'log');
  }

  /** Recovers. Rejects with `ConfigError` that names what is damaged, and how to go on; the node does not start then. */
  async start(): Promise<void> {
    const { pendingWriteMegabytesMax } = this.node.config.storage;
    const segmentBytes = Math.min(segmentBytesMax, this.#logBytesMax() / segmentsPerLogMin);
    const startedAt = performance.now();
    let saidAt = startedAt;
    const { engine, log, replayedOperations } = await openRows(
      this.#folder,
      {
        segmentBytesMax: segmentBytes,
        onTakenBack: (version) => this.#open?.writes.takeBack(version),
        onFailure: (error) => this.node.log.error({ err: error }, error.message),
      },
      (readBytes, totalBytes) => {
        if (performance.now() - saidAt < progressIntervalMs) return;
        saidAt = performance.now();
        this.node.log.info(`recovered ${readBytes} of ${totalBytes} log bytes`);
      },
    ).catch((error: unknown) => {
      if (error instanceof LogCorruptionError || error instanceof EngineUnusableError) throw new ConfigError([error.message]);
      throw error;
    });
    const writes = new WritePath(engine, log, {
      clock: this.node.clock,
      pendingBytesMax: pendingWriteMegabytesMax * mebibyte,
      pace: this.#pace,
      onApplied: () => this.#trim(),
      onApplyFailure: (error) => this.node.log.error({ err: error }, 'the engine does not take writes in; it is asked again'),
    });
    log.onDurable((version) => this.#durableListeners.forEach((listener) => listener(version)));
    this.#open = { engine, log, writes };
    this.#sweepAfter(sweepIntervalMs);
    const seconds = Math.round(performance.now() - startedAt) / 1000;
    this.node.log.info({ version: engine.appliedVersion(), replayedOperations, tornBytes: log.tornBytes, seconds }, 'rows recovered');
  }

  /** What was taken in is applied and on disk. */
  async stop(): Promise<void> {
    const open = this.#open;
    if (open === undefined) return;
    this.#open = undefined;
    this.#cancelSweep();
    try {
      await open.writes.close();
      await this.#trimming;
      await this.#sweeping;
      await open.log.close();
    } finally {
      await open.engine.close();
    }
  }

  /**
   * Resolves once everything the changes led to is durable and readable; results in the order of the changes. A batch is in the log
   * entirely or not at all; give a thousand changes at a time, not a million. Writes are decided in the order of the calls.
   *
   * Rejects with `BinnacleError`: OUT_OF_DISK, OUT_OF_MEMORY (before it comes to that), STORAGE_FAILED (the disk is broken), NOT_READY.
   */
  async write(tableId: number, changes: readonly RowChange[], { durability }: WriteOptions): Promise<RowResult[]> {
    const { writes } = this.#writable();
    const observe = this.#metrics.beginWrite(changes.length);
    try {
      return await writes.write(tableId, changes, durability);
    } finally {
      observe();
    }
  }

  /** Every row of the table goes, after the writes that came before. Table ids are never used again. */
  async dropTable(tableId: number): Promise<void> {
    await this.#writable().writes.dropTable(tableId);
  }

  /** Rows of the table: what was acknowledged is counted. */
  count(tableId: number): number {
    return this.#opened().engine.count(tableId);
  }

  /** Of the tables that ever had a row here; 0 when there was none. */
  largestTableId(): number {
    return this.#opened().engine.largestTableId();
  }

  async get(tableId: number, handle: Buffer): Promise<Row | undefined> {
    return this.#opened().engine.get(tableId, handle);
  }

  /** In the order of the handles. */
  async getMany(tableId: number, handles: readonly Buffer[]): Promise<(Row | undefined)[]> {
    return this.#opened().engine.getMany(tableId, handles);
  }

  /** The rows of a table at this moment, ordered by handle, whatever is written meanwhile. End it (`return`) when done with it: it keeps files. */
  scan(tableId: number, range: ScanRange = {}): AsyncGenerator<Row> {
    return this.#opened().engine.scan(tableId, range);
  }

  /** As `scan`, with the marks of rows that were deleted, of those that were not removed yet. */
  scanVersions(tableId: number): AsyncGenerator<RowVersion> {
    return this.#opened().engine.scanVersions(tableId);
  }

  /** The oldest version that `readLog` can begin with. */
  firstLogVersion(): number {
    return this.#opened().log.firstVersion();
  }

  /** To the log, since the start. */
  writtenBytes(): number {
    return this.#opened().log.counters.bytes;
  }

  /** The newest version on disk. */
  durableVersion(): number {
    return this.#opened().log.durableVersion();
  }

  /** The newest version that reads see; every acknowledged write is at or below it. */
  appliedVersion(): number {
    return this.#opened().engine.appliedVersion();
  }

  /** Called with the new durable version each time it moves. Returns what ends that. */
  onDurable(listener: (version: number) => void): () => void {
    this.#durableListeners.add(listener);
    return () => this.#durableListeners.delete(listener);
  }

  /** The log is trimmed only up to where the reader is, unless it lags too far. */
  keepLogFor(reader: LogReader): void {
    this.#readers.push(reader);
  }

  /** Writes are slowed down while it lags too far. */
  paceWritesFor(follower: Follower): void {
    this.#pace.add(follower);
  }

  /** Delete marks stay for whoever still has to learn of the deletes: `neededFrom` tells the oldest version whose mark it needs, and only grows. */
  keepMarks(neededFrom: () => number): void {
    this.#markHolders.push(neededFrom);
  }

  /** Marks of older versions may go. */
  marksNeededFrom(): number {
    return Math.min(this.appliedVersion() + 1, ...this.#markHolders.map((neededFrom) => neededFrom()));
  }

  /** Removes the delete marks nobody needs, and rewrites the tables without what was overwritten, deleted or dropped; reads and writes go on. */
  async compact(signal: AbortSignal): Promise<void> {
    const { engine } = this.#opened();
    const neededFrom = this.marksNeededFrom();
    do signal.throwIfAborted();
    while ((await engine.removeMarks(neededFrom, sweptMarks)) === sweptMarks);
    await engine.compact(signal);
  }

  /** Of the rows on disk; the log is not counted. */
  async sizeBytes(): Promise<number> {
    return this.#opened().engine.sizeBytes();
  }

  /**
   * Makes `folder` a storage folder with every write acknowledged so far, which shares disk space with this one: `engine/` and an empty
   * `log/`. Resolves to the newest version in it once all is on disk. What a failure leaves behind is the caller's to remove.
   */
  async checkpoint(folder: string): Promise<number> {
    const { engine } = this.#opened();
    await mkdir(join(folder, 'log'), { recursive: true });
    // Before the rows: a region that is named there has its rows in the engine by then.
    const isCopied = await copyFile(join(this.#folder, regionsFile), join(folder, regionsFile)).then(
      () => true,
      (error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return false;
        throw error;
      },
    );
    const version = await engine.hardLinkTo(join(folder, 'engine'));
    await syncFiles(folder, isCopied ? [regionsFile] : []);
    return version;
  }

  #logBytesMax(): number {
    return this.node.config.storage.logMegabytesMax * mebibyte;
  }

  #opened(): OpenRows {
    if (this.#open === undefined) throw new BinnacleError('NOT_READY', 'the rows of this node are not open');
    return this.#open;
  }

  /** Refuses before the disk or the memory is full, and takes writes again by itself when there is room. */
  #writable(): OpenRows {
    const open = this.#opened();
    const failure = open.log.failure();
    if (failure !== undefined) throw failure;
    const shortage = this.node.resources.resourceError() ?? (open.writes.applyFailure() && 'OUT_OF_DISK');
    if (shortage !== undefined) throw new BinnacleError(shortage, `Rejecting write: running out of resource type: ${shortage}`);
    return open;
  }

  #sweepAfter(delayMs: number): void {
    this.#cancelSweep = this.node.clock.after(delayMs, () => {
      this.#sweeping = this.#sweep()
        .catch((error: unknown) => {
          this.node.log.warn({ err: error }, 'delete marks could not be removed; it is tried again');
          return sweepIntervalMs;
        })
        .then((nextMs) => {
          if (this.#open !== undefined) this.#sweepAfter(nextMs);
        });
    });
  }

  /** Resolves to when to look again. */
  async #sweep(): Promise<number> {
    const { engine } = this.#opened();
    const { written } = engine.marks();
    if (written - this.#marksSwept < sweptMarks) return sweepIntervalMs;
    const neededFrom = this.marksNeededFrom();
    const isHeld = neededFrom <= engine.appliedVersion();
    const swept = await engine.removeMarks(neededFrom, sweptMarks);
    this.#marksSwept = swept === sweptMarks || isHeld ? this.#marksSwept + swept : written;
    return swept === sweptMarks ? nextSweepMs : sweepIntervalMs;
  }

  /** In the background, once the log is over its limit and has grown by a segment since the last time. */
  #trim(): void {
    const open = this.#open;
    if (open === undefined || this.#trimming !== undefined) return;
    const limitBytes = this.#logBytesMax();
    const bytes = open.log.bytes();
    if (bytes < limitBytes || bytes < this.#logBytesAtTrim + limitBytes / segmentsPerLogMin) return;
    this.#trimming = (async () => {
      const flushed = await open.engine.flush();
      const read = bytes > laggardFactor * limitBytes ? flushed : Math.min(flushed, ...this.#readers.map((reader) => reader.position()));
      await open.log.trim(read);
    })()
      .catch((error: unknown) => this.node.log.warn({ err: error }, 'the log could not be trimmed; it is tried again'))
      .finally(() => {
        this.#logBytesAtTrim = open.log.bytes();
        this.#trimming = undefined;
      });
  }
}
