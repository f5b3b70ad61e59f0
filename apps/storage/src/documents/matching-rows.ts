import { Injectable } from '@nestjs/common';
import type { Row } from '../engine/row.js';
import { RegionRows, type WriteOptions } from '../regions/region-rows.js';
import { RowStore, type RowChange } from '../row-store.js';
import { SearchIndex } from '../search/search-index.js';
import type { Table } from '../tables/schema.js';
import { BinnacleError } from '@binnacle/contracts/errors';
import type { DirtyValues } from '../tables/document-check.js';
import { DocumentWriter } from './document-writer.js';

/** Ids asked of the index at once, up to 5 MB. Each time it first has to take in what was written meanwhile, so they are not few. */
const pageIdsMax = 10_000;
/** Rows written together. */
const writtenMax = 500;
/** Rows read together: as many as should fit into this, going by the size of those before. */
const readBytesMax = 1024 * 1024;
const readRowsMax = 128;

/** Reads and changes the rows that a filter selects, a page at a time. */
@Injectable()
export class MatchingRows {
  constructor(
    private readonly rows: RowStore,
    private readonly index: SearchIndex,
    private readonly writer: DocumentWriter,
    private readonly regions: RegionRows,
  ) {}

  /** Rows in the order of their ids. Without a filter it is every row of the moment. */
  async *read(table: Table, filterBy: string | undefined): AsyncGenerator<Row> {
    if (filterBy === undefined) return yield* this.rows.scan(table.id);
    let together = 1;
    for await (const ids of this.#pages(table, filterBy)) {
      for (let start = 0; start < ids.length; ) {
        const asked = ids.slice(start, start + together);
        start += asked.length;
        const rows = (await this.rows.getMany(table.id, asked.map((id) => Buffer.from(id)))).filter((row) => row !== undefined);
        yield* rows;
        const bytes = rows.reduce((sum, { document }) => sum + document.length, 1);
        together = Math.max(1, Math.min(readRowsMax, 2 * together, Math.floor((readBytesMax * rows.length) / bytes)));
      }
    }
  }

  /** How many documents were deleted. */
  async delete(table: Table, filterBy: string | undefined, options: WriteOptions): Promise<number> {
    let deleted = 0;
    for await (const ids of inParts(filterBy === undefined ? this.#allIds(table) : this.#pages(table, filterBy))) {
      const changes = ids.map((id): RowChange => ({ handle: Buffer.from(id), decide: (current) => (current === undefined ? 'keep' : 'delete') }));
      const results = await this.regions.write(table, changes, options);
      for (const result of results) {
        // Another node's by now, which is asked too.
        if (result instanceof BinnacleError && result.code === 'NO_TARGET') continue;
        if (result instanceof BinnacleError) throw result;
        if (result !== 'kept') deleted++;
      }
    }
    return deleted;
  }

  /** How many documents the patch was applied to. Throws what is wrong with the first one that it does not fit. */
  async patch(table: Table, filterBy: string, patch: Buffer, how: { dirtyValues: DirtyValues } & WriteOptions): Promise<number> {
    let patched = 0;
    for await (const ids of inParts(this.#pages(table, filterBy))) {
      const writes = [];
      for (const id of ids) writes.push(await this.writer.prepare(table, patch, { action: 'update', dirtyValues: how.dirtyValues, id }));
      for (const result of await this.writer.write(table, writes, how)) {
        if (!(result instanceof BinnacleError)) patched++;
        // Deleted since it was found, or another node's by now.
        else if (result.code !== 'NOT_FOUND' && result.code !== 'NO_TARGET') throw result;
      }
    }
    return patched;
  }

  async *#pages(table: Table, filterBy: string): AsyncGenerator<readonly string[]> {
    let after: string | undefined;
    for (;;) {
      const ids = await this.index.matching(table, filterBy, after, pageIdsMax);
      if (ids.length > 0) yield ids;
      if (ids.length < pageIdsMax) return;
      after = ids.at(-1);
    }
  }

  async *#allIds(table: Table): AsyncGenerator<readonly string[]> {
    let ids: string[] = [];
    for await (const { handle } of this.rows.scan(table.id)) {
      if (ids.push(handle.toString()) < pageIdsMax) continue;
      yield ids;
      ids = [];
    }
    if (ids.length > 0) yield ids;
  }
}

async function* inParts(pages: AsyncIterable<readonly string[]>): AsyncGenerator<readonly string[]> {
  for await (const ids of pages) for (let start = 0; start < ids.length; start += writtenMax) yield ids.slice(start, start + writtenMax);
}
