import { closeSync, mkdirSync, openSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { ClusterStateUnusable, type Candidate, type DocumentWrite, type DocumentWriteAnswer, type KeyedDocument, type Tenure, type VersionedDocument } from './cluster-state.js';
import { newLease, type LeaseState } from './lease-decision.js';
import { requestIdsPerDocumentMax, tenuresPerLeaseMax } from './limits.js';

const sqliteBusy = 5;
const probeBytes = 64 * 1024;

const schema = `
  PRAGMA locking_mode = EXCLUSIVE;
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  BEGIN EXCLUSIVE;
  CREATE TABLE IF NOT EXISTS leases (name TEXT PRIMARY KEY, term INTEGER NOT NULL, floor INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS tenures (lease TEXT, term INTEGER, owner TEXT NOT NULL, acquired_at_ms INTEGER NOT NULL,
    ended_at_ms INTEGER, end_reason TEXT, PRIMARY KEY (lease, term)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS documents (key TEXT PRIMARY KEY, version INTEGER NOT NULL, value TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS document_writes (revision INTEGER PRIMARY KEY, key TEXT NOT NULL, request_id TEXT NOT NULL, version INTEGER NOT NULL);
  CREATE INDEX IF NOT EXISTS document_writes_by_key ON document_writes (key, request_id);
  CREATE TABLE IF NOT EXISTS revision (id INTEGER PRIMARY KEY CHECK (id = 1), committed INTEGER NOT NULL);
  INSERT OR IGNORE INTO revision VALUES (1, 0);
  CREATE TABLE IF NOT EXISTS probe (id INTEGER PRIMARY KEY CHECK (id = 1), filler BLOB NOT NULL);
  COMMIT;
`;

/**
 * What the embedded cluster state keeps on disk: terms, tenures, documents, the revision. SQLite, because a half-written file, a full
 * disk and a second process are then its business: every change is synced before it returns (about 0.3 ms; changes of leases and
 * configuration are rare, so waiting for the disk beats answering before it is safe), and its file lock dies with its process.
 */
export class EmbeddedStore {
  readonly #file: string;
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, ReturnType<DatabaseSync['prepare']>>();

  /** Throws `ClusterStateUnusable` when another process has the folder, and when the file is damaged or cannot be written; it says which file. */
  constructor(dataDir: string) {
    const folder = resolve(dataDir);
    this.#file = join(folder, 'cluster-state.db');
    let database: DatabaseSync | undefined;
    let isNew = false;
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      isNew = makeFile(this.#file);
      database = new DatabaseSync(this.#file, { timeout: 0 });
      database.exec(schema);
    } catch (error) {
      database?.close();
      // Half of a first start must not look like a store that lost everything.
      if (isNew && sizeOf(this.#file) === 0) rmSync(this.#file, { force: true });
      if ((error as { errcode?: number }).errcode === sqliteBusy) {
        throw new ClusterStateUnusable(
          `another process uses the data folder ${folder}: a folder serves one process; set BINNACLE_DATA_DIR, or share state through Redis`,
        );
      }
      throw unusable(this.#file, error as Error);
    }
    this.#database = database;
  }

  /**
   * Every lease as it is after a start: free, because those who held it ended with the process before this one.
   * Throws `ClusterStateUnusable`; the store is closed then.
   */
  loadLeases(nowMs: number): LeaseState[] {
    try {
      this.#run(`UPDATE tenures SET ended_at_ms = max(acquired_at_ms, ?), end_reason = 'expired' WHERE ended_at_ms IS NULL`, nowMs);
      const rows = this.#all<{ name: string; term: number; floor: number }>('SELECT name, term, floor FROM leases');
      return rows.map(({ name, term, floor }) => ({ ...newLease(name), term, floor }));
    } catch (error) {
      this.close();
      throw unusable(this.#file, error as Error);
    }
  }

  /** Keeps a lease's terms; with its running tenure, if it has one, and the tenure that ended by this step. */
  saveLease(lease: LeaseState, ended: Tenure | undefined): void {
    this.#transaction(() => {
      this.#run('INSERT OR REPLACE INTO leases VALUES (?, ?, ?)', lease.name, lease.term, lease.floor);
      if (ended !== undefined) this.#saveTenure(lease.name, ended);
      if (lease.holding !== undefined) {
        this.#saveTenure(lease.name, { term: lease.term, owner: lease.holding.candidate, acquiredAtMs: lease.holding.acquiredAtMs });
      }
      this.#run(
        `DELETE FROM tenures WHERE lease = ?1 AND term <= (SELECT term FROM tenures WHERE lease = ?1 ORDER BY term DESC LIMIT 1 OFFSET ?2)`,
        lease.name,
        tenuresPerLeaseMax,
      );
    });
  }

  /** Newest first. A tenure that was not ended by a later step appears as running. */
  tenures(lease: string, limit: number): Tenure[] {
    interface Row {
      term: number;
      owner: string;
      acquired_at_ms: number;
      ended_at_ms: number | null;
      end_reason: NonNullable<Tenure['endReason']>;
    }
    const rows = this.#all<Row>('SELECT * FROM tenures WHERE lease = ? ORDER BY term DESC LIMIT ?', lease, limit);
    return rows.map((row) => ({
      term: row.term,
      owner: JSON.parse(row.owner) as Candidate,
      acquiredAtMs: row.acquired_at_ms,
      ...(row.ended_at_ms !== null && { endedAtMs: row.ended_at_ms, endReason: row.end_reason }),
    }));
  }

  revision(): number {
    return this.#all<{ committed: number }>('SELECT committed FROM revision')[0]?.committed ?? 0;
  }

  readDocument(key: string): VersionedDocument | undefined {
    const row = this.#all<{ version: number; value: string }>('SELECT version, value FROM documents WHERE key = ?', key)[0];
    return row && { version: row.version, value: row.value };
  }

  documents(): KeyedDocument[] {
    return this.#all<KeyedDocument>('SELECT key, version, value FROM documents ORDER BY key').map((row) => ({ ...row }));
  }

  /** The store as it is now, whole, in a file that must not exist. */
  copyTo(file: string): void {
    // SQLite fills an empty file as it would make one, and only ours has the right mode.
    closeSync(openSync(file, 'wx', 0o600));
    this.#run('VACUUM INTO ?', file);
  }

  writeDocument({ key, value, expectedVersion, requestId }: DocumentWrite): DocumentWriteAnswer & { readonly repeated?: boolean } {
    const stored = this.readDocument(key)?.version ?? 0;
    if (stored !== expectedVersion) {
      const query = 'SELECT version, revision FROM document_writes WHERE key = ? AND request_id = ?';
      const earlier = this.#all<{ version: number; revision: number }>(query, key, requestId)[0];
      return earlier ? { written: true, ...earlier, repeated: true } : { written: false, version: stored };
    }
    const [version, revision] = [stored + 1, this.revision() + 1];
    this.#transaction(() => {
      this.#run('INSERT OR REPLACE INTO documents VALUES (?, ?, ?)', key, version, value);
      this.#run('UPDATE revision SET committed = ?', revision);
      this.#run('INSERT INTO document_writes VALUES (?, ?, ?, ?)', revision, key, requestId, version);
      this.#run('DELETE FROM document_writes WHERE key = ? AND version <= ?', key, version - requestIdsPerDocumentMax);
    });
    return { written: true, version, revision };
  }

  /** Writes as much as an everyday change may take, so that a disk that refuses shows: a single page often still fits on a full one. */
  probe(): void {
    this.#run('INSERT OR REPLACE INTO probe VALUES (1, zeroblob(?))', probeBytes);
  }

  close(): void {
    this.#database.close();
  }

  #saveTenure(lease: string, tenure: Tenure): void {
    const { term, owner, acquiredAtMs, endedAtMs = null, endReason = null } = tenure;
    this.#run('INSERT OR REPLACE INTO tenures VALUES (?, ?, ?, ?, ?, ?)', lease, term, JSON.stringify(owner), acquiredAtMs, endedAtMs, endReason);
  }

  #transaction(work: () => void): void {
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      work();
      this.#database.exec('COMMIT');
    } catch (error) {
      // A full disk may have ended the transaction already.
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw error;
    }
  }

  #run(sql: string, ...values: SQLInputValue[]): void {
    this.#prepared(sql).run(...values);
  }

  #all<Row>(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#prepared(sql).all(...values) as Row[];
  }

  #prepared(sql: string): ReturnType<DatabaseSync['prepare']> {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

/** Makes the file when there is none, and says whether it did: it holds digests of keys, and what SQLite puts beside it gets its mode. */
function makeFile(file: string): boolean {
  const size = sizeOf(file);
  if (size === 0) {
    throw new ClusterStateUnusable(
      `${file} is empty, so the terms, settings and API keys it held are lost: restore it from a backup, or remove it to begin without them`,
    );
  }
  if (size === undefined) closeSync(openSync(file, 'a', 0o600));
  return size === undefined;
}

function sizeOf(file: string): number | undefined {
  return statSync(file, { throwIfNoEntry: false })?.size;
}

function unusable(file: string, cause: Error): ClusterStateUnusable {
  return cause instanceof ClusterStateUnusable ? cause : new ClusterStateUnusable(`cannot use ${file}: ${cause.message}`, { cause });
}
