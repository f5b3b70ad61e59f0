import { BinnacleError } from '@binnacle/contracts/errors';
import { Injectable } from '@nestjs/common';
import { parseFilter, type FilterTable } from './filter.js';

/** What the index has to know of a table. */
export interface SearchedTable extends FilterTable {
  readonly id: number;
  readonly name: string;
}

/** The search parameters as Typesense names them: from the query of a GET, or one of the `searches` of a multi_search. */
export type SearchRequest = Readonly<Record<string, unknown>>;

export interface SearchAnswer {
  /** JSON text: what Typesense answers to a search. Documents in it are as the row store has them, byte for byte unless fields are left out. */
  readonly body: Buffer;
  readonly found: number;
}

/** The search index of this node, which is derived from the commit log and can be deleted at any time. */
@Injectable()
export class SearchIndex {
  /** Sees every write that was acknowledged before the call. Throws BAD_REQUEST in Typesense's words, NOT_READY when the index lags. */
  async search(_table: SearchedTable, _request: SearchRequest): Promise<SearchAnswer> {
    throw notReady();
  }

  /** Ids of documents that match, ascending by their UTF-8 bytes, after `after`; at most `limit`. Errors as of `search`. */
  async matching(table: SearchedTable, filterBy: string, _after: string | undefined, _limit: number): Promise<string[]> {
    parseFilter(filterBy, table);
    throw notReady();
  }

  /** The table is new, or has other fields than before: its part of the index is made again if it has to be. */
  tableChanged(_table: SearchedTable): void {}

  /** The table is gone, with its part of the index. */
  tableDropped(_tableId: number): void {}

  /** The commit log is needed from the version after this one. */
  position(): number {
    return 0;
  }
}

function notReady(): BinnacleError {
  return new BinnacleError('NOT_READY', 'Not Ready or Lagging');
}
