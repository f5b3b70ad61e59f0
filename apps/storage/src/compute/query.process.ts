import { createReadStream } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { BinnacleError } from '@binnacle/contracts/errors';
import { DuckSession } from './duck-session.js';
import { plannedColumns } from './planned-columns.js';
import { QueryGuard, withoutExplain } from './query-guard.js';
import {
  dataFrame,
  type FailureAnswer,
  frame,
  framesOf,
  jsonFrameOf,
  type ParseAnswer,
  type PlanAnswer,
  type QueryRequest,
  type QueryValue,
  type RunAnswer,
} from './query-messages.js';
import { arrowWriter, csvWriter, jsonWriter, literalOf, type ResultWriter } from './result-formats.js';

/*
 * A process that runs queries of users, one after the other. Not a part of the node's own: what DuckDB allocates for texts and lists it does not
 * count, some of its loops cannot be interrupted, and a parser can be brought to its knees. Here the operating system sets the limit, and the node
 * ends the process.
 */

class TooManyRows extends Error {
  constructor(rowsMax: number) {
    super(`The result has more than ${rowsMax} rows: ask for fewer with LIMIT, or raise storage.sql-rows-max.`);
  }
}

const none = { failure: 'internal', message: 'there is no session' } satisfies FailureAnswer;
let session: DuckSession | undefined;

// The node is gone, and nobody waits for an answer any more.
process.once('disconnect', () => process.exit());
// When memory is short this goes first, not the node with the data.
await writeFile('/proc/self/oom_score_adj', '1000').catch(() => undefined);

for await (const { bytes } of framesOf(process.stdin)) {
  const request = JSON.parse(bytes.toString()) as QueryRequest;
  const answer = await answerTo(request).catch(failureOf);
  await send(jsonFrameOf(answer));
}
await session?.close();

async function answerTo(request: QueryRequest): Promise<unknown> {
  if (request.op === 'open') {
    await session?.close();
    session = await DuckSession.open(request);
    return {};
  }
  if (session === undefined) return none;
  switch (request.op) {
    case 'parse':
      return parse(session, request.sql);
    case 'prepare':
      for (const statement of request.statements) await session.run(statement);
      await session.lock(request.paths);
      return {};
    case 'plan':
      return { columns: await plannedColumns(session, request.sql) } satisfies PlanAnswer;
    case 'run':
      return request.format === 'parquet' ? runToFile(session, request) : run(session, request);
  }
}

async function parse(opened: DuckSession, sql: string): Promise<ParseAnswer> {
  const { kind, select } = withoutExplain(sql);
  const [[serialized] = []] = await opened.rows(`SELECT json_serialize_sql(${literalOf(select)}::VARCHAR)`);
  const tables = QueryGuard.tablesOf(String(serialized));
  const [[canonical = ''] = []] = await opened.rows(`SELECT json_deserialize_sql(${literalOf(String(serialized))}::VARCHAR)`).catch(() => []);
  return { kind, select, canonical: String(canonical), tables };
}

async function run(opened: DuckSession, { sql, values, format, rowsMax }: Extract<QueryRequest, { op: 'run' }>): Promise<RunAnswer> {
  const result = await opened.stream(sql, values.map(valueOf));
  const writer = await writerOf(format, result);
  const columns = result.columnNames().map((name, index) => ({ name, type: result.columnType(index).toString() }));
  // First of all the columns, which stand before the rows.
  await send(frame(dataFrame, Buffer.from(JSON.stringify(columns))));
  await sendData(writer.begin());
  let rows = 0;
  for (;;) {
    const chunk = await opened.next(result);
    if (chunk === undefined) break;
    rows += chunk.rowCount;
    if (rowsMax !== null && rows > rowsMax) throw new TooManyRows(rowsMax);
    await sendData(writer.rows(chunk));
  }
  await sendData(writer.end());
  return { columns, rows };
}

async function runToFile(opened: DuckSession, { sql, file, rowsMax }: Extract<QueryRequest, { op: 'run' }>): Promise<RunAnswer> {
  const limit = rowsMax ?? 0;
  try {
    const [[rows] = []] = await opened.rows(`COPY (SELECT * FROM (${sql}) LIMIT ${limit + 1}) TO ${literalOf(file)} (FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)`);
    if (Number(rows) > limit) throw new TooManyRows(limit);
    await send(frame(dataFrame, Buffer.from('[]')));
    for await (const chunk of createReadStream(file)) await sendData(chunk as Buffer);
    return { columns: [], rows: Number(rows) };
  } finally {
    await rm(file, { force: true });
  }
}

async function writerOf(format: string, result: Parameters<typeof jsonWriter>[0]): Promise<ResultWriter> {
  if (format === 'arrow') return arrowWriter(result);
  return format === 'csv' ? csvWriter(result) : jsonWriter(result);
}

function failureOf(error: unknown): FailureAnswer {
  if (error instanceof BinnacleError) return { failure: 'sql', message: error.message };
  if (error instanceof TooManyRows) return { failure: 'rows', message: error.message };
  const message = error instanceof Error ? error.message : String(error);
  if (/^INTERRUPT/i.test(message)) return { failure: 'interrupted', message };
  if (/^(Out of Memory Error|std::bad_alloc)|bad allocation|failed to allocate/i.test(message)) {
    return { failure: 'memory', message: 'The query needs more memory than it may have: let it look at less, or raise storage.sql-memory-megabytes-max.' };
  }
  if (/^(IO Error|TProtocolException|Invalid Input Error: .*(parquet|thrift|zstd)|Serialization Error)|parquet|thrift|zstd|snappy|dictionary|page header|corrupt/i.test(message)) return { failure: 'file', message };
  if (/^(INTERNAL|FATAL)/i.test(message)) return { failure: 'internal', message };
  return { failure: 'sql', message };
}

function valueOf(value: QueryValue): string | number | boolean | bigint | null {
  return typeof value === 'object' && value !== null ? BigInt(value.bigint) : value;
}

async function sendData(bytes: Buffer | undefined): Promise<void> {
  if (bytes !== undefined && bytes.length > 0) await send(frame(dataFrame, bytes));
}

/** Waits while nobody reads. */
async function send(bytes: Buffer): Promise<void> {
  if (!process.stdout.write(bytes)) await once(process.stdout, 'drain');
}
