/** Runs at most so many tasks at a time; the others wait their turn, in order. Who calls bounds how many wait. */
export class Turns {
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(tasksMax: number) {
    this.#free = tasksMax;
  }

  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await task();
    } finally {
      // The turn goes straight to the next one, so that nobody can slip in between.
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free += 1;
    }
  }
}
