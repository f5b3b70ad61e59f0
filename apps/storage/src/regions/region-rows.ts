import { Injectable } from '@nestjs/common';
import type { Row } from '../engine/row.js';
import { RowStore, type RowChange, type RowResult } from '../row-store.js';
import { Catalog } from '../tables/catalog.js';
import type { Table } from '../tables/schema.js';
import { OwnRegions } from './own-regions.js';

export const durabilities = ['fsync', 'none'] as const;

export interface WriteOptions {
  /** `none`, `fsync`: as of the commit log. */
  readonly durability: (typeof durabilities)[number];
}

/** Writes of clients to rows of tables: as `RowStore.write`, but only to rows whose region this node has. */
@Injectable()
export class RegionRows {
  constructor(
    private readonly rows: RowStore,
    private readonly catalog: Catalog,
    private readonly own: OwnRegions,
  ) {}

  get(tableId: number, handle: Buffer): Promise<Row | undefined> {
    return this.rows.get(tableId, handle);
  }

  /** A change of a row that is not (any more) here leads to NO_TARGET, of a region that is being loaded to NOT_READY. */
  write(table: Table, changes: readonly RowChange[], options: WriteOptions): Promise<RowResult[]> {
    return this.rows.write(table.id, changes.map((change) => this.#guarded(table, change)), options);
  }

  /** Asked in the turn of the row: what comes after a region was given up, in the order of the writes, is refused. */
  #guarded(table: Table, change: RowChange): RowChange {
    const { handle } = change;
    return { handle, decide: (current, version) => this.own.refusal(this.catalog.newest(table), handle) ?? ('put' in change ? change : change.decide(current, version)) };
  }
}
