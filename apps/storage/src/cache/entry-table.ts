import { fileTypes, type FileTypeNumber } from './file-type.js';
import type { Mirror } from './mirror.js';

/** What a slot is. `gone`: no entry any more, but somebody still has it pinned. */
export const slotState = { free: 0, loading: 1, present: 2, gone: 3 } as const;

/** Compared with its checksum, or written, by this process. */
export const verified = 1;
/** Goes with its last pin. */
export const transient = 2;
/** Never comes to the disk: those who wait get its bytes from memory. */
export const loose = 4;

const slotsAtFirst = 1_024;
const typeCount = fileTypes.length;
/** An index file is in order but for what was used and what was made within the same minute. */
const stepsMax = 64;

/**
 * The entries of the cache as columns, by slot: 38 bytes each, a reference to the mirror, and no object for the garbage collector.
 *
 * The first slots, one a type, are the ends of the lists of entries that may be evicted: circular, doubly linked, the least recently used
 * first. A slot outside a list is linked with itself, so that taking it out twice is harmless.
 */
export class EntryTable {
  state = new Uint8Array(slotsAtFirst);
  flags = new Uint8Array(slotsAtFirst);
  type = new Uint8Array(slotsAtFirst);
  pins = new Uint32Array(slotsAtFirst);
  offset = new Float64Array(slotsAtFirst);
  length = new Uint32Array(slotsAtFirst);
  checksum = new Uint32Array(slotsAtFirst);
  accessedMs = new Float64Array(slotsAtFirst);
  next = new Uint32Array(slotsAtFirst);
  previous = new Uint32Array(slotsAtFirst);
  readonly mirror: (Mirror | undefined)[] = [];
  /** Slots from this one on were never used. */
  end = typeCount;
  /** Linked by `next`; 0 ends it, which is never a slot of an entry. */
  #free = 0;

  constructor() {
    for (let slot = 0; slot < typeCount; slot++) {
      this.next[slot] = this.previous[slot] = slot;
      this.mirror.push(undefined);
    }
  }

  /** A slot for an entry that is in no list. */
  take(mirror: Mirror, offset: number, length: number, type: FileTypeNumber): number {
    const slot = this.#free === 0 ? this.end : this.#free;
    if (slot === this.end) this.#reach(slot);
    else this.#free = this.next[slot] as number;
    this.put(slot, mirror, offset, length, type);
    return slot;
  }

  /** The same with a slot of the caller's choice, which is free; `linkFree` must follow before the next `take`. */
  put(slot: number, mirror: Mirror, offset: number, length: number, type: FileTypeNumber): void {
    if (slot >= this.end) this.#reach(slot);
    this.state[slot] = slotState.loading;
    this.flags[slot] = 0;
    this.pins[slot] = 0;
    this.type[slot] = type;
    this.offset[slot] = offset;
    this.length[slot] = length;
    this.next[slot] = this.previous[slot] = slot;
    this.mirror[slot] = mirror;
  }

  free(slot: number): void {
    this.state[slot] = slotState.free;
    this.mirror[slot] = undefined;
    this.next[slot] = this.#free;
    this.#free = slot;
  }

  /** Finds the free slots again after entries were put where they had been before a restart. */
  linkFree(): void {
    this.#free = 0;
    for (let slot = this.end - 1; slot >= typeCount; slot--) if (this.state[slot] === slotState.free) this.free(slot);
  }

  endOf(slot: number): number {
    return (this.offset[slot] as number) + (this.length[slot] as number);
  }

  /** The entry of the type that was used longest ago; undefined: the type has none that could be evicted. */
  oldest(type: FileTypeNumber): number | undefined {
    const slot = this.next[type] as number;
    return slot === type ? undefined : slot;
  }

  /** To the end of its list. Access times never fall along a list, whatever is done to the wall clock. */
  append(slot: number, accessedMs: number): void {
    const head = this.type[slot] as number;
    this.#linkAfter(this.previous[head] as number, slot, accessedMs);
  }

  /** To where it belongs by its last use, when that is not far from the end of the list; else as far from it as was looked, and counting as used then. */
  insertByUse(slot: number, accessedMs: number): void {
    const head = this.type[slot] as number;
    let before = this.previous[head] as number;
    for (let steps = 0; steps < stepsMax && before !== head && (this.accessedMs[before] as number) > accessedMs; steps++) before = this.previous[before] as number;
    this.#linkAfter(before, slot, accessedMs);
  }

  unlink(slot: number): void {
    const next = this.next[slot] as number;
    const previous = this.previous[slot] as number;
    this.next[previous] = next;
    this.previous[next] = previous;
    this.next[slot] = this.previous[slot] = slot;
  }

  #linkAfter(before: number, slot: number, accessedMs: number): void {
    const isFirst = before < typeCount;
    const after = this.next[before] as number;
    this.accessedMs[slot] = isFirst ? accessedMs : Math.max(accessedMs, this.accessedMs[before] as number);
    this.next[before] = slot;
    this.previous[slot] = before;
    this.next[slot] = after;
    this.previous[after] = slot;
  }

  #reach(slot: number): void {
    if (slot >= this.state.length) this.#grow(2 ** Math.ceil(Math.log2(slot + 1)));
    for (; this.end <= slot; this.end++) this.mirror.push(undefined);
  }

  #grow(slots: number): void {
    const grown = <T extends Uint8Array | Uint32Array | Float64Array>(old: T, column: T): T => {
      column.set(old);
      return column;
    };
    this.state = grown(this.state, new Uint8Array(slots));
    this.flags = grown(this.flags, new Uint8Array(slots));
    this.type = grown(this.type, new Uint8Array(slots));
    this.pins = grown(this.pins, new Uint32Array(slots));
    this.offset = grown(this.offset, new Float64Array(slots));
    this.length = grown(this.length, new Uint32Array(slots));
    this.checksum = grown(this.checksum, new Uint32Array(slots));
    this.accessedMs = grown(this.accessedMs, new Float64Array(slots));
    this.next = grown(this.next, new Uint32Array(slots));
    this.previous = grown(this.previous, new Uint32Array(slots));
  }
}
