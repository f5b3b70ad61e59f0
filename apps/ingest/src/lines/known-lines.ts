import type { Series } from '../series/series.js';
import type { MetricLine } from './metric-line.js';

/** What lines of one spelling are counted under. */
export type LineTarget = Series | 'dropped';

interface Entry {
  readonly hash: number;
  /** Name and tags as they were spelled, one after the other. */
  readonly spelling: Buffer;
  readonly nameLength: number;
  readonly kind: MetricLine['kind'];
  readonly source: string;
  readonly target: LineTarget;
}

/** Cells for each entry: with more of them free, fewer entries meet in one. */
const cellsPerEntry = 2;

/**
 * Finds the series of a line by its bytes, without making a text of them: name and tags as a client spells them, which is the same text again and
 * again. When it is full it forgets everything, since what is in use comes back at once and anything cleverer would cost on every line.
 *
 * About 0.3 kB an entry and its spelling.
 */
export class KnownLines {
  #cells: (Entry | undefined)[];
  #entries = 0;

  constructor(private readonly entriesMax: number) {
    this.#cells = this.#newCells();
  }

  /** Undefined when it is not known (any more). */
  find(bytes: Buffer, line: MetricLine, source: string): LineTarget | undefined {
    const hash = hashOf(bytes, line);
    for (let cell = hash & (this.#cells.length - 1); ; cell = (cell + 1) & (this.#cells.length - 1)) {
      const entry = this.#cells[cell];
      if (entry === undefined) return undefined;
      if (entry.hash !== hash || entry.kind !== line.kind || entry.source !== source || !isSpelled(entry, bytes, line)) continue;
      if (entry.target === 'dropped' || !entry.target.isGone) return entry.target;
      // The newer one of the same spelling stands behind it, if there is one.
    }
  }

  remember(bytes: Buffer, line: MetricLine, source: string, target: LineTarget): void {
    if (this.#entries === this.entriesMax) {
      this.#cells = this.#newCells();
      this.#entries = 0;
    }
    const spelling = Buffer.concat([bytes.subarray(line.nameStart, line.nameEnd), bytes.subarray(line.tagsStart, line.tagsEnd)]);
    const entry: Entry = { hash: hashOf(bytes, line), spelling, nameLength: line.nameEnd - line.nameStart, kind: line.kind, source, target };
    let cell = entry.hash & (this.#cells.length - 1);
    while (this.#cells[cell] !== undefined) cell = (cell + 1) & (this.#cells.length - 1);
    this.#cells[cell] = entry;
    this.#entries += 1;
  }

  #newCells(): (Entry | undefined)[] {
    return new Array<Entry | undefined>(2 ** Math.ceil(Math.log2(this.entriesMax * cellsPerEntry))).fill(undefined);
  }
}

/** FNV-1a over name and tags. */
function hashOf(bytes: Buffer, { nameStart, nameEnd, tagsStart, tagsEnd }: MetricLine): number {
  let hash = 0x811c9dc5;
  for (let at = nameStart; at < nameEnd; at++) hash = Math.imul(hash ^ (bytes[at] as number), 0x01000193);
  for (let at = tagsStart; at < tagsEnd; at++) hash = Math.imul(hash ^ (bytes[at] as number), 0x01000193);
  // The low bits choose the cell, and those of FNV depend on low bits alone.
  return (hash ^ (hash >>> 15)) >>> 0;
}

function isSpelled({ spelling, nameLength }: Entry, bytes: Buffer, { nameStart, nameEnd, tagsStart, tagsEnd }: MetricLine): boolean {
  if (nameLength !== nameEnd - nameStart || spelling.length - nameLength !== tagsEnd - tagsStart) return false;
  for (let at = 0; at < nameLength; at++) if (spelling[at] !== bytes[nameStart + at]) return false;
  for (let at = nameLength, other = tagsStart; at < spelling.length; at++, other++) if (spelling[at] !== bytes[other]) return false;
  return true;
}
