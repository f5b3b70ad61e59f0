import { asksForCounts, asksForInsertId, asksForWarnings } from './forgotten.js';

/** After this time nobody is expected to ask for warnings and row counts of a statement. */
const keptMs = 10_000;

/**
 * What statements have left for SHOW WARNINGS, ROW_COUNT and the like, and what of it a move or a reconnection has lost: that has to be refused when somebody asks, since a server would answer
 * of itself. Warnings stay until a statement uses a table or has warnings of its own; row counts end with every statement.
 */
export class Diagnostics {
  #warned = false;
  #rows = false;
  #leftAtMs = 0;
  #forgetsWarnings = false;
  #forgetsCounts = false;
  /** Until an insert has an id again. */
  forgetsInsertId = false;

  get forgets(): boolean {
    return this.#forgetsCounts || this.#forgetsWarnings || this.forgetsInsertId;
  }

  /** Nothing is left that asking other things would end. */
  get none(): boolean {
    return !this.#warned && !this.#rows;
  }

  asks(text: string): boolean {
    return (this.#forgetsCounts && asksForCounts(text)) || (this.#forgetsWarnings && asksForWarnings(text)) || (this.forgetsInsertId && asksForInsertId(text));
  }

  commandSent(): void {
    this.#forgetsCounts = false;
  }

  /** @param rows a row count that cannot be left elsewhere  @param clears the statement ends what warnings there were */
  result(warned: boolean, rows: boolean, clears: boolean): void {
    if (warned || clears) {
      this.#warned = warned;
      this.#forgetsWarnings = false;
    }
    this.#rows = rows;
    if (warned || rows) this.#leftAtMs = Date.now();
  }

  /** Too fresh to be lost. */
  keep(nowMs: number): boolean {
    return (this.#warned || this.#rows) && nowMs - this.#leftAtMs < keptMs;
  }

  /** The server that knew is gone, or was asked so much that it has forgotten. */
  lost(counts: boolean): void {
    this.#forgetsCounts = counts;
    this.#forgetsWarnings ||= this.#warned;
    this.#warned = false;
    this.#rows = false;
  }

  clear(): void {
    this.#forgetsCounts = false;
    this.#forgetsWarnings = false;
    this.forgetsInsertId = false;
    this.#warned = false;
    this.#rows = false;
  }
}
