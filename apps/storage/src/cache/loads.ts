import { crc32 } from 'node:zlib';
import type { CacheIndex } from './cache-index.js';
import type { DiskTrouble } from './disk-trouble.js';
import type { Downloads } from './downloads.js';
import { loose, slotState } from './entry-table.js';
import type { Eviction } from './eviction.js';
import type { PlannedFetch } from './fetch-plan.js';
import type { FetchRange } from './cache-types.js';
import { errorCode, type MirrorDisk, type Piece } from './mirror-disk.js';
import type { Mirror } from './mirror.js';
import type { Reclaimer } from './reclaimer.js';

/** One fetch and the entries that come of it. */
export interface Load {
  readonly slots: readonly number[];
  /** The bytes of the entries that did not come to the disk, by slot; their readers take them from here. Rejects with what the fetch rejects with. */
  readonly done: Promise<ReadonlyMap<number, Piece>>;
}

interface RunningLoad {
  readonly slots: number[];
  readonly fetch: PlannedFetch;
  readonly abort: AbortController;
  leaveQueue: () => boolean;
  done: Promise<ReadonlyMap<number, Piece>>;
}

export interface LoadParts {
  readonly index: CacheIndex;
  readonly disk: MirrorDisk;
  readonly downloads: Downloads;
  readonly eviction: Eviction;
  readonly reclaimer: Reclaimer;
  readonly trouble: DiskTrouble;
  readonly fetch: FetchRange;
}

const diskIsFull = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);
const folderIsGone = new Set(['ENOENT', 'ENOTDIR']);

/** Brings entries from the remote store to the disk, each once, for as long as anybody waits for it. */
export class Loads {
  readonly counters = { fetches: 0, fetchedBytes: 0, neededBytes: 0, failures: 0, abandoned: 0 };
  readonly #bySlot = new Map<number, RunningLoad>();

  constructor(private readonly parts: LoadParts) {}

  of(slot: number): Load | undefined {
    return this.#bySlot.get(slot);
  }

  /** Begins the fetch; each of its entries is pinned once, for the caller. `flagsOf` says what is to become of an entry, in the order of the parts. */
  start(mirror: Mirror, fetch: PlannedFetch, flagsOf: (part: PlannedFetch['parts'][number]) => number): Load {
    const slots = fetch.parts.map((part) => this.parts.index.startLoad(mirror, part, flagsOf(part)));
    const load: RunningLoad = { slots, fetch, abort: new AbortController(), leaveQueue: () => false, done: Promise.resolve(new Map()) };
    for (const slot of slots) this.#bySlot.set(slot, load);
    load.done = new Promise((resolve, reject) => {
      load.leaveQueue = this.parts.downloads.add(fetch.length, async () => {
        await this.#run(mirror, load).then(resolve, reject);
      });
    });
    // Who waits sees the rejection; that nobody waits any more is no error.
    load.done.catch(() => undefined);
    return load;
  }

  /** One of its entries has no reader left. When none has, the fetch ends, and its entries are free to be asked for anew at once. */
  abandon(slot: number): void {
    const load = this.#bySlot.get(slot);
    if (load === undefined || load.slots.some((each) => this.#bySlot.get(each) === load && (this.parts.index.entries.pins[each] as number) > 0)) return;
    this.counters.abandoned++;
    this.#dropAll(load);
    load.abort.abort(new Error('nobody waits for it any more'));
    load.leaveQueue();
  }

  /** Ends every fetch: the node stops. */
  stop(): void {
    for (const load of new Set(this.#bySlot.values())) load.abort.abort(new Error('the node stops'));
  }

  async #run(mirror: Mirror, load: RunningLoad): Promise<ReadonlyMap<number, Piece>> {
    const { index, fetch } = this.parts;
    const { offset, length, parts } = load.fetch;
    try {
      load.abort.signal.throwIfAborted();
      const bytes = await fetch(mirror.key, { offset, length }, load.abort.signal);
      if (bytes.length !== length) throw new Error(`${bytes.length} bytes came instead of ${length} at ${offset} of ${mirror.key}`);
      this.counters.fetches++;
      this.counters.fetchedBytes += length;
      this.counters.neededBytes += parts.reduce((sum, part) => sum + part.length, 0);
      const pieces = new Map(
        load.slots.flatMap((slot, position): [number, Piece][] => {
          const part = parts[position] as (typeof parts)[number];
          const start = part.offset - offset;
          return this.#isLoading(slot, load) ? [[slot, { offset: part.offset, bytes: bytes.subarray(start, start + part.length) }]] : [];
        }),
      );
      const forDisk = [...pieces].filter(([slot]) => !index.has(slot, loose));
      const stored = forDisk.length > 0 && (await this.#store(mirror, forDisk.map(([, piece]) => piece)));
      if (stored) for (const [slot, piece] of forDisk) this.#publish(slot, piece, load, pieces);
      return pieces;
    } catch (error) {
      if (!load.abort.signal.aborted) this.counters.failures++;
      throw error;
    } finally {
      this.#dropAll(load);
    }
  }

  #publish(slot: number, piece: Piece, load: RunningLoad, pieces: Map<number, Piece>): void {
    if (!this.#isLoading(slot, load)) return;
    this.#bySlot.delete(slot);
    this.parts.index.finishLoad(slot, crc32(piece.bytes));
    pieces.delete(slot);
  }

  /** False: the disk does not take it. */
  async #store(mirror: Mirror, pieces: readonly Piece[]): Promise<boolean> {
    const { index, disk, eviction, reclaimer, trouble } = this.parts;
    for (let attempt = 0; !trouble.isOn(); attempt++) {
      try {
        index.setAllocated(mirror, await mirror.alone(async () => disk.write(mirror.key, mirror.bytes, pieces)));
        return true;
      } catch (error) {
        const code = errorCode(error) ?? '';
        if (attempt === 0 && folderIsGone.has(code)) continue;
        if (attempt === 0 && diskIsFull.has(code)) {
          const bytes = pieces.reduce((sum, piece) => sum + piece.bytes.length, 0);
          const released = await eviction.release(bytes);
          await reclaimer.drained();
          if (released > 0) continue;
        }
        trouble.begin(error);
      }
    }
    return false;
  }

  #isLoading(slot: number, load: RunningLoad): boolean {
    return this.#bySlot.get(slot) === load && this.parts.index.is(slot, slotState.loading);
  }

  /** What is left of it: a slot may be another load's by now. */
  #dropAll(load: RunningLoad): void {
    for (const slot of load.slots) {
      if (this.#bySlot.get(slot) !== load) continue;
      this.#bySlot.delete(slot);
      this.parts.index.drop(slot);
    }
  }
}
