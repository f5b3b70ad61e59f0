import type { TableLayout } from './table-layout.js';
import type { IndexedChange } from './index-database.js';
import type { SqlValue } from './filter-sql.js';

/* What the threads of the search index say to each other: the node's main thread, one that writes the index, some that read it. */

export interface IndexThreadOptions {
  readonly folder: string;
  readonly logFolder: string;
  /** Where a new index begins: every row as of this version comes from a scan, everything later from the log. */
  readonly freshPosition: number;
  readonly newestPosition: number;
  /** Whatever index there is must not be used. */
  readonly discard: boolean;
  /** The tables the node has. */
  readonly layouts: readonly TableLayout[];
}

export type ToIndexThread =
  /** The log may be read up to here. */
  | { readonly kind: 'durable'; readonly version: number }
  | { readonly kind: 'table'; readonly layout: TableLayout }
  | { readonly kind: 'drop'; readonly tableId: number }
  /** Rows of a scan that was asked for. `asOf`: they show at least every change up to this version. */
  | { readonly kind: 'rows'; readonly scan: number; readonly asOf: number; readonly rows: readonly IndexedChange[]; readonly isLast: boolean }
  | { readonly kind: 'close' };

export interface TableProgress {
  readonly tableId: number;
  /** Which layout it is. */
  readonly rowTable: string;
  readonly isReady: boolean;
  readonly lastVersion: number;
  readonly rowCount: number;
}

export type FromIndexThread =
  /** `position`: up to here everything is in the ready tables. `neededFrom`: the log is needed from the version after this one. */
  | { readonly kind: 'progress'; readonly position: number; readonly neededFrom: number; readonly tables: readonly TableProgress[] }
  /** All rows of the table are wanted, in `rows` messages with this number, each after the one before was taken. */
  | { readonly kind: 'scan'; readonly scan: number; readonly tableId: number }
  /** `goOn`: the next rows of the scan are wanted. */
  | { readonly kind: 'taken'; readonly scan: number; readonly goOn: boolean }
  /** The thread ends. `isSpoilt`: not with this index again. */
  | { readonly kind: 'failed'; readonly reason: string; readonly isSpoilt: boolean }
  | { readonly kind: 'closed' };

export interface Statement {
  readonly sql: string;
  readonly parameters: readonly SqlValue[];
}

/** Statements that all see the same moment of the index. */
export interface ToSearchThread {
  readonly id: number;
  readonly statements: readonly Statement[];
  readonly timeoutMs: number;
}

export type ResultRow = readonly (string | number | bigint | Uint8Array | null)[];

export type FromSearchThread =
  | { readonly id: number; readonly results: readonly (readonly ResultRow[])[] }
  /** `time`: it took too long; `table`: there is no such table (any more); `spoilt`: the file is damaged. */
  | { readonly id: number; readonly failure: 'time' | 'table' | 'spoilt' | 'other'; readonly reason: string };
