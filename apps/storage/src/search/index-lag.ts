/** Taken for its speed while nobody has seen it work: what a small machine does with small documents that are overwritten. */
const versionsPerMsAtFirst = 5;
/**
 * Share of the newest measurement. A slower one counts for more: overwriting takes two or three times as long as what is new, and whoever learns
 * of it late lets in too much. To take the speed for lower than it is costs nothing but a shorter queue.
 */
const newestShare = 0.3;
const slowerShare = 0.7;

/** How long the thread that writes the index would take for what it has not indexed, going by the speed it had. Times are monotonic. */
export class IndexLag {
  #versionsPerMs = versionsPerMsAtFirst;
  #announced = 0;
  #position = 0;
  /** Since when it has worked without a pause; undefined: it has nothing to do. */
  #busySinceMs: number | undefined;

  /** The thread may work up to this version. */
  announced(version: number, nowMs: number): void {
    this.#announced = Math.max(this.#announced, version);
    if (this.#position < this.#announced) this.#busySinceMs ??= nowMs;
  }

  progressed(position: number, nowMs: number): void {
    const done = position - this.#position;
    if (done === 0) return;
    // What it did not have from the log (it begins, or begins anew) says nothing.
    if (this.#busySinceMs !== undefined && this.#position > 0 && done > 0) {
      const difference = done / Math.max(1, nowMs - this.#busySinceMs) - this.#versionsPerMs;
      this.#versionsPerMs += (difference < 0 ? slowerShare : newestShare) * difference;
    }
    this.#position = position;
    this.#busySinceMs = position < this.#announced ? nowMs : undefined;
  }

  versionsPerMs(): number {
    return this.#versionsPerMs;
  }

  /** For everything up to `version`. */
  lagMs(version: number): number {
    return this.#position === 0 ? 0 : Math.max(0, version - this.#position) / this.#versionsPerMs;
  }

  /** The thread is gone: nobody is slowed down for one that does not work. */
  begunAnew(): void {
    this.#position = 0;
    this.#busySinceMs = undefined;
  }
}
