import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { BinnacleError } from '@binnacle/contracts/errors';
import type { Logger } from 'pino';
import type { ResultCache } from '../search/result-cache.js';
import type { Table } from '../tables/schema.js';
import type { ParseAnswer } from './query-messages.js';
import { QueryError } from './query-process.js';
import type { QueryProcesses } from './query-processes.js';
import type { SqlRequest } from './sql-request.js';
import type { ReadyQuery, TableQueries } from './table-query.js';
import type { NamedTable } from './table-snapshot.js';

/** Where an answer goes. Waits while whoever reads it is slower. */
export interface SqlSink {
  write(bytes: Buffer): Promise<void>;
}

export interface SqlLimits {
  readonly rowsMax: number;
  readonly timeoutMs: number;
  readonly viewTimeoutMs: number;
  readonly memoryMegabytes: number;
  readonly threads: number;
}

export interface SqlParts {
  readonly processes: QueryProcesses;
  readonly queries: TableQueries;
  readonly catalog: { all(): readonly Table[]; lookUp(name: string): Promise<Table> };
  readonly cache: Pick<ResultCache, 'kept' | 'keep'>;
  readonly log: Pick<Logger, 'error' | 'warn'>;
  readonly limits: SqlLimits;
  /** What the file cache has counted; differences of it are what a query fetched. */
  readonly fetchedBytes: () => number;
  /** For results that are files. */
  readonly folder: string;
  /** Folders that no message may name. */
  readonly hidden: readonly string[];
}

/** Larger results are not kept. */
const keptBytesMax = 4 * 2 ** 20;
/** Of DuckDB's own, which a view of such a name would not take the place of. */
const reservedNames = /^(duckdb_|pg_|sqlite_|pragma_|information_schema$|inner_parts$)/i;

/** Runs SQL of users over the tables of a keyspace. */
export class Sql {
  constructor(private readonly parts: SqlParts) {}

  /**
   * Writes the answer. Rejects with BAD_REQUEST (what is wrong with the query, or which limit it reached), NOT_READY, OVERLOADED, REQUEST_TIMEOUT;
   * of what was written by then nobody may make a whole answer.
   */
  async answer(request: SqlRequest, sink: SqlSink, gone: AbortSignal): Promise<void> {
    const { timeoutMs } = this.parts.limits;
    const deadline = AbortSignal.timeout(timeoutMs);
    const signal = AbortSignal.any([gone, deadline]);
    try {
      await this.parts.processes.use(signal, async (process) => {
        const startedMs = performance.now();
        const fetchedBefore = this.parts.fetchedBytes();
        const file = join(this.parts.folder, `${randomUUID()}.parquet`);
        const parsed = await process.parse(request.sql);
        const tables = await this.#tables(parsed.tables, request.keyspace);
        const query = { tables, stale: request.stale, viewTimeoutMs: this.parts.limits.viewTimeoutMs, signal, isInner: false, planned: [parsed.select], outFile: file };
        const reopen = (): Promise<void> => process.open(this.parts.limits.memoryMegabytes, this.parts.limits.threads);
        await this.parts.queries.withTables(process, query, reopen, async (ready) => {
          const stats = (): object => statsOf(startedMs, this.parts.fetchedBytes() - fetchedBefore, ready.segmentBytes);
          await this.#run({ ...request, file }, parsed, ready, sink, stats);
        });
      });
    } catch (error) {
      if (deadline.aborted && !gone.aborted) throw new BinnacleError('REQUEST_TIMEOUT', `The query took longer than ${timeoutMs} ms (storage.sql-timeout-ms).`, { cause: error });
      throw this.#shown(error);
    }
  }

  async #run(request: SqlRequest & { readonly file: string }, parsed: ParseAnswer, ready: ReadyQuery, sink: SqlSink, stats: () => object): Promise<void> {
    const isCached = request.useCache && request.cacheTtlS > 0 && parsed.kind === 'select' && isSteady(parsed.select);
    const key = JSON.stringify(['sql', request.format, request.keyspace, parsed.select, ready.versions]);
    const kept = isCached ? this.parts.cache.kept(key) : undefined;
    if (kept !== undefined) return sink.write(kept.body);
    const written = isCached ? new KeptCopy(sink) : sink;
    await this.#write(request, parsed, ready, written, stats);
    if (written instanceof KeptCopy && written.body !== undefined) this.parts.cache.keep(key, request.cacheTtlS, { body: written.body });
  }

  async #write({ format, file }: SqlRequest & { readonly file: string }, { kind, select, canonical }: ParseAnswer, ready: ReadyQuery, sink: SqlSink, stats: () => object): Promise<void> {
    if (format === 'parquet' && (kind !== 'select' || canonical === '')) throw new BinnacleError('BAD_REQUEST', 'This cannot be had as Parquet.');
    const sql = format === 'parquet' ? canonical : kind === 'select' ? select : `${kind} ${select}`;
    const { columns, data } = await ready.run({ sql, values: [], format, rowsMax: this.parts.limits.rowsMax, file });
    if (format === 'json') await sink.write(Buffer.from(`{"columns":${JSON.stringify(columns)},"rows":[`));
    let step = await data.next();
    for (; step.done !== true; step = await data.next()) await sink.write(kind === 'select' ? step.value : Buffer.from(this.#withoutPaths(step.value.toString())));
    if (format === 'json') await sink.write(Buffer.from(`],"row_count":${step.value.rows},"stats":${JSON.stringify(stats())}}`));
  }

  /** The tables a query names, each under the name it uses. A name that fits exactly wins over one that fits but for upper and lower case. */
  async #tables(names: readonly string[], keyspace: number): Promise<NamedTable[]> {
    const found: NamedTable[] = [];
    for (const name of names) {
      const table = reservedNames.test(name) ? undefined : await this.#table(name, keyspace);
      if (table === undefined) throw new BinnacleError('BAD_REQUEST', `Table ${JSON.stringify(name)} does not exist in keyspace ${keyspace}.`);
      const twin = found.find((other) => other.name.toLowerCase() === name.toLowerCase());
      if (twin !== undefined && twin.table.id !== table.id) throw new BinnacleError('BAD_REQUEST', `SQL does not tell ${JSON.stringify(twin.name)} from ${JSON.stringify(name)}: ask about one of them at a time.`);
      if (twin === undefined) found.push({ name, table });
    }
    return found;
  }

  async #table(name: string, keyspace: number): Promise<Table | undefined> {
    const { catalog } = this.parts;
    const exact = await catalog.lookUp(name).catch(() => undefined);
    if (exact?.keyspace === keyspace) return exact;
    const folded = name.toLowerCase();
    const tables = catalog.all().filter((table) => table.keyspace === keyspace && table.name.toLowerCase() === folded);
    if (tables.length > 1) throw new BinnacleError('BAD_REQUEST', `Several tables are called ${JSON.stringify(name)} but for upper and lower case: write one as it is, in double quotes.`);
    return tables[0];
  }

  /** What a client may see of a failure. */
  #shown(error: unknown): unknown {
    if (!(error instanceof QueryError)) return error;
    if (error.failure === 'sql' || error.failure === 'memory' || error.failure === 'rows') return new BinnacleError('BAD_REQUEST', this.#withoutPaths(error.message), { cause: error });
    if (error.failure === 'file') {
      this.parts.log.error({ err: error }, 'a segment cannot be read');
      return new BinnacleError('STORAGE_FAILED', 'A file of the table is damaged, also in the bucket: the log of this node says which.', { cause: error });
    }
    return error;
  }

  #withoutPaths(text: string): string {
    return this.parts.hidden.reduce((shown, folder) => {
      const [before = '', ...rest] = shown.split(folder);
      return [before, ...rest.map((after) => after.replace(/^[^\s'",\])]*/, ''))].join('a segment');
    }, text);
  }
}

/** Passes bytes on and keeps them, as long as they are few. */
class KeptCopy implements SqlSink {
  #parts: Buffer[] | undefined = [];
  #bytes = 0;

  constructor(private readonly sink: SqlSink) {}

  get body(): Buffer | undefined {
    return this.#parts && Buffer.concat(this.#parts);
  }

  async write(bytes: Buffer): Promise<void> {
    this.#bytes += bytes.length;
    if (this.#bytes > keptBytesMax) this.#parts = undefined;
    // The bytes are a part of a larger buffer that is used again.
    this.#parts?.push(Buffer.from(bytes));
    await this.sink.write(bytes);
  }
}

/** Whether the same rows give the same answer whenever it is asked. */
function isSteady(sql: string): boolean {
  return !/\b(now|today|random|uuid|uuidv4|uuidv7|gen_random_uuid|get_current_time\w*|current_\w+|transaction_timestamp|age|ago)\b/i.test(sql);
}

function statsOf(startedMs: number, fetchedBytes: number, segmentBytes: number): object {
  return { took_ms: Math.round(performance.now() - startedMs), bytes_fetched: fetchedBytes, bytes_read_from_cache: Math.max(0, segmentBytes - fetchedBytes) };
}
