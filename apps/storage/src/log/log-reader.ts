import { LogCorruptionError, LogTrimmedError } from './log-error.js';
import { FrameReader } from './frame-reader.js';
import type { LogBatch } from './log-record.js';
import { listSegments, type SegmentName } from './log-segment.js';

/**
 * Follows the log from a version on, by its files: in any thread or process, also while the log is written to. Remembers its place,
 * so that following costs what is new and not a search.
 */
export class LogTail {
  #reader: FrameReader | undefined;

  /** Begins with `nextVersion`, the first version not read yet. */
  constructor(
    private readonly folder: string,
    private nextVersion: number,
  ) {}

  /** The newest version handed out. */
  position(): number {
    return this.nextVersion - 1;
  }

  /**
   * What is not read yet, up to `toVersion` (inclusive, and durable, or nobody may write). A batch that begins before what was asked
   * for comes without its head.
   *
   * Throws `LogTrimmedError` when the next version is no longer in the log, `LogCorruptionError` on a damaged file.
   */
  async *read(toVersion: number): AsyncGenerator<LogBatch> {
    // What was read ahead before `toVersion` was durable may have been taken back since.
    this.#reader?.forget();
    while (this.nextVersion <= toVersion) {
      this.#reader ??= await this.#openAt(await listSegments(this.folder));
      const frame = await this.#reader.next();
      if (typeof frame === 'string') {
        await this.#nextSegment(frame);
        continue;
      }
      const { firstVersion, operations } = frame.batch;
      if (firstVersion + operations.length <= this.nextVersion) continue;
      const operationsKnown = this.nextVersion - firstVersion;
      this.nextVersion = firstVersion + operations.length;
      yield operationsKnown === 0 ? frame.batch : { firstVersion: firstVersion + operationsKnown, operations: operations.slice(operationsKnown) };
    }
  }

  async close(): Promise<void> {
    await this.#reader?.close();
    this.#reader = undefined;
  }

  /** The segment that holds the next version. */
  async #openAt(segments: readonly SegmentName[]): Promise<FrameReader> {
    const segment = segments.findLast(({ firstVersion }) => firstVersion <= this.nextVersion);
    if (segment === undefined) throw new LogTrimmedError(`version ${this.nextVersion} is no longer in the log ${this.folder}`);
    try {
      const reader = await FrameReader.open(segment);
      const fault = await reader.headFault();
      if (fault === undefined) return reader;
      await reader.close();
      throw new LogCorruptionError(segment.path, 0, fault);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      throw new LogTrimmedError(`version ${this.nextVersion} has just been removed from the log ${this.folder}`, { cause: error });
    }
  }

  /** There is no further frame in this segment; another one begins with the next version, or the files are damaged. */
  async #nextSegment(fault: string): Promise<void> {
    const reader = this.#reader as FrameReader;
    const segments = await listSegments(this.folder);
    const next = segments.find(({ firstVersion }) => firstVersion > reader.segment.firstVersion);
    if (fault !== 'end' || next === undefined || next.firstVersion > this.nextVersion) {
      if (segments[0] !== undefined && segments[0].firstVersion > this.nextVersion) throw new LogTrimmedError(`version ${this.nextVersion} is no longer in the log ${this.folder}`);
      throw new LogCorruptionError(reader.segment.path, reader.offset(), `no good record with version ${this.nextVersion} (${fault})`);
    }
    await reader.close();
    this.#reader = undefined;
  }
}

/** The operations with versions `fromVersion` to `toVersion`, both inclusive, once; see `LogTail.read`. */
export async function* readLog(folder: string, fromVersion: number, toVersion: number): AsyncGenerator<LogBatch> {
  const tail = new LogTail(folder, fromVersion);
  try {
    yield* tail.read(toVersion);
  } finally {
    await tail.close();
  }
}
