import { join } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import { LRUCache } from 'lru-cache';
import { busyTimeoutMs, databaseName } from './index-database.js';
import type { FromSearchThread, ResultRow, ToSearchThread } from './index-messages.js';

/** Prepared ones that are kept: those of the searches that come again and again. */
const statementsMax = 200;
const cacheKibibytes = 32_768;

const port = parentPort;
if (port === null) throw new Error('this is a thread that searches, not a program');

const database = new DatabaseSync(join((workerData as { folder: string }).folder, databaseName), { readOnly: true, timeout: busyTimeoutMs });
database.exec(`PRAGMA cache_size = -${cacheKibibytes}`);
const statements = new LRUCache<string, StatementSync>({ max: statementsMax });
let deadlineMs = Infinity;

/**
 * Node.js cannot interrupt SQLite, but SQLite calls this for some of the rows it looks at, and an error in here ends the statement.
 * What needs no rows to be looked at, such as the lookup of a word, is short.
 */
database.function('within_time', { deterministic: false }, () => {
  if (performance.now() > deadlineMs) throw new Error('the time of this search is over');
  return 1;
});

port.on('message', (request: ToSearchThread) => port.postMessage(answer(request)));

function answer({ id, statements: wanted, timeoutMs }: ToSearchThread): FromSearchThread {
  deadlineMs = performance.now() + timeoutMs;
  try {
    database.exec('BEGIN');
    try {
      return { id, results: wanted.map(({ sql, parameters }) => prepared(sql).all(...parameters) as unknown as ResultRow[]) };
    } finally {
      database.exec('COMMIT');
    }
  } catch (error) {
    return { id, failure: kindOf(error), reason: String(error) };
  }
}

function prepared(sql: string): StatementSync {
  const known = statements.get(sql);
  if (known !== undefined) return known;
  const statement = database.prepare(sql);
  statement.setReturnArrays(true);
  statements.set(sql, statement);
  return statement;
}

function kindOf(error: unknown): 'time' | 'table' | 'spoilt' | 'other' {
  if (performance.now() > deadlineMs) return 'time';
  if (/no such table/.test(String(error))) return 'table';
  return /malformed|not a database|corrupt/i.test(String(error)) ? 'spoilt' : 'other';
}
