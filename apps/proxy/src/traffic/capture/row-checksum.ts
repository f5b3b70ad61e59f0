/** What `RowChecksum.end` gives. */
export interface RowsSeen {
  readonly rows: number;
  /** Of the columns' counts and all rows in their order; 16 hexadecimal digits. */
  readonly ordered: string;
  /** The same for rows in any order within their result set. Of one row at most there is one order: it is `ordered` then. */
  readonly unordered: string;
}

const c1 = 0x239b961b;
const c2 = 0xab0e9789 | 0;
const rowSeed = 0x5bd1e995;
const orderedSeed = 0x1b873593;
const columnsSeed = 0x38b34ae5;

/**
 * Of the rows of one response, as the server sends them: a hash of 64 bits for each row, which are chained for `ordered` and added up modulo 2^64 for `unordered`. Two lanes of 32 bits in the manner
 * of MurmurHash3, since JavaScript has fast arithmetic for no more. Every step is a bijection of the 64 bits: two rows that differ in one word never have the same hash. Not meant to
 * withstand who wants two equal ones.
 *
 *     checksum.begin(columns);                      // for every result set
 *     checksum.row(chunk, start, end);              // the payload of a row, in as many pieces as it comes in
 *     checksum.rowEnd();
 *     const { rows, ordered, unordered } = checksum.end();   // and from the beginning again
 *
 * Nothing is allocated before `end`.
 */
export class RowChecksum {
  rows = 0;
  #sets = 0;
  // Of the row under way.
  #h1 = rowSeed;
  #h2 = 0;
  #bytes = 0;
  /** Bytes of a block that is not whole yet. */
  #low = 0;
  #high = 0;
  // Of all rows so far.
  #ordered1 = 0;
  #ordered2 = 0;
  #sum1 = 0;
  #sum2 = 0;

  begin(columns: number): void {
    this.#sets++;
    this.#h1 = columnsSeed;
    this.#h2 = this.#sets;
    this.#mix(columns, this.#sets);
    this.#finish(4);
  }

  row(bytes: Buffer, start: number, end: number): void {
    let at = start;
    let pending = this.#bytes & 7;
    this.#bytes += end - start;
    if (pending !== 0) {
      while (pending < 8 && at < end) this.#keep(bytes[at++]!, pending++);
      if (pending < 8) return;
      this.#mix(this.#low, this.#high);
      this.#low = 0;
      this.#high = 0;
    }
    let h1 = this.#h1;
    let h2 = this.#h2;
    const view = viewOf(bytes);
    for (; at + 8 <= end; at += 8) {
      let k1 = view.getInt32(at, true);
      let k2 = view.getInt32(at + 4, true);
      k1 = Math.imul(k1, c1);
      k1 = Math.imul((k1 << 15) | (k1 >>> 17), c2);
      h1 ^= k1;
      h1 = (((h1 << 19) | (h1 >>> 13)) + h2) | 0;
      k2 = Math.imul(k2, c2);
      k2 = Math.imul((k2 << 16) | (k2 >>> 16), c1);
      h2 ^= k2;
      h2 = (((h2 << 17) | (h2 >>> 15)) + h1) | 0;
    }
    this.#h1 = h1;
    this.#h2 = h2;
    for (let index = 0; at < end; at++, index++) this.#keep(bytes[at]!, index);
  }

  #keep(byte: number, index: number): void {
    if (index < 4) this.#low |= byte << (8 * index);
    else this.#high |= byte << (8 * (index - 4));
  }

  #mix(first: number, second: number): void {
    let k1 = Math.imul(first, c1);
    k1 = Math.imul((k1 << 15) | (k1 >>> 17), c2);
    let h1 = this.#h1 ^ k1;
    h1 = (((h1 << 19) | (h1 >>> 13)) + this.#h2) | 0;
    let k2 = Math.imul(second, c2);
    k2 = Math.imul((k2 << 16) | (k2 >>> 16), c1);
    const h2 = this.#h2 ^ k2;
    this.#h1 = h1;
    this.#h2 = (((h2 << 17) | (h2 >>> 15)) + h1) | 0;
  }

  rowEnd(): void {
    if ((this.#bytes & 7) !== 0) this.#mix(this.#low, this.#high);
    this.rows++;
    this.#finish(this.#bytes);
  }

  /** The hash that is whole now is chained and added, and the next row begins. */
  #finish(length: number): void {
    let h1 = this.#h1 ^ length;
    let h2 = this.#h2 ^ length;
    h1 = (h1 + h2) | 0;
    h2 = (h2 + h1) | 0;
    h1 = avalanche(h1);
    h2 = avalanche(h2);
    h1 = (h1 + h2) | 0;
    h2 = (h2 + h1) | 0;
    const low = (this.#sum1 >>> 0) + (h1 >>> 0);
    this.#sum1 = low | 0;
    this.#sum2 = (this.#sum2 + h2 + (low > 0xff_ff_ff_ff ? 1 : 0)) | 0;
    this.#h1 = this.#ordered1 ^ orderedSeed;
    this.#h2 = this.#ordered2;
    this.#mix(h1, h2);
    this.#ordered1 = this.#h1;
    this.#ordered2 = this.#h2;
    this.#h1 = rowSeed;
    this.#h2 = this.#sets;
    this.#bytes = 0;
    this.#low = 0;
    this.#high = 0;
  }

  /** Both checksums as a file of results has them, at most 33 bytes, without a string in between. Returns the offset behind them; `reset` has to follow. */
  write(target: Buffer, at: number): number {
    at = writeDigits(target, at, this.#ordered1, this.#ordered2);
    target[at] = 0x20;
    if (this.rows <= 1 && this.#sets > 0) {
      target[at + 1] = 0x3d;
      return at + 2;
    }
    return writeDigits(target, at + 1, this.#sum1, this.#sum2);
  }

  end(): RowsSeen {
    const ordered = hex(this.#ordered1, this.#ordered2);
    const seen = { rows: this.rows, ordered, unordered: this.rows <= 1 ? ordered : hex(this.#sum1, this.#sum2) };
    this.reset();
    return seen;
  }

  /** What was seen is forgotten. */
  reset(): void {
    this.rows = 0;
    this.#sets = 0;
    this.#h1 = rowSeed;
    this.#h2 = 0;
    this.#bytes = 0;
    this.#low = 0;
    this.#high = 0;
    this.#ordered1 = 0;
    this.#ordered2 = 0;
    this.#sum1 = 0;
    this.#sum2 = 0;
  }
}

let lastBytes = Buffer.alloc(0) as Buffer;
let lastView = new DataView(new ArrayBuffer(0)) as DataView;

/** Four bytes at a time are read by it alone. One for the rows of all sessions: those of one piece come one after the other. */
function viewOf(bytes: Buffer): DataView {
  if (bytes === lastBytes) return lastView;
  lastBytes = bytes;
  return (lastView = new DataView(bytes.buffer, bytes.byteOffset, bytes.length));
}

function avalanche(value: number): number {
  let h = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

const digits = Buffer.from('0123456789abcdef');

function writeDigits(target: Buffer, at: number, low: number, high: number): number {
  if (low === 0 && high === 0) {
    target[at] = 0x2d;
    return at + 1;
  }
  for (let shift = 28; shift >= 0; shift -= 4) {
    target[at] = digits[(high >>> shift) & 15]!;
    target[8 + at++] = digits[(low >>> shift) & 15]!;
  }
  return at + 8;
}

const hex = (low: number, high: number): string => (high >>> 0).toString(16).padStart(8, '0') + (low >>> 0).toString(16).padStart(8, '0');
