import { BinnacleError } from '@binnacle/contracts/errors';
import { encodeFrame, type LogOperation, sealFrame } from './log-record.js';
import { recoverLog, type RecoveredSegment, type RecoveryOptions } from './log-recovery.js';
import { LogSegment, makeLogFolder, removeSegment } from './log-segment.js';

/** `fsync`: acknowledged once it is on disk. `none`: acknowledged once the operating system has it; a power cut may take it. */
export type Durability = 'fsync' | 'none';

export interface CommitLogOptions extends RecoveryOptions {
  readonly segmentBytesMax: number;
  /** New versions begin after this one, whatever the log holds: what the engine has applied. */
  readonly afterVersion?: number;
  /** Called at once when appends had to be taken back: nothing newer than `version` is left, and versions go on from there. */
  readonly onTakenBack?: (version: number) => void;
  /** Called once, when the log takes no more appends: the disk failed. */
  readonly onFailure?: (error: BinnacleError) => void;
}

export interface Appended {
  readonly firstVersion: number;
  /**
   * Resolves when the batch is as durable as was asked for. Rejects with `BinnacleError`: OUT_OF_DISK when it could not be written, and
   * then nothing of it is left; STORAGE_FAILED when the disk failed, and then nobody can tell.
   */
  readonly durable: Promise<void>;
}

interface Pending {
  readonly frame: Buffer;
  readonly operations: number;
  readonly lastVersion: number;
  readonly durability: Durability;
  readonly resolve: () => void;
  readonly reject: (error: BinnacleError) => void;
}

/** Since the log was opened. */
export interface LogCounters {
  batches: number;
  operations: number;
  bytes: number;
  writes: number;
  syncs: number;
  syncSeconds: number;
  /** Operations that were acknowledged without waiting for the disk. */
  operationsNotAwaited: number;
}

/** Of one write; more than that only makes the first of them wait. */
const groupBytesMax = 8 * 2 ** 20;

/**
 * The commit log: batches of operations, made durable in the order they came in. While one write or fdatasync runs, whatever comes in
 * queues up and goes out with the next. The caller limits what it appends before it is durable.
 *
 * Two processes must not open one log: the caller holds the lock (the engine's, beside the log).
 */
export class CommitLog {
  readonly counters: LogCounters = { batches: 0, operations: 0, bytes: 0, writes: 0, syncs: 0, syncSeconds: 0, operationsNotAwaited: 0 };
  #queue: Pending[] = [];
  /** Written, not synced. */
  #unsynced: Pending[] = [];
  #nextVersion: number;
  #writtenVersion: number;
  #durableVersion: number;
  #failure: BinnacleError | undefined;
  #closing = false;
  #writing: Promise<void> | undefined;
  #syncing: Promise<void> | undefined;
  readonly #listeners = new Set<(version: number) => void>();

  private constructor(
    private readonly folder: string,
    private readonly options: CommitLogOptions,
    private segment: LogSegment,
    /** Closed ones, oldest first. */
    private older: RecoveredSegment[],
    lastVersion: number,
    /** Cut off at the end when the log was opened: what a crash had left half-written. */
    readonly tornBytes: number,
  ) {
    this.#nextVersion = lastVersion + 1;
    this.#writtenVersion = lastVersion;
    this.#durableVersion = lastVersion;
  }

  /** Reads the whole log (`onBatch`), cuts a torn end off and goes on behind it. Throws `LogCorruptionError`. */
  static async open(folder: string, options: CommitLogOptions): Promise<CommitLog> {
    await makeLogFolder(folder);
    const { segments, lastVersion = 0, tornBytes } = await recoverLog(folder, options);
    const { afterVersion = 0 } = options;
    const active = segments.at(-1);
    if (active !== undefined && lastVersion >= afterVersion) {
      return new CommitLog(folder, options, await LogSegment.reopen(active, active.end), segments.slice(0, -1), lastVersion, tornBytes);
    }
    // The engine is ahead: a snapshot has no log, and a power cut may take what was written without waiting for the disk. A log with a
    // gap would hide that from its readers, so a new one begins.
    for (const segment of segments) await removeSegment(segment);
    return new CommitLog(folder, options, await LogSegment.create(folder, afterVersion + 1), [], afterVersion, tornBytes);
  }

  durableVersion(): number {
    return this.#durableVersion;
  }

  /** The oldest that is still in it, if it has any. */
  firstVersion(): number {
    return (this.older[0] ?? this.segment).firstVersion;
  }

  /** That the next appended operation gets. */
  nextVersion(): number {
    return this.#nextVersion;
  }

  /** Called with the new durable version each time it moves. Returns what ends that. */
  onDurable(listener: (version: number) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** All segments. */
  bytes(): number {
    return this.older.reduce((sum, { end }) => sum + end, this.segment.bytes());
  }

  /** Why no append is taken any more; undefined when all is well. */
  failure(): BinnacleError | undefined {
    return this.#failure;
  }

  /** Queues a batch; its version is known at once. Throws the failure when the log has one. */
  append(operations: readonly LogOperation[], durability: Durability): Appended {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#closing) throw new Error('the log is closed');
    const firstVersion = this.#nextVersion;
    const frame = encodeFrame(firstVersion, operations);
    this.#nextVersion += operations.length;
    const durable = new Promise<void>((resolve, reject) => {
      this.#queue.push({ frame, operations: operations.length, lastVersion: this.#nextVersion - 1, durability, resolve, reject });
    });
    this.#write();
    return { firstVersion, durable };
  }

  /** Removes the segments that hold nothing newer than `version`; the one that is written to stays. */
  async trim(version: number): Promise<void> {
    for (;;) {
      const oldest = this.older[0];
      const next = this.older[1] ?? this.segment;
      if (oldest === undefined || next.firstVersion > version + 1) return;
      this.older.shift();
      await removeSegment(oldest);
    }
  }

  /** Writes what is queued, and a last frame that vouches for all the others. */
  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    while (this.#writing || this.#syncing) await Promise.all([this.#writing, this.#syncing]);
    try {
      const frame = encodeFrame(this.#nextVersion, []);
      sealFrame(frame, this.#durableVersion);
      if (this.#failure === undefined) await this.segment.append([frame]);
    } catch {
      // On a full disk it is left out: then damage in the last write cannot be told from a torn end, as after a crash.
    }
    await this.segment.close();
  }

  #write(): void {
    this.#writing ??= this.#writeAll();
  }

  async #writeAll(): Promise<void> {
    // One turn of the microtasks, so that whatever is appended with this goes out with it.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const group = this.#takeGroup();
      try {
        if (this.segment.bytes() >= this.options.segmentBytesMax) await this.#startSegment(this.#writtenVersion + 1);
        if (this.#failure) throw this.#failure;
        for (const { frame } of group) sealFrame(frame, this.#durableVersion);
        await this.segment.append(group.map(({ frame }) => frame));
      } catch (error) {
        await this.#takeBack(group, error as NodeJS.ErrnoException);
        continue;
      }
      this.#written(group);
    }
    // In the same turn as the last look at the queue: what is appended from now on starts another run.
    this.#writing = undefined;
  }

  #takeGroup(): Pending[] {
    let bytes = 0;
    let count = 0;
    while (count < this.#queue.length && (count === 0 || bytes < groupBytesMax)) bytes += (this.#queue[count++] as Pending).frame.length;
    return this.#queue.splice(0, count);
  }

  #written(group: readonly Pending[]): void {
    this.#writtenVersion = (group.at(-1) as Pending).lastVersion;
    this.counters.writes += 1;
    for (const { operations, frame, durability, resolve } of group) {
      this.counters.batches += 1;
      this.counters.operations += operations;
      this.counters.bytes += frame.length;
      if (durability === 'none') {
        this.counters.operationsNotAwaited += operations;
        resolve();
      }
    }
    this.#unsynced.push(...group);
    this.#sync();
  }

  #sync(): void {
    this.#syncing ??= this.#syncAll();
  }

  async #syncAll(): Promise<void> {
    await Promise.resolve();
    while (this.#unsynced.length > 0) {
      const covered = this.#unsynced.splice(0);
      const startedAt = performance.now();
      try {
        await this.segment.sync();
      } catch (error) {
        this.#unsynced.unshift(...covered);
        this.#fail(error as NodeJS.ErrnoException);
        break;
      }
      this.counters.syncs += 1;
      this.counters.syncSeconds += (performance.now() - startedAt) / 1000;
      this.#durableVersion = (covered.at(-1) as Pending).lastVersion;
      for (const { resolve } of covered) resolve();
      for (const listener of this.#listeners) listener(this.#durableVersion);
    }
    this.#syncing = undefined;
  }

  async #startSegment(firstVersion: number): Promise<void> {
    while (this.#syncing) await this.#syncing;
    const next = await LogSegment.create(this.folder, firstVersion);
    const { path, firstVersion: first } = this.segment;
    this.older.push({ path, firstVersion: first, end: this.segment.bytes() });
    await this.segment.close();
    this.segment = next;
  }

  /** Nothing of the group may stay, nor of what was queued behind it: that was decided by what the group would have done. */
  async #takeBack(group: readonly Pending[], error: NodeJS.ErrnoException): Promise<void> {
    const full = error.code === 'ENOSPC' || error.code === 'EDQUOT';
    const lost = [...group, ...this.#queue];
    this.#queue = [];
    this.#nextVersion = this.#writtenVersion + 1;
    this.options.onTakenBack?.(this.#writtenVersion);
    const reason = full ? outOfDisk(error) : this.#fail(error);
    try {
      await this.segment.cut();
    } catch (cutError) {
      this.#fail(cutError as NodeJS.ErrnoException);
    }
    // Not before: a crash must not bring back what was refused.
    for (const { reject } of lost) reject(reason);
  }

  /** After a failed fdatasync the kernel may have dropped the pages it could not write: a second one that succeeds proves nothing. */
  #fail(error: NodeJS.ErrnoException): BinnacleError {
    if (this.#failure === undefined) {
      const message = `the commit log of this node could not be written (${error.code ?? error.message}); it takes no writes until its disk is well and it is started again`;
      this.#failure = new BinnacleError('STORAGE_FAILED', message, { cause: error });
      this.options.onFailure?.(this.#failure);
    }
    const lost = [...this.#unsynced.splice(0), ...this.#queue.splice(0)];
    for (const { reject } of lost) reject(this.#failure);
    return this.#failure;
  }
}

function outOfDisk(cause: Error): BinnacleError {
  return new BinnacleError('OUT_OF_DISK', 'Rejecting write: running out of resource type: OUT_OF_DISK', { cause });
}
