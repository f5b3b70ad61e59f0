import { Command } from '@binnacle/mysql-wire/command';
import type { BackendConnection } from '../../connection/backend-connection.js';
import { MysqlError } from '../../connection/mysql-error.js';
import type { TargetFacts } from '../replay/replay-target.js';
import { ReplayedStatements, type ReadingMode, type ReplayedStatement } from '../replay/replayed-statement.js';
import type { ReplayRecord } from '../replay/traffic-source.js';
import { planShape } from './plan-shape.js';
import { statementWithValues } from './statement-values.js';

export interface ExplainOptions {
  /** In their order; read only as far as needed. */
  readonly records: AsyncIterable<ReplayRecord>;
  /** Logs in as who may explain, with UTF-8. */
  readonly open: () => Promise<BackendConnection>;
  /** Of the server that is asked. */
  readonly facts: TargetFacts;
  /** Digests; absent: all that come first. */
  readonly wanted?: ReadonlySet<string>;
  /** For all of it. What was found by then is given. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

export interface ExplainedPlan {
  readonly digest: string;
  /** The statement without its values. */
  readonly text: string;
  /** As `planShape` has it; no values are in it. */
  readonly plan: string;
}

export const plansMax = 1_000;
const sqlBytesMax = 65_536;
const planCharactersMax = 8_000;
const explainTimeoutMs = 5_000;
/** Examples of one digest that the server refuses to explain. */
const failuresMax = 3;
/** As long as each connection keeps its statements, these are texts of a few KB. */
const connectionsMax = 20_000;
const textsOfConnectionMax = 1_000;
const usedDatabase = /^\s*use\s+(?:`((?:[^`]|``)+)`|([^\s;`]+))\s*;?\s*$/i;

/** What of a captured connection decides on its plans. */
interface Followed {
  database: string;
  readonly texts: Map<number, Buffer>;
  prepared: number;
}

/**
 * Asks a server for the plan of the first example of each digest that reads; nothing else of the records is sent. Rejects as `open` does; what the server refuses to
 * explain is left out.
 */
export async function explainRecords(options: ExplainOptions): Promise<ExplainedPlan[]> {
  const untilMs = performance.now() + options.timeoutMs;
  const explainer = new Explainer(options, await options.open());
  try {
    for await (const record of options.records) {
      await explainer.take(record);
      if (explainer.isDone || performance.now() > untilMs || options.signal?.aborted === true) break;
    }
    return explainer.plans;
  } finally {
    explainer.close();
  }
}

class Explainer {
  readonly plans: ExplainedPlan[] = [];
  isDone = false;
  readonly #options: ExplainOptions;
  readonly #connection: BackendConnection;
  readonly #statements: ReplayedStatements;
  readonly #mode: ReadingMode;
  readonly #connections = new Map<string, Followed>();
  /** By digest; `failuresMax` for those that are done. */
  readonly #failures = new Map<string, number>();
  #database = '';

  constructor(options: ExplainOptions, connection: BackendConnection) {
    this.#options = options;
    this.#connection = connection;
    this.#statements = new ReplayedStatements(options.facts.storedFunctions);
    this.#mode = options.facts.mode;
  }

  async take(record: ReplayRecord): Promise<void> {
    const { source, connectionId, command } = record;
    const key = `${source}.${connectionId}`;
    if (command === Command.quit) return void this.#connections.delete(key);
    const followed = this.#connections.get(key) ?? { database: '', texts: new Map<number, Buffer>(), prepared: 0 };
    if (this.#connections.size < connectionsMax) this.#connections.set(key, followed);
    const payload = Buffer.from(record.payload.buffer, record.payload.byteOffset, record.payload.length);
    if (record.database !== undefined) followed.database = record.database;
    if (command === Command.initDb) followed.database = payload.toString();
    else if (command === Command.stmtPrepare) this.#prepared(followed, record, payload);
    else if (command === Command.resetConnection) followed.texts.clear();
    else if (command === Command.stmtClose) followed.texts.delete(statementId(record, payload));
    else if (command === Command.query) await this.#query(followed, payload);
    else if (command === Command.stmtExecute) await this.#execution(followed, record, payload);
  }

  /** Files that do not say ids are of servers that count them from 1. */
  #prepared(followed: Followed, { capturedStatementId }: ReplayRecord, payload: Buffer): void {
    const { texts } = followed;
    followed.prepared++;
    if (texts.size < textsOfConnectionMax && payload.length <= sqlBytesMax) texts.set(capturedStatementId ?? followed.prepared, Buffer.from(payload));
  }

  async #query(followed: Followed, payload: Buffer): Promise<void> {
    if (payload.length > sqlBytesMax) return;
    const statement = this.#statements.of(payload, 0, payload.length, this.#mode);
    if (statement.kind === 'use') {
      const [, quoted, plain] = usedDatabase.exec(payload.toString()) ?? [];
      followed.database = quoted?.replaceAll('``', '`') ?? plain ?? followed.database;
    }
    if (this.#wants(statement)) await this.#explain(statement, payload.toString(), followed.database);
  }

  async #execution({ texts, database }: Followed, record: ReplayRecord, payload: Buffer): Promise<void> {
    const text = record.preparedText === undefined ? texts.get(statementId(record, payload)) : Buffer.from(record.preparedText);
    if (text === undefined) return;
    const statement = this.#statements.of(text, 0, text.length, this.#mode);
    if (!this.#wants(statement)) return;
    const sql = statementWithValues(text.toString(), payload, this.#mode);
    // The values are in it now: what they do to it must be seen.
    if (sql === undefined || this.#statements.of(Buffer.from(sql), 0, Buffer.byteLength(sql), this.#mode).digest !== statement.digest) return;
    await this.#explain(statement, sql, database);
  }

  #wants({ kind, refusal, digest, text }: ReplayedStatement): boolean {
    if (kind !== 'select' || refusal !== undefined || text.includes(';')) return false;
    const { wanted } = this.#options;
    return (wanted === undefined || wanted.has(digest)) && (this.#failures.get(digest) ?? 0) < failuresMax;
  }

  async #explain({ digest, text }: ReplayedStatement, sql: string, database: string): Promise<void> {
    try {
      if (database !== '' && database !== this.#database) {
        this.#database = '';
        await this.#connection.command(Buffer.concat([Buffer.from([Command.initDb]), Buffer.from(database)]), explainTimeoutMs);
        this.#database = database;
      }
      const { columns, rows } = await this.#connection.query(`EXPLAIN ${sql}`, explainTimeoutMs);
      this.plans.push({ digest, text, plan: planShape(columns, rows).slice(0, planCharactersMax) });
      this.#failures.set(digest, failuresMax);
    } catch (error) {
      this.#failures.set(digest, (this.#failures.get(digest) ?? 0) + 1);
      // Without its connection it has come to an end.
      if (!(error instanceof MysqlError)) this.isDone = true;
    }
    if (this.plans.length >= Math.min(plansMax, this.#options.wanted?.size ?? plansMax)) this.isDone = true;
  }

  close(): void {
    this.#connection.close();
  }
}

function statementId({ capturedStatementId }: ReplayRecord, payload: Buffer): number {
  return capturedStatementId ?? (payload.length < 4 ? 0 : payload.readUInt32LE(0));
}
