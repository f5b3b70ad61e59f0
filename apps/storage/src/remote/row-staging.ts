import type { DuckDBAppender, DuckDBConnection } from '@duckdb/node-api';
import { fieldExpressions, plainValues } from './document-sql.js';
import { deletedColumn, documentColumn, handleColumn, type SegmentColumn, versionColumn } from './manifest.js';
import { plainColumn } from './segment-columns.js';
import { columnDefinitions } from './segment-file.js';

export interface StagedRow {
  readonly handle: Buffer;
  readonly version: number;
  /** Undefined: a delete mark. */
  readonly document: Buffer | undefined;
}

/** Documents of which the fields are taken out together: DuckDB needs some eight times that for it. */
const batchBytes = 16 * 2 ** 20;
/** What is in an appender is not in DuckDB's account. */
const appendedBytes = 2 ** 20;

/** Rows in DuckDB, in the table `staged`, with their fields taken out and in the order in which they were added. */
export class RowStaging {
  #batchBytes = 0;
  #appendedBytes = 0;

  private constructor(
    private readonly connection: DuckDBConnection,
    private readonly appender: DuckDBAppender,
    private readonly columns: readonly SegmentColumn[],
  ) {}

  /** In place of what was staged before. */
  static async begin(connection: DuckDBConnection, columns: readonly SegmentColumn[]): Promise<RowStaging> {
    await connection.run(`CREATE OR REPLACE TABLE raw (${handleColumn} VARCHAR, ${versionColumn} BIGINT, ${documentColumn} VARCHAR)`);
    await connection.run(`CREATE OR REPLACE TABLE staged (${columnDefinitions(columns)})`);
    return new RowStaging(connection, await connection.createAppender('raw'), columns);
  }

  async add({ handle, version, document }: StagedRow): Promise<void> {
    this.appender.appendVarchar(handle.toString());
    this.appender.appendBigInt(BigInt(version));
    if (document === undefined) this.appender.appendNull();
    else this.appender.appendVarchar(document.toString());
    this.appender.endRow();
    this.#appendedBytes += document?.length ?? 0;
    if (this.#appendedBytes < appendedBytes) return;
    this.appender.flushSync();
    this.#batchBytes += this.#appendedBytes;
    this.#appendedBytes = 0;
    if (this.#batchBytes >= batchBytes) await this.#takeFields();
  }

  async end(): Promise<void> {
    this.appender.closeSync();
    await this.#takeFields();
    await this.connection.run('DROP TABLE raw');
  }

  async #takeFields(): Promise<void> {
    const fields = fieldExpressions(this.columns).map((expression) => `, ${expression}`).join('');
    await this.connection.run(
      `INSERT INTO staged SELECT ${handleColumn}, ${versionColumn}, ${documentColumn} IS NULL AS ${deletedColumn}${fields}, ${documentColumn}
       FROM (SELECT *, ${plainValues(this.columns)} AS ${plainColumn} FROM raw)`,
    );
    await this.connection.run('TRUNCATE raw');
    this.#batchBytes = 0;
  }
}
