import { BinnacleError } from '@binnacle/contracts/errors';

/** What a filter has to know of a table. */
export interface FilterTable {
  readonly fields: readonly { readonly name: string; readonly type: string; readonly index?: boolean }[];
}

export type Comparison = '=' | '!=' | '<' | '<=' | '>' | '>=';

/** A test of one value. A number is a bigint where the field holds whole numbers, so that int64 stays exact. */
export type ValueTest =
  /** The text as a whole, byte for byte. */
  | { readonly kind: 'exact'; readonly text: string }
  /** Every word of the text is a word of the value. */
  | { readonly kind: 'words'; readonly text: string }
  /** Words as above, the last one as the beginning of a word; of the whole value where `exact`. */
  | { readonly kind: 'prefix'; readonly text: string; readonly exact: boolean }
  | { readonly kind: 'compare'; readonly comparison: Exclude<Comparison, '!='>; readonly number: number | bigint }
  /** Both ends are in. */
  | { readonly kind: 'range'; readonly from: number | bigint; readonly to: number | bigint }
  | { readonly kind: 'bool'; readonly value: boolean };

/** One of the tests holds for the field, or for one of its values where it is an array; `negated`: none does. */
export interface FieldFilter {
  readonly kind: 'field';
  /** A field of the table, or `id`. */
  readonly field: string;
  readonly negated: boolean;
  readonly tests: readonly ValueTest[];
}

export type Filter =
  | { readonly kind: 'all' }
  | { readonly kind: 'and' | 'or'; readonly left: Filter; readonly right: Filter }
  | FieldFilter;

/** As in Typesense. */
export const filterCharactersMax = 4_000;
export const filterOperationsMax = 100;

/** Reads a `filter_by`. An empty one matches everything. Throws BAD_REQUEST in Typesense's words. */
export function parseFilter(text: string, _table: FilterTable): Filter {
  if (text.trim() === '') return { kind: 'all' };
  throw new BinnacleError('BAD_REQUEST', 'Could not parse the filter query.');
}
