import { createHash } from 'node:crypto';
import type { Field, FieldType, Table } from '../tables/schema.js';

/** How a field of a table lies in the index. */
export interface Column {
  readonly field: string;
  readonly type: FieldType;
  /** Its column; an array is there as JSON text. Null where a document has no value. */
  readonly sql: string;
  /** Its column of the word table; empty when the field holds no text. */
  readonly words: string;
  readonly isArray: boolean;
  /** Has an index of its own. */
  readonly isOrdered: boolean;
}

/** The part of the index that is one table's: `rowTable` (version, handle, columns) and `wordTable` (rowid: the version). */
export interface TableLayout {
  readonly tableId: number;
  readonly rowTable: string;
  readonly wordTable: string;
  /** Of fields that are indexed. They are named by number: nothing of a client's gets into SQL. */
  readonly columns: readonly Column[];
}

/** Changes with everything that makes the files of an index unreadable for this code. */
export const indexFormat = 1;

export function layoutOf(table: Pick<Table, 'id' | 'fields'>): TableLayout {
  const indexed = table.fields.filter((field) => field.index && !field.type.startsWith('object'));
  const columns = indexed.map((field, number) => column(field, number));
  // The name tells layouts apart: a search for the table as it was finds nothing, instead of something else.
  const digest = createHash('sha256').update(JSON.stringify(columns)).digest('hex').slice(0, 12);
  return { tableId: table.id, rowTable: `rows_${table.id}_${digest}`, wordTable: `words_${table.id}_${digest}`, columns };
}

function column({ name, type, facet, sort }: Field, number: number): Column {
  const isArray = type.endsWith('[]');
  const isText = type.startsWith('string');
  return {
    field: name,
    type,
    sql: `c${number}`,
    words: isText ? `w${number}` : '',
    isArray,
    // An index on long texts would be as large as they are; what is counted or sorted by is short.
    isOrdered: !isArray && (isText ? facet || sort : !type.startsWith('bool')),
  };
}

/** The column of a field that has passed the parser's checks. */
export function columnOf(layout: TableLayout, field: string): Column {
  const found = layout.columns.find((candidate) => candidate.field === field);
  if (found === undefined) throw new Error(`the field ${field} is not in the index`);
  return found;
}

/** Statements that make the empty tables of a layout. */
export function createTables({ rowTable, wordTable, columns }: TableLayout): string {
  const typed = columns.map(({ sql, type, isArray }) => `, ${sql} ${isArray ? 'TEXT' : sqlType(type)}`).join('');
  const words = columns.filter(({ words: name }) => name !== '');
  const rows = `CREATE TABLE ${rowTable} (version INTEGER PRIMARY KEY, handle BLOB NOT NULL UNIQUE${typed}) STRICT;`;
  if (words.length === 0) return rows;
  // Contentless: the texts are in the row table already. The prefixes of one and two characters match the most rows by far. What was overwritten
  // is cleared away when half of a part is that: at FTS5's tenth, clearing away takes more time than all the rest of overwriting.
  return `${rows} CREATE VIRTUAL TABLE ${wordTable} USING fts5(${words.map(({ words: name }) => name).join(', ')},
    content='', contentless_delete=1, prefix='1 2', tokenize='unicode61 remove_diacritics 2');
    INSERT INTO ${wordTable} (${wordTable}, rank) VALUES ('deletemerge', 50);`;
}

/** Made last: filling a table that has them takes longer. */
export function createOrders({ rowTable, columns }: TableLayout): string {
  const ordered = columns.filter(({ isOrdered }) => isOrdered);
  return ordered.map(({ sql }) => `CREATE INDEX ${rowTable}_${sql} ON ${rowTable} (${sql});`).join(' ');
}

export function dropTables({ rowTable, wordTable }: Pick<TableLayout, 'rowTable' | 'wordTable'>): string {
  return `DROP TABLE IF EXISTS ${rowTable}; DROP TABLE IF EXISTS ${wordTable};`;
}

export function hasWords(layout: TableLayout): boolean {
  return layout.columns.some(({ words }) => words !== '');
}

function sqlType(type: FieldType): 'TEXT' | 'INTEGER' | 'REAL' {
  if (type === 'string') return 'TEXT';
  return type === 'float' ? 'REAL' : 'INTEGER';
}
