/** Symbols as they were read, in any order. Lists of one length, one entry each. */
export interface UnsortedSymbols {
  readonly starts: number[];
  /** Exclusive. A symbol ends in any case where the next begins. */
  readonly ends: number[];
  /** Where the name begins in `strings`. */
  readonly nameOffsets: number[];
  /** Of several with one start the lowest wins, and of several lowest the last. */
  readonly ranks: number[];
}

/**
 * Names by address range. Addresses are numbers: what a process of 64-bit Linux can have lies below 2^53. A node binary has 100,000
 * functions, so there is no object per symbol, and a name becomes a string only when it is asked for.
 */
export class SymbolTable {
  readonly #starts: Float64Array;
  readonly #ends: Float64Array;
  readonly #nameOffsets: Uint32Array;
  readonly #strings: Buffer;
  readonly #terminator: number;

  /** Names end at the byte `terminator`. */
  constructor(symbols: UnsortedSymbols, strings: Buffer, terminator: number) {
    const order = orderOf(symbols);
    this.#starts = Float64Array.from(order, (index) => symbols.starts[index] as number);
    this.#nameOffsets = Uint32Array.from(order, (index) => symbols.nameOffsets[index] as number);
    this.#ends = Float64Array.from(order, (index) => symbols.ends[index] as number);
    this.#strings = strings;
    this.#terminator = terminator;
  }

  get size(): number {
    return this.#starts.length;
  }

  /** The name of the symbol that covers the address. */
  at(address: number): string | undefined {
    let low = 0;
    let high = this.#starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#starts[middle] as number) <= address) low = middle + 1;
      else high = middle;
    }
    const index = low - 1;
    if (index < 0 || address >= (this.#ends[index] as number)) return undefined;
    const from = this.#nameOffsets[index] as number;
    const to = this.#strings.indexOf(this.#terminator, from);
    return this.#strings.toString('utf8', from, to < 0 ? this.#strings.length : to);
  }
}

/** Indices by start, one for each start. */
function orderOf({ starts, ranks }: UnsortedSymbols): number[] {
  const indices = Uint32Array.from(starts.keys()).sort(
    (a, b) => (starts[a] as number) - (starts[b] as number) || (ranks[a] as number) - (ranks[b] as number) || b - a,
  );
  const order: number[] = [];
  let previous = -1;
  for (const index of indices) {
    if (starts[index] !== previous) order.push(index);
    previous = starts[index] as number;
  }
  return order;
}
