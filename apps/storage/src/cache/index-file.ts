import { mkdir, open, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import type { Clock } from '@binnacle/cluster-state/clock';
import type { CacheIndex } from './cache-index.js';
import { slotState, transient } from './entry-table.js';
import { fileTypes } from './file-type.js';
import { frameBytesMax, frameHeaderBytes, FrameWriter, indexFileMagic, liveEntryBytes, readRecords, type RecordReader } from './index-record.js';
import { errorCode } from './mirror-disk.js';
import type { Mirror } from './mirror.js';

/** What a kill -9 may take from the index: entries that were made, and have to be fetched again. */
const flushMs = 1_000;
/** An access time comes back after a restart to within this. */
const accessFlushMs = 60_000;
/** Records on their way to a disk that does not take them; then they are dropped and the file is made anew when it does. */
const pendingBytesMax = 64 * 2 ** 20;
/** A file smaller than this is not worth making anew. */
const fileBytesMin = 2 ** 20;
/** It is made anew when it is so many times as large as what it says. */
const historyFactorMax = 3;
const retryMs = 10_000;
const slotsPerSlice = 4_096;
/** Access times recorded in one go: some 5 ms. The rest has its turn with the next flush. */
const accessesMax = 50_000;
/** A slot number beyond this is damage. */
const slotsMax = 2 ** 26;

/**
 * The index on disk: what is in the mirrors, so that a restart finds it again. Appended to once a second at most, and made anew when it is
 * mostly history. Nothing is ever synced: what it says of bytes is checked with their checksum before they are used, and what it does
 * not say is freed.
 */
export class IndexFile {
  /** Counts the files made, so that mirrors are named in each of them once. */
  #made = 1;
  #file: FileHandle | undefined;
  #inode = 0;
  #bytes = 0;
  #records = new FrameWriter();
  #broken = false;
  #remakeAtMs = -Infinity;
  /** Uses after this are not in the file, by type. */
  readonly #accessesFlushedMs = new Float64Array(fileTypes.length);
  #accessesDueMs: number;
  #flushing: Promise<void> | undefined;
  #cancelTimer: (() => void) | undefined;
  #closed = false;
  writtenBytes = 0;

  constructor(
    private readonly path: string,
    private readonly index: CacheIndex,
    private readonly clock: Clock,
    private readonly onError: (error: unknown) => void,
  ) {
    this.#accessesDueMs = clock.monotonicMs() + accessFlushMs;
  }

  /** Fills the index, for at most so long; what was not read by then is as if it had never been. Never rejects: without the file the cache is empty. */
  async load(boundMs: number): Promise<void> {
    const deadlineMs = performance.now() + boundMs;
    let whole = false;
    try {
      this.#file = await open(this.path, 'r+');
      whole = await this.#read(this.#file, deadlineMs);
      const { ino, size } = await this.#file.stat();
      this.#inode = ino;
      if (whole && size > this.#bytes) await this.#file.truncate(this.#bytes);
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') this.onError(error);
    }
    this.index.entries.linkFree();
    this.#broken = !whole;
    this.#accessesFlushedMs.fill(this.clock.nowMs() - 1);
    this.#schedule();
  }

  entryAdded(slot: number): void {
    if (this.#broken) return;
    const mirror = this.index.entries.mirror[slot] as Mirror;
    if (mirror.recordedIn !== this.#made) this.#records.mirror(mirror.id, mirror.bytes, mirror.key);
    mirror.recordedIn = this.#made;
    this.#writeEntry(this.#records, slot, mirror, this.index.entries.accessedMs[slot] as number);
    this.#limit();
  }

  entryRemoved(slot: number): void {
    if (this.#broken) return;
    this.#records.removed(slot);
    this.#limit();
  }

  /** Everything that is to be written now is, or could not be. */
  async flush(): Promise<void> {
    while (this.#flushing !== undefined) await this.#flushing;
    this.#flushing = this.#flush().finally(() => (this.#flushing = undefined));
    await this.#flushing;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelTimer?.();
    this.#accessesDueMs = -Infinity;
    do await this.flush();
    while (!this.#broken && this.#accessesDueMs === -Infinity);
    await this.#file?.close().catch(this.onError);
    this.#file = undefined;
  }

  #schedule(): void {
    if (this.#closed) return;
    this.#cancelTimer = this.clock.after(flushMs, () => void this.flush().then(() => this.#schedule()));
  }

  #limit(): void {
    if (this.#records.bytes() <= pendingBytesMax) return;
    this.#broken = true;
    this.#records = new FrameWriter();
  }

  async #flush(): Promise<void> {
    try {
      if (!this.#broken) await this.#append();
      const history = this.#bytes > Math.max(fileBytesMin, historyFactorMax * liveEntryBytes * this.#liveCount());
      if ((this.#broken || history) && (this.#closed || this.clock.monotonicMs() >= this.#remakeAtMs)) await this.#remake();
    } catch (error) {
      this.#broken = true;
      this.#records = new FrameWriter();
      this.#remakeAtMs = this.clock.monotonicMs() + retryMs;
      this.onError(error);
    }
  }

  async #append(): Promise<void> {
    if (this.clock.monotonicMs() >= this.#accessesDueMs) this.#recordAccesses();
    // Also without anything to say: somebody may have removed the folder.
    if (this.#file === undefined || !(await this.#isInPlace())) {
      this.#broken = true;
      return;
    }
    for (const frame of this.#records.take()) await this.#writeFrame(this.#file, frame);
  }

  async #isInPlace(): Promise<boolean> {
    try {
      return (await stat(this.path)).ino === this.#inode;
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return false;
      throw error;
    }
  }

  /** What was used since the last time is at the young ends of the lists. */
  #recordAccesses(): void {
    const { entries } = this.index;
    const nowMs = this.clock.nowMs();
    let left = accessesMax;
    for (let type = 0; type < fileTypes.length; type++) {
      const flushedMs = this.#accessesFlushedMs[type] as number;
      let slot = entries.previous[type] as number;
      while (slot !== type && (entries.accessedMs[slot] as number) > flushedMs) slot = entries.previous[slot] as number;
      this.#accessesFlushedMs[type] = nowMs - 1;
      for (slot = entries.next[slot] as number; slot !== type; slot = entries.next[slot] as number) {
        const accessedMs = entries.accessedMs[slot] as number;
        this.#records.used(slot, accessedMs);
        if (--left > 0) continue;
        this.#accessesFlushedMs[type] = accessedMs;
        return;
      }
    }
    this.#accessesDueMs = this.clock.monotonicMs() + accessFlushMs;
  }

  /**
   * A new file, in the order of use, in slices. What changes meanwhile is recorded too, and comes after: applied over the slices in its
   * order it ends in the same state, whenever a slice was taken.
   */
  async #remake(): Promise<void> {
    const { entries } = this.index;
    this.#made++;
    this.#records = new FrameWriter();
    this.#broken = false;
    const order = this.#slotsInOrder();
    const begunMs = this.clock.nowMs();
    this.#accessesFlushedMs.fill(begunMs - 1);
    const path = `${this.path}.new`;
    await mkdir(dirname(path), { recursive: true });
    const file = await open(path, 'w');
    let bytes = 0;
    try {
      await file.write(indexFileMagic);
      bytes = indexFileMagic.length;
      const slice = new FrameWriter();
      const named = new Set<number>();
      const lastMs = new Float64Array(fileTypes.length);
      for (const [position, slot] of order.entries()) {
        const mirror = entries.mirror[slot];
        if (mirror !== undefined && entries.state[slot] === slotState.present && !this.index.has(slot, transient)) {
          const type = entries.type[slot] as number;
          // What was used since would pull everything behind it into the present; it is recorded with the accesses.
          const accessedMs = entries.accessedMs[slot] as number;
          if (accessedMs <= begunMs) lastMs[type] = accessedMs;
          if (!named.has(mirror.id)) slice.mirror(mirror.id, mirror.bytes, mirror.key);
          named.add(mirror.id);
          this.#writeEntry(slice, slot, mirror, Math.min(accessedMs, (lastMs[type] as number) || begunMs));
        }
        if (position % slotsPerSlice === slotsPerSlice - 1 || position === order.length - 1) for (const frame of slice.take()) bytes += await writeWhole(file, frame);
      }
      const { ino } = await file.stat();
      await rename(path, this.path);
      await this.#file?.close().catch(this.onError);
      this.#file = file;
      this.#inode = ino;
      this.#bytes = bytes;
      this.writtenBytes += bytes;
    } catch (error) {
      await file.close().catch(() => undefined);
      await rm(path, { force: true }).catch(() => undefined);
      throw error;
    }
    for (const frame of this.#records.take()) await this.#writeFrame(this.#file, frame);
  }

  /** Of what is kept, by type, the least recently used first; what is pinned, in no list, at the end. */
  #slotsInOrder(): Uint32Array {
    const { entries } = this.index;
    const order = new Uint32Array(this.#liveCount() + 1);
    let count = 0;
    for (let type = 0; type < fileTypes.length; type++) {
      for (let slot = entries.next[type] as number; slot !== type && count < order.length; slot = entries.next[slot] as number) order[count++] = slot;
    }
    for (let slot = fileTypes.length; slot < entries.end && count < order.length; slot++) {
      if (entries.state[slot] === slotState.present && (entries.pins[slot] as number) > 0 && !this.index.has(slot, transient)) order[count++] = slot;
    }
    return order.subarray(0, count);
  }

  #liveCount(): number {
    return this.index.countByType.reduce((sum, count) => sum + count, 0);
  }

  #writeEntry(records: FrameWriter, slot: number, mirror: Mirror, accessedMs: number): void {
    const { entries } = this.index;
    const [offset, length, checksum] = [entries.offset[slot] as number, entries.length[slot] as number, entries.checksum[slot] as number];
    records.entry({ slot, mirrorId: mirror.id, offset, length, type: entries.type[slot] as number, checksum, accessedMs });
  }

  async #writeFrame(file: FileHandle, frame: Buffer): Promise<void> {
    await writeWhole(file, frame, this.#bytes);
    this.#bytes += frame.length;
    this.writtenBytes += frame.length;
  }

  /** False: the time was over, or what is there is no index file. */
  async #read(file: FileHandle, deadlineMs: number): Promise<boolean> {
    const reader = new IndexRestorer(this.index, this.#made);
    const header = Buffer.alloc(frameHeaderBytes);
    await file.read(header, 0, header.length, 0);
    if (!header.equals(indexFileMagic)) return false;
    this.#bytes = indexFileMagic.length;
    const payload = Buffer.allocUnsafe(frameBytesMax);
    for (;;) {
      if (performance.now() > deadlineMs) return false;
      if ((await file.read(header, 0, header.length, this.#bytes)).bytesRead < header.length) return true;
      const length = header.readUInt32LE(0);
      if (length === 0 || length > frameBytesMax) return true;
      const { bytesRead } = await file.read(payload, 0, length, this.#bytes + frameHeaderBytes);
      const frame = payload.subarray(0, length);
      if (bytesRead < length || crc32(frame) !== header.readUInt32LE(4)) return true;
      readRecords(frame, reader);
      this.#bytes += frameHeaderBytes + length;
    }
  }
}

/** Replays the index file. */
class IndexRestorer implements RecordReader {
  readonly #mirrors = new Map<number, Mirror>();

  constructor(
    private readonly index: CacheIndex,
    private readonly made: number,
  ) {}

  mirror(id: number, bytes: number, key: string): void {
    const known = this.index.mirrors.get(key);
    // The same segment after everything of it had been evicted, and the mirror forgotten.
    const mirror = known ?? this.index.restoredMirror(id, key, bytes);
    mirror.recordedIn = this.made;
    this.#mirrors.set(id, mirror);
  }

  entry({ slot, mirrorId, checksum, accessedMs, ...range }: Parameters<RecordReader['entry']>[0]): void {
    const mirror = this.#mirrors.get(mirrorId);
    if (mirror === undefined || slot < fileTypes.length || slot > slotsMax || range.type >= fileTypes.length) throw new Error(`an entry that cannot be, in slot ${slot}`);
    this.removed(slot);
    this.index.restore(slot, mirror, range, checksum, accessedMs);
  }

  removed(slot: number): void {
    if (this.#isPresent(slot)) this.index.forgetRestored(slot);
  }

  used(slot: number, accessedMs: number): void {
    if (this.#isPresent(slot)) this.index.restoreAccess(slot, accessedMs);
  }

  #isPresent(slot: number): boolean {
    return this.index.entries.state[slot] === slotState.present;
  }
}

/** At a position, or at the end. */
async function writeWhole(file: FileHandle, bytes: Buffer, position: number | null = null): Promise<number> {
  for (let written = 0; written < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, written, bytes.length - written, position === null ? null : position + written);
    if (bytesWritten === 0) throw Object.assign(new Error('nothing was written'), { code: 'ENOSPC' });
    written += bytesWritten;
  }
  return bytes.length;
}
