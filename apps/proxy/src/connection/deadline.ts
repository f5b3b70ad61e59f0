interface Ends {
  fail(error: Error): void;
}

/** One deadline for everything that a login waits for, on both its sides. */
export class Deadline {
  readonly #atMs: number;
  readonly #timer: NodeJS.Timeout;
  readonly #watched = new Set<Ends>();
  #error: Error | undefined;

  /** @param late what those that wait then are ended with */
  constructor(timeoutMs: number, late: () => Error) {
    this.#atMs = performance.now() + timeoutMs;
    this.#timer = setTimeout(() => {
      this.#error = late();
      for (const watched of this.#watched) watched.fail(this.#error);
    }, timeoutMs);
  }

  get leftMs(): number {
    return Math.max(1, this.#atMs - performance.now());
  }

  /** What was said when it passed. */
  get error(): Error | undefined {
    return this.#error;
  }

  watch(ends: Ends): void {
    this.#watched.add(ends);
    if (this.#error !== undefined) ends.fail(this.#error);
  }

  unwatch(ends: Ends): void {
    this.#watched.delete(ends);
  }

  over(): void {
    clearTimeout(this.#timer);
  }
}
