import { BinnacleError } from '@binnacle/contracts/errors';
import type { Segment } from '../remote/manifest.js';
import type { FreshRows } from './fresh-rows.js';
import type { QueryRequest } from './query-messages.js';
import { QueryError, type QueryProcess, type RunningResult } from './query-process.js';
import type { PinnedSegments, SegmentFiles } from './segment-files.js';
import { type NamedTable, TableSnapshot } from './table-snapshot.js';

export interface TableQueryParts {
  readonly fresh: FreshRows;
  readonly files: SegmentFiles;
}

/** One query over tables at one moment. */
export interface TableQuery {
  readonly tables: readonly NamedTable[];
  readonly stale: boolean;
  /** Within this the write nodes have to have answered. */
  readonly viewTimeoutMs: number;
  readonly signal: AbortSignal;
  /** The views have `_version` and `_document`. */
  readonly isInner: boolean;
  /** What is run: whole statements, bound against the views beforehand to see which columns they read. */
  readonly planned: readonly string[];
  /** A file that the query may write, if it is to. */
  readonly outFile?: string;
}

export type RunRequest = Omit<Extract<QueryRequest, { op: 'run' }>, 'op'>;

/** What a query may do while its snapshot and its files are held. */
export interface ReadyQuery {
  readonly versions: string;
  /** Of the ranges the query needs of segments. */
  readonly segmentBytes: number;
  run(request: RunRequest): Promise<RunningResult>;
}

/** How often a query is run anew because a local file was damaged. */
const repairsMax = 1;

/** Takes a snapshot, brings what the queries need of it here, and hands that to `use`, once more when a file turns out to be damaged before there was an answer. */
export class TableQueries {
  constructor(private readonly parts: TableQueryParts) {}

  /** `process` is open. Rejects with BAD_REQUEST (DuckDB's words), NOT_READY, OVERLOADED, or with `QueryError`. */
  async withTables<T>(process: QueryProcess, query: TableQuery, reopen: () => Promise<void>, use: (ready: ReadyQuery) => Promise<T>): Promise<T> {
    const snapshot = await this.#take(query);
    try {
      for (let repairs = 0; ; repairs++) {
        try {
          return await this.#read(process, query, snapshot, reopen, use);
        } catch (error) {
          if (!isDamage(error) || repairs === repairsMax) throw error;
          await reopen();
        }
      }
    } finally {
      snapshot.release();
    }
  }

  async #take({ tables, stale, viewTimeoutMs, signal }: TableQuery): Promise<TableSnapshot> {
    const deadline = AbortSignal.timeout(viewTimeoutMs);
    return TableSnapshot.take(tables, this.parts.fresh, { stale, signal: AbortSignal.any([signal, deadline]) }).catch((error: unknown) => {
      if (!deadline.aborted || signal.aborted) throw error;
      throw new BinnacleError('NOT_READY', `The newest writes could not be had within ${viewTimeoutMs} ms; with stale=true the answer is without them.`, { cause: error, retryAfterS: 1 });
    });
  }

  async #read<T>(
    process: QueryProcess,
    query: TableQuery,
    snapshot: TableSnapshot,
    reopen: () => Promise<void>,
    use: (ready: ReadyQuery) => Promise<T>,
  ): Promise<T> {
    const segments = snapshot.segments();
    const footers = await this.parts.files.pin(segments, () => [], query.signal);
    let pinned: PinnedSegments | undefined;
    try {
      await prepare(process, snapshot, footers, query);
      const { columns } = await process.plan(query.planned);
      pinned = await this.parts.files.pin(segments, neededColumns(columns, footers), query.signal);
      if (!samePaths(footers, pinned)) {
        await reopen();
        await prepare(process, snapshot, pinned, query);
      }
      return await use({ versions: snapshot.versions(), segmentBytes: pinned.bytes, run: (request) => process.run(request) });
    } catch (error) {
      if (isDamage(error)) for (const pins of [footers, pinned]) pins?.doubt();
      throw error;
    } finally {
      footers.release();
      pinned?.release();
    }
  }
}

function isDamage(error: unknown): boolean {
  return error instanceof QueryError && error.failure === 'file';
}

async function prepare(process: QueryProcess, snapshot: TableSnapshot, { paths }: PinnedSegments, { isInner, outFile }: TableQuery): Promise<void> {
  await process.prepare(snapshot.statements(paths, isInner), [...paths.values(), ...(outFile === undefined ? [] : [outFile])]);
}

/** By segment: the columns of its file in the plan. Of a file that is in no scan only the footer; without a plan everything. */
function neededColumns(
  columns: Readonly<Record<string, readonly string[]>> | undefined,
  { paths }: PinnedSegments,
): (segment: Segment) => readonly string[] | undefined {
  if (columns === undefined) return () => undefined;
  return ({ key }) => columns[paths.get(key) ?? ''] ?? [];
}

function samePaths(left: PinnedSegments, right: PinnedSegments): boolean {
  return [...left.paths].every(([key, path]) => right.paths.get(key) === path);
}
