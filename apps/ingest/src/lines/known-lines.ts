import type { Series } from '../series/series.js';
import type { LineWords } from './line-words.js';

/** What lines of one spelling are counted under; null where a filter drops them. */
export type LineTarget = Series | null;

/** Cells for each entry, at least: with more of them free, fewer entries meet in one. */
const cellsPerEntry = 2;
/** Entries of one hash that are compared; what is behind them is not known. By chance there are hardly two. */
const sameHashMax = 32;
const firstEntries = 512;
const firstWords = 8 * 1_024;
/** On average; what is longer takes the room of others. */
const wordsPerEntryMax = 40;

/** Of the words of an entry, with the line's own behind them. */
const [targetAt, intervalAt, sampleRateAt, lineAt] = [0, 1, 2, 4];
/** Instead of an interval: it holds as long as its series is there. */
const always = -1;

/**
 * Finds the series of a line by its bytes, without making a text of them: all of them but its value, as a client spells them, which is the same again
 * and again. When it is full it forgets everything, since what is in use comes back at once and anything cleverer would cost on every line.
 *
 * Everything lies in arrays of numbers: to find one of many thousands is to wait for memory, so it is few places that are looked at, and the collector
 * has nothing to follow. 32 to 64 bytes an entry, and up to twice its words.
 */
export class KnownLines {
  /** Two numbers for each: the hash, and where the entry is among the words, plus 1; 0 where there is none. */
  #cells!: Int32Array;
  #words!: Int32Array;
  /** The same memory. */
  #doubles!: Float64Array;
  /** Words that are taken: an even number. */
  #length = 0;
  #targets: LineTarget[] = [];
  /** Where the entry is that was looked for last, if it does not hold any more; -1 if there is none. */
  #outdated = -1;
  /** There were too many of one hash where it was looked for: it is not remembered. */
  #isCrowded = false;
  /** Of the line that was found last. */
  sampleRate = 1;

  constructor(private readonly entriesMax: number) {
    this.forget();
  }

  /** Undefined when it is not known (any more). @param interval of the store: what overflows in one may have room in the next */
  find(line: LineWords, interval: number): LineTarget | undefined {
    const cells = this.#cells;
    const words = this.#words;
    const { hash, count, words: lineWords } = line;
    const mask = cells.length / 2 - 1;
    this.#outdated = -1;
    this.#isCrowded = false;
    let sameHash = 0;
    search: for (let cell = hash & mask; ; cell = (cell + 1) & mask) {
      const entry = (cells[cell * 2 + 1] as number) - 1;
      if (entry < 0) return undefined;
      if (cells[cell * 2] !== hash) continue;
      for (let at = 0; at < count; at++) {
        if (words[entry + lineAt + at] === lineWords[at]) continue;
        if (++sameHash < sameHashMax) continue search;
        this.#isCrowded = true;
        return undefined;
      }
      const target = this.#targets[words[entry + targetAt] as number] as LineTarget;
      const until = words[entry + intervalAt] as number;
      if ((until === always || until === interval) && (target === null || !target.isGone)) {
        this.sampleRate = this.#doubles[(entry + sampleRateAt) / 2] as number;
        return target;
      }
      this.#outdated = entry;
      return undefined;
    }
  }

  /** Of the line that was looked for last, and not found. @param interval it holds in this one alone; always if absent */
  remember(line: LineWords, target: LineTarget, sampleRate: number, interval = always): void {
    if (this.#isCrowded) return;
    const known = this.#outdated;
    if (known >= 0) {
      this.#targets[this.#words[known + targetAt] as number] = target;
      this.#words[known + intervalAt] = interval;
      return;
    }
    const length = lineAt + line.count + (line.count % 2);
    if (this.#targets.length >= this.entriesMax || this.#length + length > this.entriesMax * wordsPerEntryMax + firstWords) this.forget();
    this.#makeRoom(length);
    const entry = this.#length;
    this.#words[entry + targetAt] = this.#targets.push(target) - 1;
    this.#words[entry + intervalAt] = interval;
    this.#doubles[(entry + sampleRateAt) / 2] = sampleRate;
    this.#words.set(line.words.subarray(0, line.count), entry + lineAt);
    this.#length += length;
    put(this.#cells, line.hash, entry + 1);
  }

  /** Numbers of senders mean something else from now on. */
  forget(): void {
    this.#cells = new Int32Array(firstEntries * cellsPerEntry * 2);
    this.#setWords(new Int32Array(firstWords));
    this.#length = 0;
    this.#targets = [];
    this.#outdated = -1;
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
    if ((this.#targets.length + 1) * cellsPerEntry * 2 <= this.#cells.length) return;
    const cells = new Int32Array(this.#cells.length * 2);
    for (let cell = 0; cell < this.#cells.length; cell += 2) {
      const entry = this.#cells[cell + 1] as number;
      if (entry > 0) put(cells, this.#cells[cell] as number, entry);
    }
    this.#cells = cells;
  }
}

function put(cells: Int32Array, hash: number, entry: number): void {
  const mask = cells.length / 2 - 1;
  let cell = hash & mask;
  while (cells[cell * 2 + 1] !== 0) cell = (cell + 1) & mask;
  cells[cell * 2] = hash;
  cells[cell * 2 + 1] = entry;
}
