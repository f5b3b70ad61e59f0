import type { CommandResult } from '../command-result.js';

/** What came of a command now; `Context` is whatever its owner wants back with it. */
export interface Replayed<Context> {
  readonly ordinal: number;
  readonly now: CommandResult;
  readonly context: Context;
}

export type Joined<Context> = (then: CommandResult | undefined, replayed: Replayed<Context>) => void;

/**
 * Joins the results of one connection, then and now. Both come in the order of their ordinals, each with gaps: so what waits for its partner is what has ended in one run
 * and not yet in the other, and a gap is known as soon as a later one comes.
 */
export class ResultJoiner<Context> {
  #then: CommandResult[] = [];
  #now: Replayed<Context>[] = [];
  #thenOrdinal = 0;
  #nowOrdinal = 0;
  /** Of the first result of then. */
  firstThen = Infinity;

  constructor(private readonly joined: Joined<Context>) {}

  /** Something has ended now, and not yet then. */
  get isWaitingForThen(): boolean {
    return this.#now.length > 0;
  }

  addThen(result: CommandResult): void {
    const { ordinal } = result;
    if (this.firstThen === Infinity) this.firstThen = ordinal;
    this.#thenOrdinal = ordinal;
    this.#giveUpBefore(ordinal);
    const waiting = this.#now[0];
    if (waiting?.ordinal === ordinal) {
      this.#now.shift();
      this.joined(result, waiting);
    } else if (ordinal > this.#nowOrdinal) this.#then.push(result);
  }

  addNow(replayed: Replayed<Context>): void {
    this.skipped(replayed.ordinal);
    const then = this.#then[0];
    if (then?.ordinal === replayed.ordinal) {
      this.#then.shift();
      this.joined(then, replayed);
    } else if (this.#thenOrdinal >= replayed.ordinal) this.joined(undefined, replayed);
    else this.#now.push(replayed);
  }

  /** No result of now will come for this one and those before it. */
  skipped(ordinal: number): void {
    this.#nowOrdinal = ordinal;
    while (this.#then.length > 0 && this.#then[0]!.ordinal < ordinal) this.#then.shift();
  }

  /** No further result of then will come. */
  end(): void {
    this.#giveUpBefore(Infinity);
  }

  #giveUpBefore(ordinal: number): void {
    while (this.#now.length > 0 && this.#now[0]!.ordinal < ordinal) this.joined(undefined, this.#now.shift()!);
  }
}
