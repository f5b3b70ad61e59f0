import type { EntryTable } from './entry-table.js';

/** Start and end, exclusive. */
export type Span = readonly [start: number, end: number];

/** The local copy of one segment: a sparse file in which the entries have their bytes. */
export class Mirror {
  /** Slots by offset: what is present and what is being loaded. They do not overlap. */
  readonly slots: number[] = [];
  /** What was dropped and still takes room on disk. */
  holes: Span[] = [];
  /** What the disk says the file takes. */
  allocatedBytes = 0;
  /** When the file was last seen to be there, monotonic. */
  seenAtMs = -Infinity;
  /** The index file that knows this mirror: the number of its making. */
  recordedIn = 0;
  /** Of the last examination of the whole folder that found it. */
  examination = 0;
  #last: Promise<void> | undefined;

  constructor(
    /** New for each mirror a process makes or reads from the index file. */
    readonly id: number,
    readonly key: string,
    readonly bytes: number,
  ) {}

  /** One at a time writes to the file or frees parts of it: a hole must not be punched where something was just written. */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    const turn = (this.#last ?? Promise.resolve()).then(work, work);
    const done = (): void => {
      if (this.#last === last) this.#last = undefined;
    };
    const last: Promise<void> = turn.then(done, done);
    this.#last = last;
    return await turn;
  }

  isBusy(): boolean {
    return this.#last !== undefined;
  }

  /** Position in `slots` of the first entry that ends after `offset`. */
  firstEndingAfter(entries: EntryTable, offset: number): number {
    let low = 0;
    let high = this.slots.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (entries.endOf(this.slots[middle] as number) > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** The parts of the span that no entry has. */
  gaps(entries: EntryTable, [start, end]: Span): Span[] {
    const gaps: Span[] = [];
    let from = start;
    for (let position = this.firstEndingAfter(entries, start); position < this.slots.length && from < end; position++) {
      const slot = this.slots[position] as number;
      const offset = entries.offset[slot] as number;
      if (offset >= end) break;
      if (offset > from) gaps.push([from, offset]);
      from = entries.endOf(slot);
    }
    if (from < end) gaps.push([from, end]);
    return gaps;
  }

  /** False when it would overlap another one. */
  insert(entries: EntryTable, slot: number): boolean {
    const position = this.firstEndingAfter(entries, entries.offset[slot] as number);
    const following = this.slots[position];
    if (following !== undefined && (entries.offset[following] as number) < entries.endOf(slot)) return false;
    this.slots.splice(position, 0, slot);
    return true;
  }

  remove(entries: EntryTable, slot: number): void {
    const position = this.firstEndingAfter(entries, entries.offset[slot] as number);
    if (this.slots[position] === slot) this.slots.splice(position, 1);
  }

  /**
   * The blocks that `holes` leave without any byte of an entry: a block that two dropped neighbours shared goes with the second of them.
   */
  freeBlocks(entries: EntryTable, holes: readonly Span[], blockBytes: number): Span[] {
    const blocks: Span[] = [];
    const end = Math.ceil(this.bytes / blockBytes) * blockBytes;
    for (const [holeStart, holeEnd] of joined(holes)) {
      const around: Span = [Math.floor(holeStart / blockBytes) * blockBytes, Math.min(Math.ceil(holeEnd / blockBytes) * blockBytes, end)];
      for (const [start, stop] of this.gaps(entries, around)) {
        const first = Math.ceil(start / blockBytes) * blockBytes;
        const last = Math.floor(stop / blockBytes) * blockBytes;
        if (first < last) blocks.push([first, last]);
      }
    }
    return joined(blocks);
  }
}

/** Ascending, and none touches another. */
export function joined(spans: readonly Span[]): Span[] {
  const result: Span[] = [];
  for (const [start, end] of [...spans].sort(([one], [other]) => one - other)) {
    const last = result.at(-1);
    if (last !== undefined && start <= last[1]) result[result.length - 1] = [last[0], Math.max(last[1], end)];
    else result.push([start, end]);
  }
  return result;
}
