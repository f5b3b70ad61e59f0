import { FrameReader } from './frame-reader.js';
import { LogCorruptionError } from './log-error.js';
import type { LogBatch } from './log-record.js';
import { listSegments, removeSegment, segmentHeadBytes, type SegmentName } from './log-segment.js';

export interface RecoveryOptions {
  /** Gets every batch of the log, in order, and how far the reading is. */
  readonly onBatch?: (batch: LogBatch, progress: RecoveryProgress) => void | Promise<void>;
}

export interface RecoveryProgress {
  readonly readBytes: number;
  readonly totalBytes: number;
}

export interface RecoveredSegment extends SegmentName {
  /** Of its last good frame. */
  readonly end: number;
}

export interface RecoveredLog {
  readonly segments: readonly RecoveredSegment[];
  /** Of the newest operation; undefined when there are no segments. */
  readonly lastVersion: number | undefined;
  /** What a crash left behind the last good frame, to be cut off. */
  readonly tornBytes: number;
}

/**
 * Reads and checks the whole log. A crash may leave the end of the last segment torn: what was never acknowledged. Anything else that
 * is not as it was written throws `LogCorruptionError`.
 */
export async function recoverLog(folder: string, options: RecoveryOptions): Promise<RecoveredLog> {
  const names = await withoutStillborn(folder);
  const totalBytes = await sizesOf(names);
  const segments: RecoveredSegment[] = [];
  let tornBytes = 0;
  let nextVersion = names[0]?.firstVersion;
  let readBytes = 0;
  for (const [index, name] of names.entries()) {
    if (name.firstVersion !== nextVersion) throw new LogCorruptionError(name.path, 0, `it begins with version ${name.firstVersion}, ${nextVersion} was expected: a segment before it is missing or cut short`);
    const reader = await FrameReader.open(name);
    try {
      const fault = await reader.headFault();
      if (fault !== undefined) throw new LogCorruptionError(name.path, 0, fault);
      nextVersion = await readSegment(reader, nextVersion, index === names.length - 1, (batch) =>
        options.onBatch?.(batch, { readBytes: readBytes + reader.offset(), totalBytes }),
      );
      segments.push({ ...name, end: reader.offset() });
      tornBytes += (await reader.fileBytes()) - reader.offset();
      readBytes += reader.offset();
    } finally {
      await reader.close();
    }
  }
  return { segments, lastVersion: nextVersion === undefined ? undefined : nextVersion - 1, tornBytes };
}

/** Resolves to the version after the last one of the segment, with the reader at the end of its last good frame. */
async function readSegment(reader: FrameReader, firstVersion: number, last: boolean, onBatch: (batch: LogBatch) => void | Promise<void>): Promise<number> {
  let nextVersion = firstVersion;
  for (;;) {
    const offset = reader.offset();
    const frame = await reader.next();
    if (frame === 'end') return nextVersion;
    if (typeof frame === 'string') {
      if (!last || (await vouchedFor(reader.segment, offset, nextVersion))) throw new LogCorruptionError(reader.segment.path, offset, `a record is ${frame}`);
      return nextVersion;
    }
    const { batch } = frame;
    if (batch.firstVersion !== nextVersion) throw new LogCorruptionError(reader.segment.path, offset, `version ${batch.firstVersion} where ${nextVersion} was expected`);
    if (batch.operations.length > 0) await onBatch(batch);
    nextVersion += batch.operations.length;
  }
}

/**
 * Whether a frame behind the damaged place says that `version` was on disk: then it was acknowledged, and is damaged now. The frames
 * of the last write, which a power cut may have left in any state, do not say so of each other.
 */
async function vouchedFor(segment: SegmentName, damagedOffset: number, version: number): Promise<boolean> {
  const reader = await FrameReader.open(segment, damagedOffset);
  try {
    while (await reader.skip()) {
      let frame = await reader.next();
      for (; typeof frame !== 'string'; frame = await reader.next()) if (frame.durableVersion >= version) return true;
      if (frame === 'end') return false;
    }
    return false;
  } finally {
    await reader.close();
  }
}

/** A crash while a segment was made leaves a file with at most a part of its head, and nothing in it to lose. */
async function withoutStillborn(folder: string): Promise<SegmentName[]> {
  const names = await listSegments(folder);
  const last = names.at(-1);
  if (last === undefined) return names;
  const reader = await FrameReader.open(last);
  const stillborn = (await reader.fileBytes()) <= segmentHeadBytes && (await reader.headFault()) !== undefined;
  await reader.close();
  if (!stillborn) return names;
  await removeSegment(last);
  return names.slice(0, -1);
}

async function sizesOf(names: readonly SegmentName[]): Promise<number> {
  let total = 0;
  for (const name of names) {
    const reader = await FrameReader.open(name);
    total += await reader.fileBytes();
    await reader.close();
  }
  return total;
}
