import { metricKinds, type MetricKind } from '../series/metric-kind.js';
import type { Series } from '../series/series.js';
import type { MetricLine } from './metric-line.js';

/** What lines of one spelling are counted under. */
export type LineTarget = Series | 'dropped';

/** Cells for each entry, at least: with more of them free, fewer entries meet in one. */
const cellsPerEntry = 2;
/** Entries of one hash that are compared; what is behind them is not known. By chance there are hardly two. */
const sameHashMax = 32;
const firstEntries = 512;
const firstSpellingBytes = 32 * 1_024;
/** On average; what is longer takes the room of others. */
const spellingBytesMax = 128;

/** Of the numbers of an entry. */
const [startAt, nameLengthAt, tagsLengthAt, senderAt, intervalAt, numbersPerEntry] = [0, 1, 2, 3, 4, 5];
/** Instead of an interval: it holds as long as its series is there. */
const always = -1;
const kindNumbers = Object.fromEntries(metricKinds.map((kind, number) => [kind, number])) as Record<MetricKind, number>;
const kindBits = 2;

/**
 * Finds the series of a line by its bytes, without making a text of them: name and tags as a client spells them, which is the same text again and
 * again. When it is full it forgets everything, since what is in use comes back at once and anything cleverer would cost on every line.
 *
 * Numbers and spellings lie in arrays of numbers: to find one of many thousands is to wait for memory, so it is few places that are looked at, and
 * the collector has nothing to follow. 36 to 72 bytes an entry, and twice its spelling at the most.
 */
export class KnownLines {
  /** Two numbers for each: the hash, and that of the entry, counted from 1; 0 where there is none. */
  #cells!: Int32Array;
  #numbers!: Int32Array;
  #spellings!: Uint8Array;
  #spellingBytes = 0;
  #targets: LineTarget[] = [];
  /** Of the spelling that was looked for last and does not hold any more: its entry; -1 if there is none. */
  #outdated = -1;
  /** There were too many of one hash where it was looked for: it is not remembered. */
  #isCrowded = false;

  constructor(private readonly entriesMax: number) {
    this.#reset();
  }

  /**
   * Undefined when it is not known (any more).
   *
   * @param source number of what the line came from, less than 2^29
   * @param interval of the store: what overflows in one may have room in the next
   */
  find(bytes: Uint8Array, line: MetricLine, source: number, interval: number): LineTarget | undefined {
    const cells = this.#cells;
    const mask = cells.length / 2 - 1;
    const hash = hashOf(line, source);
    this.#outdated = -1;
    this.#isCrowded = false;
    let sameHash = 0;
    for (let cell = hash & mask; ; cell = (cell + 1) & mask) {
      const entry = (cells[cell * 2 + 1] as number) - 1;
      if (entry < 0) return undefined;
      if (cells[cell * 2] !== hash) continue;
      if (!this.#isSpelled(entry, bytes, line, source)) {
        if (++sameHash < sameHashMax) continue;
        this.#isCrowded = true;
        return undefined;
      }
      const target = this.#targets[entry] as LineTarget;
      const until = this.#numbers[entry * numbersPerEntry + intervalAt];
      if ((until === always || until === interval) && (target === 'dropped' || !target.isGone)) return target;
      this.#outdated = entry;
      return undefined;
    }
  }

  /** Of the line that was looked for last, and not found. @param interval it holds in this one alone; always if absent */
  remember(bytes: Uint8Array, line: MetricLine, source: number, target: LineTarget, interval = always): void {
    if (this.#isCrowded) return;
    const known = this.#outdated;
    if (known >= 0) {
      this.#targets[known] = target;
      this.#numbers[known * numbersPerEntry + intervalAt] = interval;
      return;
    }
    const { nameStart, nameEnd, tagsStart, tagsEnd } = line;
    const length = nameEnd - nameStart + tagsEnd - tagsStart;
    if (this.#targets.length >= this.entriesMax || this.#spellingBytes + length > this.entriesMax * spellingBytesMax + firstSpellingBytes) this.#reset();
    this.#makeRoom(length);
    const entry = this.#targets.push(target) - 1;
    const start = this.#spellingBytes;
    this.#numbers.set([start, nameEnd - nameStart, tagsEnd - tagsStart, senderOf(line, source), interval], entry * numbersPerEntry);
    this.#spellings.set(bytes.subarray(nameStart, nameEnd), start);
    this.#spellings.set(bytes.subarray(tagsStart, tagsEnd), start + nameEnd - nameStart);
    this.#spellingBytes += length;
    put(this.#cells, hashOf(line, source), entry + 1);
  }

  /** Numbers of sources mean something else from now on. */
  forget(): void {
    this.#reset();
  }

  #isSpelled(entry: number, bytes: Uint8Array, line: MetricLine, source: number): boolean {
    const { nameStart, nameEnd, tagsStart, tagsEnd } = line;
    const numbers = this.#numbers;
    const at = entry * numbersPerEntry;
    const nameLength = nameEnd - nameStart;
    const tagsLength = tagsEnd - tagsStart;
    if (numbers[at + nameLengthAt] !== nameLength || numbers[at + tagsLengthAt] !== tagsLength || numbers[at + senderAt] !== senderOf(line, source)) return false;
    const spellings = this.#spellings;
    const start = numbers[at + startAt] as number;
    for (let offset = 0; offset < nameLength; offset++) if (spellings[start + offset] !== bytes[nameStart + offset]) return false;
    for (let offset = 0; offset < tagsLength; offset++) if (spellings[start + nameLength + offset] !== bytes[tagsStart + offset]) return false;
    return true;
  }

  #makeRoom(spelling: number): void {
    const entries = this.#targets.length + 1;
    if (entries * numbersPerEntry > this.#numbers.length) this.#numbers = larger(this.#numbers, new Int32Array(this.#numbers.length * 2));
    if (this.#spellingBytes + spelling > this.#spellings.length) this.#spellings = larger(this.#spellings, new Uint8Array(this.#spellings.length * 2));
    if (entries * cellsPerEntry * 2 <= this.#cells.length) return;
    const cells = new Int32Array(this.#cells.length * 2);
    for (let cell = 0; cell < this.#cells.length; cell += 2) {
      const entry = this.#cells[cell + 1] as number;
      if (entry > 0) put(cells, this.#cells[cell] as number, entry);
    }
    this.#cells = cells;
  }

  #reset(): void {
    this.#cells = new Int32Array(firstEntries * cellsPerEntry * 2);
    this.#numbers = new Int32Array(firstEntries * numbersPerEntry);
    this.#spellings = new Uint8Array(firstSpellingBytes);
    this.#spellingBytes = 0;
    this.#targets = [];
    this.#outdated = -1;
  }
}

const senderOf = (line: MetricLine, source: number): number => (source << kindBits) | kindNumbers[line.kind];

/** The low bits choose the cell, and those of the line's hash depend on low bits alone; many senders may have the same series. */
function hashOf(line: MetricLine, source: number): number {
  const mixed = Math.imul(line.hash ^ Math.imul(senderOf(line, source), 0x9e3779b1), 0x85ebca6b);
  return mixed ^ (mixed >>> 15);
}

function put(cells: Int32Array, hash: number, entry: number): void {
  const mask = cells.length / 2 - 1;
  let cell = hash & mask;
  while (cells[cell * 2 + 1] !== 0) cell = (cell + 1) & mask;
  cells[cell * 2] = hash;
  cells[cell * 2 + 1] = entry;
}

function larger<Numbers extends Int32Array | Uint8Array>(from: Numbers, to: Numbers): Numbers {
  to.set(from);
  return to;
}
