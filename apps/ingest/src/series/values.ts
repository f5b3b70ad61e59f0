/** Numbers that are added one after the other, in memory that doubles: eight bytes each, where an array of JavaScript may take more and move them. */
export class Values {
  #values = new Float64Array(4);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  add(value: number): void {
    if (this.#length === this.#values.length) {
      const larger = new Float64Array(this.#length * 2);
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[this.#length++] = value;
  }

  /** A view of what is there, until the next change. */
  current(): Float64Array {
    return this.#values.subarray(0, this.#length);
  }

  /** Memory stays for the next interval, unless that was far less than there is room for. */
  clear(): void {
    if (this.#values.length > 64 && this.#length * 4 < this.#values.length) this.#values = new Float64Array(this.#values.length / 2);
    this.#length = 0;
  }
}
