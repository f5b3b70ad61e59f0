/** Connections of several receivers, which are limited together: a number for each of them, in memory that their threads share. */
export class ConnectionCount {
  constructor(
    private readonly counts = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)),
    /** Of this receiver. */
    private readonly number = 0,
  ) {}

  /** Returns how many all of them have then. */
  add(change: number): number {
    Atomics.add(this.counts, this.number, change);
    return this.total();
  }

  /** The receiver is gone, and its connections with it. */
  clear(): void {
    Atomics.store(this.counts, this.number, 0);
  }

  total(): number {
    let total = 0;
    for (let at = 0; at < this.counts.length; at++) total += Atomics.load(this.counts, at);
    return total;
  }
}
