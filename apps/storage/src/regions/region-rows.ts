import { BinnacleError } from '@binnacle/contracts/errors';
import { Injectable } from '@nestjs/common';
import type { Row } from '../engine/row.js';
import { RemoteStore } from '../remote/remote-store.js';
import { RowStore, type RowChange, type RowResult } from '../row-store.js';
import { Catalog } from '../tables/catalog.js';
import type { Table } from '../tables/schema.js';
import type { LoggedRow } from './log-object.js';
import { OwnRegions } from './own-regions.js';

export const durabilities = ['fsync', 'none', 'remote'] as const;

export interface WriteOptions {
  /** `none`, `fsync`: as of the commit log. `remote`: also in the remote store, so that it outlives this node. */
  readonly durability: (typeof durabilities)[number];
}

/** Writes of clients to rows of tables: as `RowStore.write`, but only to rows whose region this node has. */
@Injectable()
export class RegionRows {
  constructor(
    private readonly rows: RowStore,
    private readonly catalog: Catalog,
    private readonly own: OwnRegions,
    private readonly remote: RemoteStore,
  ) {}

  get(tableId: number, handle: Buffer): Promise<Row | undefined> {
    return this.rows.get(tableId, handle);
  }

  /**
   * A change of a row that is not (any more) here leads to NO_TARGET, of a region that is being loaded to NOT_READY. With durability `remote` a result is
   * NO_TARGET also where the remote store did not take the row in: it is written here then, and others may read it; nobody knows whether it stays
   * should this node be lost.
   */
  async write(table: Table, changes: readonly RowChange[], { durability }: WriteOptions): Promise<RowResult[]> {
    const guarded = changes.map((change) => this.#guarded(table, change));
    if (durability !== 'remote') return this.rows.write(table.id, guarded, { durability });
    const results = await this.rows.write(table.id, guarded, { durability: 'fsync' });
    return this.#logged(table, changes, results);
  }

  /** Throws BAD_REQUEST when there is no remote store for durability `remote`. */
  check({ durability }: WriteOptions): void {
    if (durability !== 'remote' || this.remote.isOn()) return;
    throw new BinnacleError('BAD_REQUEST', 'Parameter `durability` cannot be remote: this cluster has no remote store (remote.url).');
  }

  /** Asked in the turn of the row: what comes after a region was given up, in the order of the writes, is refused. */
  #guarded(table: Table, change: RowChange): RowChange {
    const { handle } = change;
    return { handle, decide: (current, version) => this.own.refusal(this.catalog.newest(table), handle) ?? ('put' in change ? change : change.decide(current, version)) };
  }

  async #logged(table: Table, changes: readonly RowChange[], results: RowResult[]): Promise<RowResult[]> {
    const byRegion = new Map<number, number[]>();
    for (const [index, result] of results.entries()) {
      if (result instanceof BinnacleError || result === 'kept') continue;
      const { id } = this.own.regionOf(table, (changes[index] as RowChange).handle);
      byRegion.set(id, [...(byRegion.get(id) ?? []), index]);
    }
    await Promise.all(
      [...byRegion].map(async ([regionId, indexes]) => {
        try {
          const log = await this.own.log(regionId);
          const { versionBase } = this.own.claimed(regionId) ?? noClaim();
          // Written under an earlier term: the region was away and has come back meanwhile.
          const isEarlier = indexes.some((index) => (results[index] as { version: number }).version <= (this.own.held(regionId)?.loaded?.loadedTo ?? 0));
          if (isEarlier) noClaim();
          const rows = indexes.map((index): LoggedRow => {
            const { version, document } = results[index] as { version: number; document?: Buffer };
            return { handle: (changes[index] as RowChange).handle, version: versionBase + version, document };
          });
          await log.append(rows);
        } catch (error) {
          const reason = error instanceof BinnacleError ? error : new BinnacleError('NO_TARGET', 'Durability remote: the remote store does not answer.', { cause: error, retryAfterS: 1 });
          for (const index of indexes) results[index] = reason;
        }
      }),
    );
    return results;
  }
}

function noClaim(): never {
  throw new BinnacleError('NO_TARGET', 'Another node has taken the rows over.', { retryAfterS: 1 });
}
