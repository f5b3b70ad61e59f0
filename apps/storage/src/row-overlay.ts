import type { Row } from './engine/row.js';

/** A row as some write in flight left it, or found it. */
export interface KnownRow {
  readonly row: Row | undefined;
  readonly version: number;
  /** What it was before, as long as this write may still be taken back. */
  previous: KnownRow | undefined;
}

/** A row that writes in flight are about. */
export interface RowInFlight {
  /** Its handle, as the overlay has it. */
  readonly key: string;
  /** Undefined: nobody knows yet, and the engine's answer holds. */
  latest: KnownRow | undefined;
  uses: number;
}

/**
 * The rows of the writes that are not applied yet, so that the next decision about such a row sees them. An entry is there from
 * before its row is read until the last write about it is applied: whatever the engine answers in that time is made right by the entry.
 */
export class RowOverlay {
  readonly #tables = new Map<number, Map<string, RowInFlight>>();

  /** Each use needs a `release`. */
  use(tableId: number, handle: Buffer): RowInFlight {
    let table = this.#tables.get(tableId);
    if (table === undefined) this.#tables.set(tableId, (table = new Map()));
    const key = handle.toString('latin1');
    let row = table.get(key);
    if (row === undefined) table.set(key, (row = { key, latest: undefined, uses: 0 }));
    row.uses += 1;
    return row;
  }

  release(tableId: number, row: RowInFlight): void {
    row.uses -= 1;
    if (row.uses > 0) return;
    const table = this.#tables.get(tableId);
    table?.delete(row.key);
    if (table?.size === 0) this.#tables.delete(tableId);
  }

  /** The writes newer than `version` will not happen. */
  takeBack(version: number): void {
    for (const table of this.#tables.values()) {
      for (const row of table.values()) {
        while (row.latest !== undefined && row.latest.version > version) row.latest = row.latest.previous;
      }
    }
  }

  /** The rows of a table are gone, also for those who have read them and not decided. */
  forget(tableId: number): void {
    for (const row of this.#tables.get(tableId)?.values() ?? []) row.latest = { row: undefined, version: 0, previous: undefined };
  }

  rows(): number {
    let count = 0;
    for (const table of this.#tables.values()) count += table.size;
    return count;
  }
}
