import { Injectable } from '@nestjs/common';
import type { Row } from '../engine/row.js';
import { RegionRows, type WriteOptions } from '../regions/region-rows.js';
import { type Decision, RowStore, type RowChange } from '../row-store.js';
import { type Matches, SearchIndex } from '../search/search-index.js';
import type { Table } from '../tables/schema.js';
import { BinnacleError } from '@binnacle/contracts/errors';
import type { DirtyValues } from '../tables/document-check.js';
import { DocumentWriter, type PreparedWrite } from './document-writer.js';
import { largeBytesMin } from './large-documents.js';

/** Ids asked of the index at once, up to 5 MB. Each time it first has to take in what was written meanwhile, so they are not few. */
const pageIdsMax = 10_000;
/** Rows written together. Should all of them have changed since the index was asked, they take some 20 ms. */
const writtenMax = 200;
/** Rows read together: as many as should fit into this, going by the size of those before. */
const readBytesMax = 1024 * 1024;
const readRowsMax = 128;

/** Some of what a filter selects; without a filter there is nothing to be tested again. */
type Page = Pick<Matches, 'rows'> & Partial<Matches>;

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
    for await (const { rows: found } of this.#pages(table, filterBy)) {
      for (let start = 0; start < found.length; ) {
        const asked = found.slice(start, start + together);
        start += asked.length;
        const rows = (await this.rows.getMany(table.id, asked.map(({ id }) => Buffer.from(id)))).filter((row) => row !== undefined);
        yield* rows;
        const bytes = rows.reduce((sum, { document }) => sum + document.length, 1);
        together = Math.max(1, Math.min(readRowsMax, 2 * together, Math.floor((readBytesMax * rows.length) / bytes)));
      }
    }
  }

  /** How many documents were deleted. Rejects with NO_TARGET when some were not, or nobody knows whether for good. */
  async delete(table: Table, filterBy: string | undefined, options: WriteOptions): Promise<number> {
    const refusals = new Refusals(options);
    let deleted = 0;
    for await (const { rows, filter } of inParts(filterBy === undefined ? this.#everything(table) : this.#pages(table, filterBy))) {
      const changes = rows.map(({ id, version }): RowChange => {
        const decide = (current: Row | undefined): Decision => (current === undefined || !stillMatches(current, version, filter) ? 'keep' : 'delete');
        return { handle: Buffer.from(id), decide };
      });
      const results = await this.regions.write(table, changes, options);
      for (const result of results) {
        if (result instanceof BinnacleError) refusals.add(result);
        else if (result !== 'kept') deleted++;
      }
    }
    refusals.throwFirst();
    return deleted;
  }

  /** How many documents the patch was applied to. Rejects with what is wrong with the first one that it does not fit, and otherwise as `delete`. */
  async patch(table: Table, filterBy: string, patch: Buffer, how: { dirtyValues: DirtyValues } & WriteOptions): Promise<number> {
    const refusals = new Refusals(how);
    let patched = 0;
    for await (const { rows, filter } of inParts(this.#pages(table, filterBy))) {
      const writes: PreparedWrite[] = [];
      for (const { id, version } of rows) {
        const prepared = await this.writer.prepare(table, patch, { action: 'update', dirtyValues: how.dirtyValues, id });
        writes.push({ ...prepared, isMeant: (current) => stillMatches(current, version, filter) });
      }
      for (const result of await this.writer.write(table, writes, how)) {
        if (!(result instanceof BinnacleError)) patched++;
        // Deleted since it was found, or changed so that it does not match.
        else if (result.code !== 'NOT_FOUND') refusals.add(result);
      }
    }
    refusals.throwFirst();
    return patched;
  }

  async *#pages(table: Table, filterBy: string): AsyncGenerator<Matches> {
    let after: string | undefined;
    for (;;) {
      const page = await this.index.matching(table, filterBy, after, pageIdsMax);
      try {
        if (page.rows.length > 0) yield page;
      } finally {
        page.filter.close();
      }
      if (page.rows.length < pageIdsMax) return;
      after = page.rows.at(-1)?.id;
    }
  }

  async *#everything(table: Table): AsyncGenerator<Page> {
    let rows: { id: string; version: number }[] = [];
    for await (const { handle, version } of this.rows.scan(table.id)) {
      if (rows.push({ id: handle.toString(), version }) < pageIdsMax) continue;
      yield { rows };
      rows = [];
    }
    if (rows.length > 0) yield { rows };
  }
}

/** Rows that went to another node meanwhile: it may have been asked before it had them. The others are not left for that, and then it is told. */
class Refusals {
  #first: BinnacleError | undefined;

  constructor(private readonly options: WriteOptions) {}

  /** Throws what all further rows would meet, too: a remote store that is away, for one. */
  add(refusal: BinnacleError): void {
    if (refusal.code !== 'NO_TARGET' || this.options.durability === 'remote') throw refusal;
    this.#first ??= refusal;
  }

  throwFirst(): void {
    if (this.#first !== undefined) throw this.#first;
  }
}

/** The row may have changed since the index found this version of it. */
function stillMatches(current: Row, version: number, filter: Matches['filter'] | undefined): boolean {
  if (filter === undefined || current.version === version) return true;
  if (current.document.length < largeBytesMin) return filter.matches(current);
  throw new BinnacleError('CONFLICT', `The document with id ${current.handle.toString()}, which is large, has just been changed: try again.`);
}

async function* inParts(pages: AsyncIterable<Page>): AsyncGenerator<Page> {
  for await (const page of pages) {
    for (let start = 0; start < page.rows.length; start += writtenMax) yield { ...page, rows: page.rows.slice(start, start + writtenMax) };
  }
}
