import type { CacheIndex } from './cache-index.js';
import type { CachedSegment, Pin } from './cache-types.js';
import { slotState, verified } from './entry-table.js';
import type { WantedRange } from './fetch-plan.js';
import type { Load } from './loads.js';
import type { MirrorDisk, Piece } from './mirror-disk.js';
import { SourceGone, type SpareFile, type SpareFiles } from './spare-files.js';

/** What one reader has of a segment: entries, each pinned once, and pieces in memory of what the disk did not take. */
export class SegmentPin implements Pin {
  slots: readonly number[] = [];
  #pieces: Piece[] = [];
  #spare: SpareFile | undefined;
  #giveBack: (() => void) | undefined;
  #released = false;
  readonly #joined = new Set<Load>();

  constructor(
    private readonly index: CacheIndex,
    readonly segment: CachedSegment,
    private readonly wanted: readonly WantedRange[],
    private readonly mirrorPath: string,
  ) {}

  get path(): string {
    return this.#spare?.path ?? this.mirrorPath;
  }

  /** What has to be on disk: everything that is not in memory. */
  missing(): readonly WantedRange[] {
    return this.#pieces.reduce<readonly WantedRange[]>((ranges, { offset, bytes }) => ranges.flatMap((range) => without(range, offset, offset + bytes.length)), this.wanted);
  }

  /** The new ones are pinned already, so that what is in both is never free in between. */
  replace(slots: readonly number[]): void {
    const old = this.slots;
    this.slots = slots;
    for (const slot of old) this.index.unpin(slot);
  }

  add(slots: readonly number[]): void {
    this.slots = [...this.slots, ...slots];
  }

  /** What comes of the load and not to the disk is this reader's as soon as it is there: the slot may be lost before it looks again. */
  join(load: Load): void {
    if (this.#joined.has(load)) return;
    this.#joined.add(load);
    load.done.then(
      (pieces) => this.#takeLoose(pieces),
      () => undefined,
    );
  }

  hasLoosePieces(): boolean {
    return this.#pieces.length > 0;
  }

  /** Room for all of it, once: it takes less than the memory that waits for it otherwise. Throws `OUT_OF_DISK`. */
  reserve(spare: SpareFiles): void {
    this.#giveBack ??= spare.reserve(this.wanted.reduce((sum, { length }) => sum + length, 0));
  }

  /** A file of its own with everything. Throws `SourceGone` when the mirror has lost something, `OUT_OF_DISK` when there is no room. */
  async moveToSpareFile(spare: SpareFiles, disk: MirrorDisk): Promise<void> {
    const { key, bytes } = this.segment;
    this.#spare = await spare.make(bytes, async (write) => {
      for (const piece of this.#pieces) await write(piece);
      for (const { offset, length } of this.missing()) {
        const whole = await disk.read(key, offset, length, async (part, at) => write({ offset: at, bytes: part })).catch(() => false);
        if (!whole) throw new SourceGone(`${length} bytes at ${offset} of ${key} cannot be read`);
      }
    });
    this.#pieces = [];
    this.replace([]);
  }

  doubt(): void {
    for (const slot of this.slots) {
      if (!this.index.is(slot, slotState.present)) continue;
      this.index.unmark(slot, verified);
      const mirror = this.index.entries.mirror[slot];
      if (mirror !== undefined) mirror.seenAtMs = -Infinity;
    }
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.replace([]);
    this.#pieces = [];
    // Whether it is deleted now or with the next start: it is out of the way.
    void this.#spare?.remove().catch(() => undefined);
    this.#giveBack?.();
  }

  #takeLoose(pieces: ReadonlyMap<number, Piece>): void {
    const mine = this.slots.filter((slot) => pieces.has(slot));
    if (mine.length === 0) return;
    this.#pieces.push(...mine.map((slot) => pieces.get(slot) as Piece));
    this.slots = this.slots.filter((slot) => !pieces.has(slot));
    for (const slot of mine) this.index.unpin(slot);
  }
}

function without(range: WantedRange, start: number, end: number): WantedRange[] {
  const { offset, length, type } = range;
  const rangeEnd = offset + length;
  if (end <= offset || start >= rangeEnd) return [range];
  const parts: WantedRange[] = [];
  if (start > offset) parts.push({ offset, length: start - offset, type });
  if (end < rangeEnd) parts.push({ offset: end, length: rangeEnd - end, type });
  return parts;
}
