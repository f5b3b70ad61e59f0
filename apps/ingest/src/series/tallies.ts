/**
 * What changes with every line, of all series side by side. Among everything else that is known of a series it would lie far from that of the next, and
 * to wait for memory is most of the time that a line takes.
 */
export class Tallies {
  /** By place: what a counter has come to since the last flush, or the value of a gauge. */
  values: Float64Array;
  /** By place: the id of the series from the first time that it gets something in an interval to the end of that, else 0. A gauge has to have been set. */
  open: Int32Array;
  readonly #free: number[] = [];
  #length = 0;

  constructor(places = 1) {
    this.values = new Float64Array(places);
    this.open = new Int32Array(places);
  }

  /** A place for a series; its value is 0. */
  take(): number {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#length === this.values.length) {
      this.values = larger(this.values, new Float64Array(this.#length * 2));
      this.open = larger(this.open, new Int32Array(this.#length * 2));
    }
    return this.#length++;
  }

  giveBack(place: number): void {
    this.values[place] = 0;
    this.#free.push(place);
  }

  endInterval(): void {
    this.open.fill(0);
  }
}

function larger<Numbers extends Float64Array | Int32Array>(from: Numbers, to: Numbers): Numbers {
  to.set(from);
  return to;
}
