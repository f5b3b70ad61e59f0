/** Runs work in the order it comes, so much of it at the same time. Who calls bounds how much waits. */
export class SomeAtATime {
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(private readonly atOnceMax: number) {}

  /** Rejects as the work does. */
  async run<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#running >= this.atOnceMax) await new Promise<void>((resolve) => void this.#waiting.push(resolve));
    else this.#running++;
    try {
      return await work();
    } finally {
      // Who is next takes over the place.
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }
}
