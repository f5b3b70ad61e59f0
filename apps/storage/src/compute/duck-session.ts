import type { DuckDBConnection, DuckDBDataChunk, DuckDBInstance, DuckDBResult, DuckDBValue } from '@duckdb/node-api';

export interface SessionLimits {
  /** Of DuckDB, in megabytes of 2^20 bytes. What does not fit is refused: nothing is written to the disk. */
  readonly memoryMegabytes: number;
  readonly threads: number;
}

/**
 * A DuckDB of its own in memory, for one query: what another query has cannot be reached from it, and closing it frees all it took. DuckDB is
 * loaded with the first one, so that a node without queries does not pay for it.
 */
export class DuckSession {
  #isInterrupted = false;
  #running: Promise<unknown> = Promise.resolve();

  private constructor(
    private readonly instance: DuckDBInstance,
    private readonly connection: DuckDBConnection,
  ) {}

  static async open({ memoryMegabytes, threads }: SessionLimits): Promise<DuckSession> {
    const duckdb = await import('@duckdb/node-api');
    const instance = await duckdb.DuckDBInstance.create(':memory:', {
      memory_limit: `${memoryMegabytes}MiB`,
      threads: String(threads),
      temp_directory: '',
      autoinstall_known_extensions: 'false',
      autoload_known_extensions: 'false',
      allow_community_extensions: 'false',
    });
    const session = new DuckSession(instance, await instance.connect());
    // Results are the same whatever the zone of the machine.
    await session.run("SET TimeZone = 'UTC'");
    return session;
  }

  /** From here on files of these paths can be read, and nothing else of the machine or of the network; no setting can be changed. */
  async lock(paths: readonly string[]): Promise<void> {
    const list = paths.map((path) => `'${path.replaceAll("'", "''")}'`).join(', ');
    await this.run(`SET allowed_paths = [${list}]; SET enable_external_access = false; SET lock_configuration = true`);
  }

  async run(sql: string): Promise<void> {
    await this.#watched(this.connection.run(sql));
  }

  /** All rows of an answer that is known to be small. */
  async rows(sql: string, values: readonly DuckDBValue[] = []): Promise<DuckDBValue[][]> {
    return (await this.#watched(this.connection.runAndReadAll(sql, [...values]))).getRows();
  }

  /** Rejects when it cannot be bound, or fails before there is a first row. */
  async stream(sql: string, values: readonly DuckDBValue[] = []): Promise<DuckDBResult> {
    return this.#watched(this.connection.stream(sql, [...values]));
  }

  /** The next rows of a streamed result; undefined at its end. */
  async next(result: DuckDBResult): Promise<DuckDBDataChunk | undefined> {
    const chunk = await this.#watched(result.fetchChunk());
    return chunk === null || chunk.rowCount === 0 ? undefined : chunk;
  }

  /** Rejects when it cannot be. */
  async bind(sql: string): Promise<void> {
    (await this.#watched(this.connection.prepare(sql))).destroySync();
  }

  /** What runs is broken off, and nothing runs any more. */
  interrupt(): void {
    this.#isInterrupted = true;
    this.connection.interrupt();
  }

  /** Waits for what was interrupted: DuckDB must not be closed under it. */
  async close(): Promise<void> {
    this.interrupt();
    await this.#running.catch(() => undefined);
    this.connection.closeSync();
    this.instance.closeSync();
  }

  async #watched<T>(running: Promise<T>): Promise<T> {
    this.#running = running;
    if (this.#isInterrupted) this.connection.interrupt();
    return running;
  }
}
