import type { DuckDBAppender, DuckDBConnection } from '@duckdb/node-api';
import { fieldExpressions, plainValues } from './document-sql.js';
import { deletedColumn, documentColumn, handleColumn, type SegmentColumn, versionColumn } from './manifest.js';
import { answer } from './segment-database.js';
import { plainColumn } from './segment-columns.js';
import { columnDefinitions } from './segment-file.js';

export interface StagedRow {
  readonly handle: string;
  readonly version: number;
  /** Undefined: a delete mark. */
  readonly document: Buffer | undefined;
}

/** Documents of which the fields are taken out together: DuckDB needs some eight times that for it. */
const batchBytes = 16 * 2 ** 20;
/** What is in an appender is not in DuckDB's account. */
const appendedBytes = 2 ** 20;
/** DuckDB takes 2,048 documents at a time: those of this size are one batch. */
export const smallDocumentBytesMax = batchBytes / 2_048;

/** Rows in DuckDB, in the order in which they were added, of which a segment is written. */
export class RowStaging {
  #batchBytes = 0;
  #appendedBytes = 0;

  private constructor(
    private readonly connection: DuckDBConnection,
    private readonly appender: DuckDBAppender,
    private readonly columns: readonly SegmentColumn[],
    private readonly isSmall: boolean,
  ) {}

  /** In place of what was staged before. `isSmall`: no document is larger than `smallDocumentBytesMax`, which saves keeping them twice. */
  static async begin(connection: DuckDBConnection, columns: readonly SegmentColumn[], isSmall: boolean): Promise<RowStaging> {
    await connection.run(`CREATE OR REPLACE TABLE raw (${handleColumn} VARCHAR, ${versionColumn} BIGINT, ${documentColumn} VARCHAR)`);
    const staging = new RowStaging(connection, await connection.createAppender('raw'), columns, isSmall);
    if (!isSmall) await staging.#createStaged();
    return staging;
  }

  /** True: `flush` is to be awaited. It is not awaited here, because for small rows that alone would cost as much as the row. */
  add({ handle, version, document }: StagedRow): boolean {
    this.appender.appendVarchar(handle);
    this.appender.appendBigInt(BigInt(version));
    if (document === undefined) this.appender.appendNull();
    else this.appender.appendVarchar(document.toString());
    this.appender.endRow();
    this.#appendedBytes += document?.length ?? 0;
    return this.#appendedBytes >= appendedBytes;
  }

  async flush(): Promise<void> {
    this.appender.flushSync();
    this.#batchBytes += this.#appendedBytes;
    this.#appendedBytes = 0;
    if (!this.isSmall && this.#batchBytes >= batchBytes) await this.#takeFields();
  }

  /** Calls `write` with a query that gives all rows, with their fields. */
  async end(write: (query: string) => Promise<void>): Promise<void> {
    this.appender.closeSync();
    if (this.isSmall) {
      try {
        return await write(this.#rowsWithFields('raw'));
      } catch {
        // Something in them takes too much memory: piece by piece it is found out what.
        await this.#createStaged();
      }
    }
    await this.#takeFields();
    await write('FROM staged');
  }

  async drop(): Promise<void> {
    await this.connection.run('DROP TABLE IF EXISTS raw; DROP TABLE IF EXISTS staged');
  }

  async #createStaged(): Promise<void> {
    await this.connection.run(`CREATE OR REPLACE TABLE staged (${columnDefinitions(this.columns)})`);
  }

  #rowsWithFields(from: string): string {
    const fields = fieldExpressions(this.columns).map((expression) => `, ${expression}`).join('');
    return `SELECT ${handleColumn}, ${versionColumn}, ${documentColumn} IS NULL AS ${deletedColumn}${fields}, ${documentColumn}
      FROM (SELECT *, ${plainValues(this.columns)} AS ${plainColumn} FROM ${from})`;
  }

  async #takeFields(): Promise<void> {
    const [[first, last] = []] = await answer(this.connection, 'SELECT min(rowid), max(rowid) FROM raw');
    if (typeof first === 'bigint') await this.#takeRows(Number(first), Number(last));
    await this.connection.run('TRUNCATE raw');
    this.#batchBytes = 0;
  }

  /** A document whose fields take too much memory, millions of numbers in a list for example, gets none: it must not keep all others back for ever. */
  async #takeRows(first: number, last: number): Promise<void> {
    const rows = `(FROM raw WHERE rowid BETWEEN ${first} AND ${last})`;
    try {
      await this.connection.run(`INSERT INTO staged ${this.#rowsWithFields(rows)}`);
    } catch {
      if (first < last) {
        const middle = Math.floor((first + last) / 2);
        await this.#takeRows(first, middle);
        await this.#takeRows(middle + 1, last);
        return;
      }
      await this.connection.run(`INSERT INTO staged BY NAME SELECT ${handleColumn}, ${versionColumn}, ${documentColumn} IS NULL AS ${deletedColumn}, ${documentColumn} FROM ${rows}`);
    }
  }
}
