import type { CommandResult } from '../command-result.js';
import { ResultJoiner, type Replayed } from './result-joiner.js';
import type { CapturedResult, TrafficSource } from './traffic-source.js';

/** Connections whose results have come before their first command, or behind their end; the oldest are forgotten. */
const strangersMax = 10_000;

/** @param isBeforeResults it came before the first result of its connection */
export type Compared<Context> = (then: CommandResult | undefined, replayed: Replayed<Context>, isBeforeResults: boolean) => void;

/** Reads the results of then in step with the replay, and joins those of every connection with what comes of its commands now. */
export class ResultStreams<Context> {
  readonly #joiners: Map<number, ResultJoiner<Context>>[] = [];
  /** Connections that run, by source. */
  readonly #running: Set<number>[] = [];
  readonly #strangers = new Set<ResultJoiner<Context>>();
  readonly #results: AsyncIterator<CapturedResult> | undefined;
  #head: CapturedResult | undefined;
  #isOver: boolean;
  #hasBegun = false;
  #isLost = false;

  constructor(
    source: TrafficSource,
    private readonly compared: Compared<Context>,
  ) {
    this.#results = source.hasResults ? source.results()[Symbol.asyncIterator]() : undefined;
    this.#isOver = !source.hasResults;
  }

  /** Takes in all results of responses that had ended by then. Undefined: that is done. */
  upTo(timeUs: number): Promise<void> | undefined {
    if (this.#isOver || (this.#hasBegun && this.#head !== undefined && this.#head.endTimeUs > timeUs)) return undefined;
    return this.#readUpTo(timeUs);
  }

  async #readUpTo(timeUs: number): Promise<void> {
    this.#hasBegun = true;
    for (;;) {
      const head = this.#head;
      if (head !== undefined) {
        if (head.endTimeUs > timeUs) return;
        this.#then(head);
      }
      const next = await this.#results!.next();
      this.#head = next.done === true ? undefined : next.value;
      if (next.done !== true) continue;
      this.#isOver = true;
      return;
    }
  }

  #then(result: CapturedResult): void {
    const { source, connectionId } = result;
    const joiner = this.#joinerOf(source, connectionId);
    joiner.addThen(result);
    this.#forgetIfDone(source, connectionId, joiner);
  }

  #joinerOf(source: number, connectionId: number): ResultJoiner<Context> {
    const joiners = (this.#joiners[source] ??= new Map());
    const known = joiners.get(connectionId);
    if (known !== undefined) return known;
    const joiner: ResultJoiner<Context> = new ResultJoiner((then, replayed) => this.compared(then, replayed, replayed.ordinal < joiner.firstThen));
    joiners.set(connectionId, joiner);
    if (this.#running[source]?.has(connectionId) !== true) this.#addStranger(joiner, joiners);
    return joiner;
  }

  #addStranger(joiner: ResultJoiner<Context>, joiners: Map<number, ResultJoiner<Context>>): void {
    this.#strangers.add(joiner);
    if (this.#strangers.size <= strangersMax) return;
    for (const [id, oldest] of joiners) {
      if (!this.#strangers.delete(oldest)) continue;
      joiners.delete(id);
      return;
    }
  }

  /** A connection has its first command. */
  begin(source: number, connectionId: number): void {
    if (this.#results === undefined) return;
    (this.#running[source] ??= new Set()).add(connectionId);
    this.#strangers.delete(this.#joinerOf(source, connectionId));
  }

  now(source: number, connectionId: number, replayed: Replayed<Context>): void {
    if (this.#results === undefined || this.#isLost) this.compared(undefined, replayed, false);
    else {
      const joiner = this.#joinerOf(source, connectionId);
      joiner.addNow(replayed);
      if (this.#isOver) joiner.end();
    }
  }

  skipped(source: number, connectionId: number, ordinal: number): void {
    if (this.#results !== undefined) this.#joinerOf(source, connectionId).skipped(ordinal);
  }

  /** No further command of this connection comes. */
  over(source: number, connectionId: number): void {
    this.#running[source]?.delete(connectionId);
    const joiner = this.#joiners[source]?.get(connectionId);
    if (joiner !== undefined) this.#forgetIfDone(source, connectionId, joiner);
  }

  #forgetIfDone(source: number, connectionId: number, joiner: ResultJoiner<Context>): void {
    if (!joiner.isWaitingForThen && this.#running[source]?.has(connectionId) !== true && !this.#strangers.has(joiner)) this.#joiners[source]!.delete(connectionId);
  }

  /** No result of then comes any more. */
  end(): void {
    this.#isOver = true;
    for (const joiners of this.#joiners) for (const joiner of joiners?.values() ?? []) joiner.end();
  }

  /** Records are missing, nobody knows whose: from here on no command can be told to be the one that a result is of. */
  lose(): void {
    this.end();
    this.#isLost = true;
  }

  async close(): Promise<void> {
    await this.#results?.return?.();
  }
}
