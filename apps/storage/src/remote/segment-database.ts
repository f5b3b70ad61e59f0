import { DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';

export interface DatabaseLimits {
  /** Of DuckDB, in megabytes of 2^20 bytes. What does not fit goes to `temporaryFolder`, as far as DuckDB can do without it. */
  readonly memoryMegabytes: number;
  readonly temporaryMegabytes: number;
  readonly temporaryFolder: string;
  readonly threads: number;
}

/**
 * Runs something on a DuckDB of its own, in memory, that reads and writes local files and nothing else: JSON and Parquet are built in, and it loads and
 * fetches no extensions. All it holds is gone afterwards.
 */
export async function withDatabase<T>({ memoryMegabytes, temporaryMegabytes, temporaryFolder, threads }: DatabaseLimits, run: (connection: DuckDBConnection) => Promise<T>): Promise<T> {
  const instance = await DuckDBInstance.create(':memory:', {
    memory_limit: `${memoryMegabytes}MiB`,
    max_temp_directory_size: `${temporaryMegabytes}MiB`,
    temp_directory: temporaryFolder,
    threads: String(threads),
    autoinstall_known_extensions: 'false',
    autoload_known_extensions: 'false',
    allow_community_extensions: 'false',
  });
  try {
    const connection = await instance.connect();
    try {
      return await run(connection);
    } finally {
      connection.closeSync();
    }
  } finally {
    instance.closeSync();
  }
}

/** The rows of a query as arrays; for small answers. */
export async function answer(connection: DuckDBConnection, sql: string): Promise<unknown[][]> {
  return (await connection.runAndReadAll(sql)).getRows() as unknown[][];
}
