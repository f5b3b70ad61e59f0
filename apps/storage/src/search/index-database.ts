import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { documentColumns } from './document-columns.js';
import { createOrders, createTables, dropTables, hasWords, indexFormat, type TableLayout } from './table-layout.js';

/** A change of one row, as the log or a scan of the rows has it. */
export interface IndexedChange {
  readonly version: number;
  readonly handle: Uint8Array;
  /** JSON text; undefined: the row is deleted. */
  readonly document: Uint8Array | undefined;
}

/** What the index holds of a table. */
export interface TableState {
  readonly layout: TableLayout;
  /** False while its rows are being read in. */
  readonly isReady: boolean;
  /** Of the newest change. */
  readonly lastVersion: number;
  readonly rowCount: number;
}

interface OpenTable extends TableState {
  isReady: boolean;
  lastVersion: number;
  rowCount: number;
  readonly statements: Statements;
}

/** On the tables of one layout. */
export interface Statements {
  readonly versionOf: StatementSync;
  readonly deleteRow: StatementSync;
  readonly insertRow: StatementSync;
  readonly deleteWords: StatementSync | undefined;
  readonly insertWords: StatementSync | undefined;
}

export const databaseName = 'search.sqlite';
const schema = `
  CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS tables (id INTEGER PRIMARY KEY, layout TEXT NOT NULL, ready INTEGER NOT NULL,
    last_version INTEGER NOT NULL, row_count INTEGER NOT NULL) STRICT;`;
/** For the sake of memory no more: what does not fit is read from the operating system's cache of the file, which costs a copy of each page. */
const cacheKibibytes = 16_384;
/** Of the write-ahead file, once it has been taken over into the other one. */
const walBytesKept = 64 * 2 ** 20;
/** Threads lock each other out for moments only: when one opens the file. */
export const busyTimeoutMs = 5_000;

/**
 * The file of the index, as the one thread that writes to it has it. It is not synced: after a kill nothing is missing, since the
 * operating system has it; after a power cut or a restart of the machine nothing in it is believed.
 */
export class IndexDatabase {
  readonly #database: DatabaseSync;
  readonly #tables = new Map<number, OpenTable>();
  readonly #saveTable: StatementSync;
  readonly #saveState: StatementSync;
  readonly #changed = new Set<OpenTable>();
  #position = 0;

  /**
   * Opens the index of the folder, or begins a new one at `freshPosition` when there is none that can be used; always a new one if
   * `discard`. A position after `newestPosition` cannot be of this log.
   */
  static open(folder: string, { freshPosition, newestPosition, discard }: { freshPosition: number; newestPosition: number; discard: boolean }): IndexDatabase {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const existing = discard ? undefined : IndexDatabase.#usable(folder, newestPosition);
    if (existing !== undefined) return existing;
    for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(join(folder, `${databaseName}${suffix}`), { force: true });
    const fresh = new IndexDatabase(join(folder, databaseName));
    fresh.#transaction(() => fresh.#setPosition(freshPosition));
    return fresh;
  }

  /** The index that is there; undefined when it cannot be used. */
  static #usable(folder: string, newestPosition: number): IndexDatabase | undefined {
    try {
      const found = new IndexDatabase(join(folder, databaseName));
      if (found.position() <= newestPosition) return found;
      found.#database.close();
    } catch {
      // It is made again from the rows, whatever is wrong with it.
    }
    return undefined;
  }

  /** Throws on a file that is damaged or of another format. */
  private constructor(path: string) {
    this.#database = new DatabaseSync(path, { timeout: busyTimeoutMs });
    this.#database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA cache_size = -${cacheKibibytes}; PRAGMA journal_size_limit = ${walBytesKept}`);
    this.#database.exec(schema);
    this.#saveState = this.#database.prepare('INSERT OR REPLACE INTO state VALUES (?, ?)');
    this.#saveTable = this.#database.prepare('INSERT OR REPLACE INTO tables VALUES (?, ?, ?, ?, ?)');
    this.#load();
  }

  #load(): void {
    const state = new Map(this.#database.prepare('SELECT name, value FROM state').all().map(({ name, value }) => [name, value]));
    if (state.size > 0 && state.get('format') !== indexFormat) throw new Error('the index is of another format');
    if (state.size > 0 && state.get('boot') !== bootId() && state.get('clean') !== 1) throw new Error('the machine stopped before the index was closed');
    this.#position = Number(state.get('position') ?? 0);
    for (const { layout: text, ready, last_version, row_count } of this.#database.prepare('SELECT * FROM tables').all()) {
      const layout = JSON.parse(text as string) as TableLayout;
      const statements = prepared(this.#database, layout);
      const table = { layout, isReady: ready === 1, lastVersion: Number(last_version), rowCount: Number(row_count), statements };
      this.#tables.set(layout.tableId, table);
      this.#changed.add(table);
    }
    this.#transaction(() => {
      this.#saveState.run('format', indexFormat);
      this.#saveState.run('boot', bootId());
      this.#saveState.run('clean', 0);
    });
  }

  /** Every change up to this version is in the tables that are ready. */
  position(): number {
    return this.#position;
  }

  tables(): readonly TableState[] {
    return [...this.#tables.values()];
  }

  /** The tables that are not as they were at the last call. */
  takeChanged(): readonly TableState[] {
    const changed = [...this.#changed];
    this.#changed.clear();
    return changed;
  }

  table(tableId: number): TableState | undefined {
    return this.#tables.get(tableId);
  }

  /** The table, empty and not ready, in place of what was there of it. */
  beginTable(layout: TableLayout): void {
    this.#transaction(() => {
      this.#remove(layout.tableId);
      this.#database.exec(dropTables(layout));
      this.#database.exec(createTables(layout));
      const statements = prepared(this.#database, layout);
      const table: OpenTable = { layout, isReady: false, lastVersion: 0, rowCount: 0, statements };
      this.#tables.set(layout.tableId, table);
      this.#save(table);
    });
  }

  /** It has all its rows, as of the position. */
  finishTable(tableId: number): void {
    const table = this.#tables.get(tableId);
    if (table === undefined) return;
    this.#transaction(() => {
      this.#database.exec(createOrders(table.layout));
      table.isReady = true;
      // A deletion that came before the rows were read left no version among them.
      table.lastVersion = Math.max(table.lastVersion, this.#position);
      this.#save(table);
    });
  }

  dropTable(tableId: number): void {
    this.#transaction(() => this.#remove(tableId));
  }

  /** In one transaction: changes of tables, ascending by version, and the position after them, if it moves. */
  apply(changes: ReadonlyMap<number, readonly IndexedChange[]>, position?: number): void {
    this.#transaction(() => {
      for (const [tableId, ofTable] of changes) {
        const table = this.#tables.get(tableId);
        if (table !== undefined) this.#applyTo(table, ofTable);
      }
      if (position !== undefined) this.#setPosition(position);
    });
  }

  #applyTo(table: OpenTable, changes: readonly IndexedChange[]): void {
    const { versionOf, deleteRow, insertRow, deleteWords, insertWords } = table.statements;
    const newest = new Map<string, IndexedChange>();
    for (const change of changes) newest.set(Buffer.from(change.handle.buffer, change.handle.byteOffset, change.handle.byteLength).toString('latin1'), change);
    // First all deletions, then all insertions with growing row ids: FTS5 writes its buffer out whenever a row id goes back.
    const insertions: IndexedChange[] = [];
    for (const change of newest.values()) {
      table.lastVersion = Math.max(table.lastVersion, change.version);
      const known = versionOf.get(change.handle)?.['version'] as number | undefined;
      // A scan may have brought in more than the log up to here tells.
      if (known !== undefined && known >= change.version) continue;
      if (known !== undefined) {
        deleteRow.run(known);
        deleteWords?.run(known);
        table.rowCount--;
      }
      if (change.document !== undefined) insertions.push(change);
    }
    insertions.sort((one, other) => one.version - other.version);
    for (const { version, handle, document } of insertions) {
      const { values, words } = documentColumns(table.layout, asText(document as Uint8Array));
      insertRow.run(version, handle, ...values);
      insertWords?.run(version, ...words);
      table.rowCount++;
    }
    this.#save(table);
  }

  /** On disk and complete, so that the next start may believe it. */
  close(): void {
    this.#database.exec('PRAGMA synchronous = FULL');
    this.#database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    this.#saveState.run('clean', 1);
    this.#database.close();
  }

  #remove(tableId: number): void {
    const table = this.#tables.get(tableId);
    if (table === undefined) return;
    this.#tables.delete(tableId);
    this.#changed.delete(table);
    this.#database.exec(dropTables(table.layout));
    this.#database.prepare('DELETE FROM tables WHERE id = ?').run(tableId);
  }

  #save(table: OpenTable): void {
    const { layout, isReady, lastVersion, rowCount } = table;
    this.#changed.add(table);
    this.#saveTable.run(layout.tableId, JSON.stringify(layout), Number(isReady), lastVersion, rowCount);
  }

  #setPosition(position: number): void {
    this.#saveState.run('position', position);
    this.#position = position;
  }

  #transaction(work: () => void): void {
    this.#database.exec('BEGIN IMMEDIATE');
    // Whatever goes wrong in here ends the thread, and with it the transaction.
    work();
    this.#database.exec('COMMIT');
  }
}

export function prepared(database: DatabaseSync, layout: TableLayout): Statements {
  const { rowTable, wordTable, columns } = layout;
  const texts = columns.filter(({ words }) => words !== '');
  const marks = (count: number): string => ', ?'.repeat(count);
  return {
    versionOf: database.prepare(`SELECT version FROM ${rowTable} WHERE handle = ?`),
    deleteRow: database.prepare(`DELETE FROM ${rowTable} WHERE version = ?`),
    insertRow: database.prepare(`INSERT INTO ${rowTable} VALUES (?, ?${marks(columns.length)})`),
    deleteWords: hasWords(layout) ? database.prepare(`DELETE FROM ${wordTable} WHERE rowid = ?`) : undefined,
    insertWords: hasWords(layout)
      ? database.prepare(`INSERT INTO ${wordTable} (rowid, ${texts.map(({ words }) => words).join(', ')}) VALUES (?${marks(texts.length)})`)
      : undefined,
  };
}

function asText(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
}

/** Differs after every start of the machine; empty where the system does not tell. */
function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  } catch {
    return '';
  }
}
