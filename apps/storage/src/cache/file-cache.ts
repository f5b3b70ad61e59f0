import { join } from 'node:path';
import type { Clock } from '@binnacle/cluster-state/clock';
import { cacheInfo } from './cache-info.js';
import { CacheIndex } from './cache-index.js';
import type { CachedSegment, CacheTypeInfo, EvictBySize, FetchRange, FileCacheOptions, Pin, TypedRange } from './cache-types.js';
import { DiskTrouble } from './disk-trouble.js';
import { Downloads } from './downloads.js';
import { loose, slotState, transient, verified } from './entry-table.js';
import { Eviction } from './eviction.js';
import { Examination } from './examination.js';
import { planFetches, wantedRanges, type WantedRange } from './fetch-plan.js';
import { fileTypes, type FileType } from './file-type.js';
import { IndexFile } from './index-file.js';
import { Loads } from './loads.js';
import { MirrorDisk } from './mirror-disk.js';
import type { Mirror } from './mirror.js';
import { systemPunchHole } from './punch-hole.js';
import { Reclaimer } from './reclaimer.js';
import { SegmentPin } from './segment-pin.js';
import { SourceGone, SpareFiles } from './spare-files.js';
import { Verification } from './verification.js';

/** TiFlash's `delta_rate` and `reserved_rate`: what of the disk is left for other things, and for what is read without being kept. */
const deltaRate = 0.1;
const reservedRate = 0.15;
/** On disk, for readers, where nothing is kept. */
const transientBytesWhenOff = 2 ** 30;
const spareBytesMaxDefault = 256 * 2 ** 20;
/** Reads of the index file longer than this are given up, and what they did not find is fetched again. A million entries take 1 s. */
const startMs = 10_000;
/** A mirror that was there so shortly ago is not looked for again. */
const seenMs = 1_000;
/** Ways to a pin; each ends with all ranges, or with one that was damaged or lost in between. Then the last one goes without the disk. */
const attemptsMax = 8;

/**
 * The typed cache of remote segments on the disk of a compute node.
 *
 * Each segment has a sparse file as long as it is; entries are ranges of it, and what is pinned is not evicted. How a wish is met:
 * what is present is pinned, what is being loaded is waited for, the rest is loaded, and when all of it is there, and was verified
 * once since the start of the process, the reader gets the path.
 */
export class FileCache {
  readonly counters = { hits: 0, misses: 0, hitBytes: 0, missBytes: 0, spareReads: 0 };
  readonly capacityBytes: number;
  readonly #index: CacheIndex;
  readonly #disk: MirrorDisk;
  readonly #downloads: Downloads;
  readonly #eviction: Eviction;
  readonly #reclaimer: Reclaimer;
  readonly #trouble: DiskTrouble;
  readonly #loads: Loads;
  readonly #verification: Verification;
  readonly #examination: Examination;
  readonly #indexFile: IndexFile;
  readonly #spare: SpareFiles;
  readonly #transientBytesMax: number;
  #started: Promise<void> | undefined;
  #isReady = false;

  constructor(
    fetch: FetchRange,
    private readonly clock: Clock,
    private readonly options: FileCacheOptions,
  ) {
    const { folder, capacityBytes: size, limits } = options;
    const nowMs = (): number => clock.nowMs();
    this.capacityBytes = Math.floor(size * (1 - deltaRate - reservedRate));
    this.#transientBytesMax = size === 0 ? transientBytesWhenOff : Math.floor(size * reservedRate);
    this.#trouble = new DiskTrouble(clock, options.warn ?? (() => undefined));
    const note = (error: unknown): void => this.#trouble.note(error);
    this.#index = new CacheIndex(nowMs, {
      entryAdded: (slot) => this.#indexFile.entryAdded(slot),
      entryRemoved: (slot) => this.#indexFile.entryRemoved(slot),
      holeMade: (mirror) => this.#reclaimer.add(mirror),
      loadAbandoned: (slot) => this.#loads.abandon(slot),
    });
    this.#disk = new MirrorDisk(folder, options.punchHole ?? systemPunchHole());
    this.#downloads = new Downloads(limits);
    this.#eviction = new Eviction(this.#index, this.capacityBytes, nowMs);
    this.#reclaimer = new Reclaimer(this.#index, this.#disk, clock, note);
    this.#loads = new Loads({ index: this.#index, disk: this.#disk, downloads: this.#downloads, eviction: this.#eviction, reclaimer: this.#reclaimer, trouble: this.#trouble, fetch });
    this.#verification = new Verification(this.#index, this.#disk);
    this.#examination = new Examination(this.#index, this.#disk, this.#reclaimer, note);
    this.#indexFile = new IndexFile(join(folder, 'index'), this.#index, clock, note);
    this.#spare = new SpareFiles(folder, options.spareBytesMax ?? spareBytesMaxDefault);
  }

  /** Nothing is kept when it is off; ranges can be acquired all the same. */
  isEnabled(): boolean {
    return this.options.capacityBytes > 0;
  }

  /** All paths of pins are under these: a reader with limited rights must be let in. */
  folders(): readonly string[] {
    return [this.#disk.files, ...this.#spare.folders];
  }

  /** Begins to read what was there before a restart. Nothing needs to wait for it: `acquire` does, for at most 10 s. */
  start(): void {
    this.#started ??= this.#start();
  }

  /** Pins that are held stay readable; nothing is fetched any more. */
  async stop(): Promise<void> {
    await this.#started;
    this.#loads.stop();
    this.#examination.stop();
    await this.#reclaimer.drained();
    this.#reclaimer.stop();
    if (this.isEnabled()) await this.#indexFile.close();
    await this.#spare.leave();
  }

  /**
   * Every range local, and in use until the pin is released. Rejects with what `fetch` rejects with, with the reason of the signal, with
   * `RangeError` on ranges that are not in the segment, and with `OUT_OF_DISK` when neither disk nor memory has room.
   */
  async acquire(segment: CachedSegment, ranges: readonly TypedRange[], signal?: AbortSignal): Promise<Pin> {
    signal?.throwIfAborted();
    assertKey(segment.key);
    const wanted = wantedRanges(segment, ranges);
    if (!this.#isReady) {
      this.start();
      await withSignal(this.#started as Promise<void>, signal);
    }
    const pin = new SegmentPin(this.#index, segment, wanted, this.#disk.path(segment.key));
    try {
      await this.#fill(pin, signal);
      return pin;
    } catch (error) {
      pin.release();
      throw error;
    } finally {
      this.#downloads.passOn();
    }
  }

  async info(nowMs: number): Promise<CacheTypeInfo[]> {
    return await cacheInfo(this.#index, nowMs);
  }

  /** Resolves to the bytes that were released, when the disk has them. */
  async evictBySize({ reserveBytes, minAgeMs, force }: EvictBySize): Promise<number> {
    const released = await this.#eviction.bySize(reserveBytes, minAgeMs, force);
    await this.#reclaimer.drained();
    return released;
  }

  /** This type and all with greater numbers. Resolves to the bytes that were released, when the disk has them. */
  async evictByType(type: FileType): Promise<number> {
    const released = await this.#eviction.byType(fileTypes.indexOf(type));
    await this.#reclaimer.drained();
    return released;
  }

  /** Figures of this moment; arrays are by number of type. */
  statistics() {
    const { bytesByType, countByType, usedBytes, transientBytes, allocatedBytes, mirrors } = this.#index;
    return {
      ...this.counters,
      ...this.#loads.counters,
      corrupted: this.#verification.corrupted,
      evicted: this.#eviction.evicted,
      bytesByType,
      countByType,
      usedBytes,
      transientBytes,
      allocatedBytes,
      spareBytes: this.#spare.bytes,
      mirrors: mirrors.size,
      running: this.#downloads.running(),
      waiting: this.#downloads.waiting(),
      diskErrors: this.#trouble.errors,
      indexFileBytes: this.#indexFile.writtenBytes,
    };
  }

  /** The index file is up to date, and the disk has back what was evicted. */
  async settled(): Promise<void> {
    await this.#started;
    await this.#examination.request();
    await this.#reclaimer.drained();
    await this.#indexFile.flush();
  }

  async #start(): Promise<void> {
    await this.#spare.clean();
    if (this.isEnabled()) await this.#indexFile.load(startMs);
    this.#isReady = true;
    // It may have been larger before.
    await this.#eviction.bySize(0, 0, true);
    void this.#examination.request();
  }

  async #fill(pin: SegmentPin, signal: AbortSignal | undefined): Promise<void> {
    for (let attempt = 1, turn = 0; ; turn++) {
      const known = this.#index.mirrors.get(pin.segment.key);
      if (known !== undefined && this.clock.monotonicMs() - known.seenAtMs >= seenMs) await this.#look(known);
      // Once more: it may have been forgotten meanwhile.
      const mirror = this.#index.mirrorOf(pin.segment);
      const claim = this.#index.claim(mirror, pin.missing());
      pin.replace(claim.slots);
      for (const slot of claim.slots) {
        const load = this.#loads.of(slot);
        if (load !== undefined) pin.join(load);
      }
      if (turn === 0) this.#count(pin.missing(), claim.missing);
      const begun = this.#begin(pin, mirror, claim.missing, attempt >= attemptsMax);
      if (pin.slots.length === 0) this.#index.forget(mirror);
      if (!begun) {
        await this.#downloads.room(signal);
        continue;
      }
      this.#downloads.passOn();
      await this.#settle(pin, signal);
      attempt++;
      if (pin.slots.some((slot) => this.#index.is(slot, slotState.gone))) continue;
      if (!pin.hasLoosePieces()) return;
      if (await this.#spareFile(pin)) return;
    }
  }

  /** Drops the entries of a mirror whose file was lost. */
  async #look(mirror: Mirror): Promise<void> {
    const present = mirror.slots.some((slot) => this.#index.is(slot, slotState.present));
    if (present && (await this.#disk.allocatedBytes(mirror.key).catch(() => undefined)) === undefined) {
      this.#index.dropPresent(mirror);
      // Rarely alone.
      void this.#examination.request();
    } else mirror.seenAtMs = this.clock.monotonicMs();
  }

  /** Starts what is missing as far as there is room in the queue. False: not all of it. */
  #begin(pin: SegmentPin, mirror: Mirror, missing: readonly WantedRange[], withoutDisk: boolean): boolean {
    for (const fetch of planFetches(missing)) {
      if (!this.#downloads.hasRoom()) return false;
      const load = this.#loads.start(mirror, fetch, (part) => (withoutDisk ? loose : this.#fate(part)));
      pin.add(load.slots);
      pin.join(load);
    }
    return true;
  }

  /** What is to become of what is fetched. */
  #fate({ type, length }: WantedRange): number {
    if (this.#trouble.isOn()) return loose;
    const { fileLevel, minAgeMs } = this.options.limits();
    if (type <= fileLevel && this.#eviction.makeRoom(type, length, minAgeMs)) return 0;
    return this.#index.transientBytes + length <= this.#transientBytesMax ? transient : loose;
  }

  /** Everything that the pin has is present and good, or gone, or in memory. */
  async #settle(pin: SegmentPin, signal: AbortSignal | undefined): Promise<void> {
    const loads = new Set(pin.slots.flatMap((slot) => this.#loads.of(slot) ?? []));
    for (const load of loads) if (load.slots.some((slot) => this.#index.has(slot, loose))) pin.reserve(this.#spare);
    for (const load of loads) await withSignal(load.done, signal);
    if (pin.hasLoosePieces()) pin.reserve(this.#spare);
    const doubtful = pin.slots.filter((slot) => this.#index.is(slot, slotState.present) && !this.#index.has(slot, verified));
    if (doubtful.length > 0) await withSignal(this.#verification.verify(doubtful), signal);
  }

  /** False: what it needed of the mirror has got lost. */
  async #spareFile(pin: SegmentPin): Promise<boolean> {
    this.counters.spareReads++;
    try {
      await pin.moveToSpareFile(this.#spare, this.#disk);
      return true;
    } catch (error) {
      if (!(error instanceof SourceGone)) throw error;
      pin.doubt();
      return false;
    }
  }

  #count(wanted: readonly WantedRange[], missing: readonly WantedRange[]): void {
    const sum = (ranges: readonly WantedRange[]): number => ranges.reduce((bytes, { length }) => bytes + length, 0);
    const missingBytes = sum(missing);
    this.counters[missingBytes === 0 ? 'hits' : 'misses']++;
    this.counters.missBytes += missingBytes;
    this.counters.hitBytes += sum(wanted) - missingBytes;
  }
}

/** Keys are paths under the cache's folder. */
function assertKey(key: string): void {
  if (!/^[\w=-][\w.=-]*(\/[\w=-][\w.=-]*)*$/.test(key)) throw new RangeError(`${JSON.stringify(key)} is no key of a segment`);
}

/** Rejects with the reason of the signal as soon as it is aborted; what `promise` stands for goes on. */
async function withSignal<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await promise;
  signal.throwIfAborted();
  let cancel = (): void => undefined;
  const cancelled = new Promise<never>((_, reject) => {
    cancel = () => reject(signal.reason as Error);
    signal.addEventListener('abort', cancel, { once: true });
  });
  try {
    return await Promise.race([promise, cancelled]);
  } finally {
    signal.removeEventListener('abort', cancel);
  }
}
