import { EntryTable, loose, slotState, transient, verified } from './entry-table.js';
import type { WantedRange } from './fetch-plan.js';
import type { CachedSegment } from './cache-types.js';
import { fileTypes, type FileTypeNumber } from './file-type.js';
import { Mirror } from './mirror.js';

/** Told of what must survive a restart, and of what takes room on disk without need. */
export interface IndexListener {
  entryAdded(slot: number): void;
  /** While it can still be looked up. */
  entryRemoved(slot: number): void;
  holeMade(mirror: Mirror): void;
  /** Nobody waits for it any more. */
  loadAbandoned(slot: number): void;
}

/** What of a wish is there, or on its way, and what is not. */
export interface Claim {
  readonly slots: readonly number[];
  readonly missing: readonly WantedRange[];
}

/** Which bytes of which segments are local, in what state, who uses them, and how much that is: all in memory, every change at once. */
export class CacheIndex {
  readonly entries = new EntryTable();
  readonly mirrors = new Map<string, Mirror>();
  /** What is kept, or being loaded to be kept, by type. */
  readonly bytesByType = new Float64Array(fileTypes.length);
  readonly countByType = new Float64Array(fileTypes.length);
  usedBytes = 0;
  /** What is on disk for as long as it is pinned. */
  transientBytes = 0;
  /** What the disk says all mirrors take. */
  allocatedBytes = 0;
  #mirrorsMade = 0;

  constructor(
    private readonly nowMs: () => number,
    private readonly listener: IndexListener,
  ) {}

  mirrorOf({ key, bytes }: CachedSegment): Mirror {
    const known = this.mirrors.get(key);
    if (known !== undefined) return known;
    const mirror = new Mirror(++this.#mirrorsMade, key, bytes);
    this.mirrors.set(key, mirror);
    return mirror;
  }

  /** A mirror as the index file knew it. */
  restoredMirror(id: number, key: string, bytes: number): Mirror {
    this.#mirrorsMade = Math.max(this.#mirrorsMade, id);
    const mirror = new Mirror(id, key, bytes);
    this.mirrors.set(key, mirror);
    return mirror;
  }

  /** Pins what there is of the ranges; the caller unpins each slot once. */
  claim(mirror: Mirror, wanted: readonly WantedRange[]): Claim {
    const slots: number[] = [];
    const missing: WantedRange[] = [];
    for (const { offset, length, type } of wanted) {
      let from = offset;
      const end = offset + length;
      for (let position = mirror.firstEndingAfter(this.entries, offset); position < mirror.slots.length; position++) {
        const slot = mirror.slots[position] as number;
        const start = this.entries.offset[slot] as number;
        if (start >= end) break;
        if (start > from) missing.push({ offset: from, length: start - from, type });
        from = this.entries.endOf(slot);
        // An entry may reach over several ranges.
        if (slots.at(-1) !== slot) slots.push(slot);
      }
      if (from < end) missing.push({ offset: from, length: end - from, type });
    }
    for (const slot of slots) this.pin(slot);
    return { slots, missing };
  }

  /** An entry that is being loaded, pinned once. `flags` says what becomes of it: `transient`, `loose`, or 0 for kept. */
  startLoad(mirror: Mirror, { offset, length, type }: WantedRange, flags: number): number {
    const slot = this.entries.take(mirror, offset, length, type);
    if (!mirror.insert(this.entries, slot)) throw new Error(`two entries overlap at ${offset} of ${mirror.key}`);
    this.entries.flags[slot] = flags;
    this.entries.pins[slot] = 1;
    this.#count(slot, 1);
    return slot;
  }

  finishLoad(slot: number, checksum: number): void {
    const { entries } = this;
    entries.state[slot] = slotState.present;
    entries.checksum[slot] = checksum;
    entries.accessedMs[slot] = this.nowMs();
    this.mark(slot, verified);
    if (!this.has(slot, transient)) this.listener.entryAdded(slot);
    if (entries.pins[slot] === 0) this.#leave(slot);
  }

  /** An entry as the index file knew it; its bytes are compared with the checksum before they are used. False: it fits with no other. */
  restore(slot: number, mirror: Mirror, range: WantedRange, checksum: number, accessedMs: number): boolean {
    const { entries } = this;
    entries.put(slot, mirror, range.offset, range.length, range.type);
    if (!mirror.insert(entries, slot)) {
      entries.state[slot] = slotState.free;
      entries.mirror[slot] = undefined;
      return false;
    }
    entries.state[slot] = slotState.present;
    entries.checksum[slot] = checksum;
    entries.insertByUse(slot, accessedMs);
    this.#count(slot, 1);
    return true;
  }

  /** Was evicted later on, says the index file. */
  forgetRestored(slot: number): void {
    const { entries } = this;
    entries.unlink(slot);
    entries.mirror[slot]?.remove(entries, slot);
    this.#count(slot, -1);
    entries.free(slot);
  }

  /** It was used at this moment, as the index file says. */
  restoreAccess(slot: number, accessedMs: number): void {
    this.entries.unlink(slot);
    this.entries.insertByUse(slot, accessedMs);
  }

  pin(slot: number): void {
    const { entries } = this;
    // What is pinned is in no list: eviction never walks past what it cannot take.
    if ((entries.pins[slot] as number) === 0) entries.unlink(slot);
    (entries.pins[slot] as number)++;
  }

  unpin(slot: number): void {
    const { entries } = this;
    if (--(entries.pins[slot] as number) > 0) return;
    const state = entries.state[slot];
    if (state === slotState.gone) entries.free(slot);
    else if (state === slotState.present) this.#leave(slot);
    else this.listener.loadAbandoned(slot);
  }

  /** Out of the index; what it had on disk is a hole from now on. Pins of it stay good for `unpin` alone. */
  drop(slot: number): void {
    const { entries } = this;
    const state = entries.state[slot];
    if (state === slotState.gone || state === slotState.free) return;
    const mirror = entries.mirror[slot] as Mirror;
    if (state === slotState.present && !this.has(slot, transient)) this.listener.entryRemoved(slot);
    entries.unlink(slot);
    mirror.remove(entries, slot);
    this.#count(slot, -1);
    mirror.holes.push([entries.offset[slot] as number, entries.endOf(slot)]);
    if ((entries.pins[slot] as number) > 0) {
      entries.state[slot] = slotState.gone;
      entries.mirror[slot] = undefined;
    } else entries.free(slot);
    this.listener.holeMade(mirror);
  }

  /** Forgets a mirror that has nothing and waits for nothing: while its file is worked on, another one of the same key must wait for that. */
  forget(mirror: Mirror): void {
    if (mirror.slots.length === 0 && mirror.holes.length === 0 && !mirror.isBusy() && this.mirrors.get(mirror.key) === mirror) this.mirrors.delete(mirror.key);
  }

  setAllocated(mirror: Mirror, bytes: number): void {
    this.allocatedBytes += bytes - mirror.allocatedBytes;
    mirror.allocatedBytes = bytes;
  }

  /** The file is gone: so is everything that was in it. What is being loaded will be written into a new one. */
  dropPresent(mirror: Mirror): void {
    for (const slot of [...mirror.slots]) if (this.is(slot, slotState.present)) this.drop(slot);
  }

  has(slot: number, flag: number): boolean {
    return ((this.entries.flags[slot] as number) & flag) !== 0;
  }

  mark(slot: number, flag: number): void {
    (this.entries.flags[slot] as number) |= flag;
  }

  unmark(slot: number, flag: number): void {
    (this.entries.flags[slot] as number) &= ~flag;
  }

  is(slot: number, state: number): boolean {
    return this.entries.state[slot] === state;
  }

  /** The last pin has gone. */
  #leave(slot: number): void {
    if (this.has(slot, transient)) this.drop(slot);
    else this.entries.append(slot, this.nowMs());
  }

  #count(slot: number, sign: 1 | -1): void {
    const { entries } = this;
    const bytes = sign * (entries.length[slot] as number);
    if (this.has(slot, loose)) return;
    if (this.has(slot, transient)) {
      this.transientBytes += bytes;
      return;
    }
    const type = entries.type[slot] as FileTypeNumber;
    this.usedBytes += bytes;
    (this.bytesByType[type] as number) += bytes;
    (this.countByType[type] as number) += sign;
  }
}
