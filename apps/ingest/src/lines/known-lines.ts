import type { Series } from '../series/series.js';
import { hashOf, type LineWords } from './line-words.js';

/** What lines of one spelling are counted under; null where a filter drops them. */
export type LineTarget = Series | null;

/** Cells for each entry, at least: with more of them free, fewer entries meet in one. */
const cellsPerEntry = 2;
/** Of a cell: the lowest bits say where the entry is, and the others are those of its hash, so that hardly any other entry is looked at. */
const entryBits = 27;
const entryMask = 2 ** entryBits - 1;
const wordsMax = 2 * entryMask;
/** Entries that are compared; what is behind them is not known. By chance there are hardly two. */
const comparedMax = 32;
const firstEntries = 512;
const firstWords = 8 * 1_024;
/** On average; what is longer takes the room of others. */
const wordsPerEntryMax = 40;

/** Of the words of an entry, with the line's own behind them. */
const [targetAt, intervalAt, sampleRateAt, seriesAt, tallyAt, lineAt] = [0, 1, 2, 4, 5, 6];
/** Instead of an interval: it holds as long as its series is there. */
const always = -1;
/** Instead of a series: none is open under this number. */
const neverOpen = -1;

/**
 * Finds the series of a line by its bytes, without making a text of them: all of them but its value, as a client spells them, which is the same again
 * and again. When it is full it forgets everything, since what is in use comes back at once and anything cleverer would cost on every line.
 *
 * Everything lies in arrays of numbers: to find one of many thousands is to wait for memory, so it is few places that are looked at, and the collector
 * has nothing to follow. 40 to 72 bytes an entry, and up to twice its words.
 */
export class KnownLines {
  /** Where entries are: half of their place among the words, plus 1, and bits of their hash; 0 where there is none. */
  #cells!: Int32Array;
  #words!: Int32Array;
  /** The same memory. */
  #doubles!: Float64Array;
  /** Words that are taken: an even number. */
  #length = 0;
  #targets: LineTarget[] = [];
  /** The entry that was found last, if it does not hold any more; -1 if there is none. */
  #outdated = -1;
  /** There were too many to compare: it is not remembered. */
  #isCrowded = false;

  constructor(private readonly entriesMax: number) {
    this.forget();
  }

  /** The entry of this line, which may not hold any more; -1 when there is none. */
  find(line: LineWords): number {
    const cells = this.#cells;
    const words = this.#words;
    const { hash, count, words: lineWords } = line;
    const mask = cells.length - 1;
    this.#outdated = -1;
    this.#isCrowded = false;
    let compared = 0;
    search: for (let at = hash & mask; ; at = (at + 1) & mask) {
      const cell = cells[at] as number;
      if (cell === 0) return -1;
      if (((cell ^ hash) & ~entryMask) !== 0) continue;
      const entry = entryOf(cell);
      for (let word = 0; word < count; word++) {
        if (words[entry + lineAt + word] === lineWords[word]) continue;
        if (++compared < comparedMax) continue search;
        this.#isCrowded = true;
        return -1;
      }
      return entry;
    }
  }

  sampleRate(entry: number): number {
    return this.#doubles[(entry + sampleRateAt) / 2] as number;
  }

  /** The id of its series, if that is a counter or a gauge; -1 else. */
  series(entry: number): number {
    return this.#words[entry + seriesAt] as number;
  }

  /** Where its series has its tally. */
  place(entry: number): number {
    return (this.#words[entry + tallyAt] as number) >> 1;
  }

  isGauge(entry: number): boolean {
    return ((this.#words[entry + tallyAt] as number) & 1) === 1;
  }

  /** Undefined when the entry that was found does not hold any more. @param interval of the store: what overflows in one may have room in the next */
  target(entry: number, interval: number): LineTarget | undefined {
    const target = this.#targets[this.#words[entry + targetAt] as number] as LineTarget;
    const until = this.#words[entry + intervalAt] as number;
    if ((until === always || until === interval) && (target === null || !target.isGone)) return target;
    this.#outdated = entry;
    return undefined;
  }

  /** Of the line that was looked for last, and not found. @param interval it holds in this one alone; always if absent */
  remember(line: LineWords, target: LineTarget, sampleRate: number, interval = always): void {
    if (this.#isCrowded || line.count === 0) return;
    const known = this.#outdated;
    if (known >= 0) {
      this.#targets[this.#words[known + targetAt] as number] = target;
      this.#describe(known, target, interval);
      return;
    }
    const length = lineAt + line.count + (line.count % 2);
    if (this.#targets.length >= this.entriesMax || this.#length + length > Math.min(wordsMax, this.entriesMax * wordsPerEntryMax + firstWords)) this.forget();
    this.#makeRoom(length);
    const entry = this.#length;
    this.#words[entry + targetAt] = this.#targets.push(target) - 1;
    this.#describe(entry, target, interval);
    this.#doubles[(entry + sampleRateAt) / 2] = sampleRate;
    this.#words.set(line.words.subarray(0, line.count), entry + lineAt);
    this.#length += length;
    put(this.#cells, line.hash, entry);
  }

  /** Numbers of senders mean something else from now on. */
  forget(): void {
    this.#cells = new Int32Array(firstEntries * cellsPerEntry);
    this.#setWords(new Int32Array(firstWords));
    this.#length = 0;
    this.#targets = [];
    this.#outdated = -1;
  }

  #describe(entry: number, target: LineTarget, interval: number): void {
    const isTallied = interval === always && (target?.kind === 'counter' || target?.kind === 'gauge');
    this.#words[entry + intervalAt] = interval;
    this.#words[entry + seriesAt] = isTallied ? target.id : neverOpen;
    this.#words[entry + tallyAt] = isTallied ? target.place * 2 + (target.kind === 'gauge' ? 1 : 0) : 0;
  }

  #setWords(words: Int32Array): void {
    this.#words = words;
    this.#doubles = new Float64Array(words.buffer);
  }

  #makeRoom(words: number): void {
    if (this.#length + words > this.#words.length) {
      const larger = new Int32Array(this.#words.length * 2);
      larger.set(this.#words);
      this.#setWords(larger);
    }
    if ((this.#targets.length + 1) * cellsPerEntry <= this.#cells.length) return;
    const cells = new Int32Array(this.#cells.length * 2);
    for (const cell of this.#cells) if (cell !== 0) put(cells, hashOf(this.#words, entryOf(cell) + lineAt), entryOf(cell));
    this.#cells = cells;
  }
}

const entryOf = (cell: number): number => ((cell & entryMask) - 1) * 2;

function put(cells: Int32Array, hash: number, entry: number): void {
  const mask = cells.length - 1;
  let at = hash & mask;
  while (cells[at] !== 0) at = (at + 1) & mask;
  cells[at] = (hash & ~entryMask) | (entry / 2 + 1);
}
