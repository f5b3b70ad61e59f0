import type { BackendConnection } from '../connection/backend-connection.js';
import { MysqlError } from '../connection/mysql-error.js';

/** What triggers, views and column defaults of a server may do to the sessions that use its tables, without any statement saying so. */
export type StoredCode =
  /** All of it was seen, and none of it leaves anything in a session that cannot be carried over. */
  | {
      readonly kind: 'harmless';
      /** Name of one that mentions user variables: these can be read as long as the server lives. */
      readonly userVariables?: string;
    }
  /** `name` of one that may: it calls GET_LOCK, draws from a sequence, makes a temporary table, sets `timestamp` and the like, or calls a function that does. */
  | { readonly kind: 'risky'; readonly name: string }
  /** The account may not see all of it. */
  | { readonly kind: 'unknown'; readonly missing: string };

/** White space or a comment between two words. */
const blank = '([[:space:]]|/[*]([^*]|[*]+[^*/])*[*]+/|(--|#)[^\n]*\n)';
/** Variables whose value is used up or goes on by itself, and which no trigger's end restores. */
const unreplayable = '(timestamp|insert_id|rand_seed1|rand_seed2|pseudo_thread_id|pseudo_slave_mode|gtid_next|gtid_seq_no)';
/** What other variables stored code sets is read from the server: MariaDB's user variables, and MySQL's too, where that is allowed at all. */
const risky = `get_lock|nextval|setval|next${blank}+value|session_track`;
/** Views create and assign nothing, and their columns may have any name. One word of CREATE TEMPORARY TABLE is enough, with whatever comments around it. */
const riskyProgram = `${risky}|(^|[^[:alnum:]_])temporary([^[:alnum:]_]|$)|set${blank}+role|@@[^;=,]*${unreplayable}|(^|[^[:alnum:]_$.])\`?${unreplayable}\`?${blank}*:?=`;
const userVariable = '(^|[^@])@[[:alnum:]_`]';

/** The schemas of the server itself are left out: applications do not write there. */
const own = "NOT IN ('information_schema','performance_schema','mysql','sys')";
/** Routines called by name are known from the statements that call them: those count only where a trigger or a view calls some routine. */
const calledUnseen = `EXISTS (SELECT 1 FROM information_schema.ROUTINES AS r JOIN (
  SELECT ACTION_STATEMENT AS body FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA ${own}
  UNION ALL SELECT VIEW_DEFINITION FROM information_schema.VIEWS WHERE TABLE_SCHEMA ${own}) AS b
  ON b.body LIKE CONCAT('%', r.ROUTINE_NAME, '%') AND (r.ROUTINE_NAME REGEXP '[^[:alnum:]_]' OR b.body REGEXP CONCAT('(^|[^[:alnum:]_$])', r.ROUTINE_NAME, '([^[:alnum:]_$]|$)')) WHERE r.ROUTINE_SCHEMA ${own})`;
const findings = (kind: BackendConnection['kind'], pattern: string, ofPrograms = pattern): string =>
  [
    `SELECT CONCAT('trigger ', TRIGGER_SCHEMA, '.', TRIGGER_NAME) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA ${own} AND ACTION_STATEMENT REGEXP '${ofPrograms}'`,
    `SELECT CONCAT('view ', TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.VIEWS WHERE TABLE_SCHEMA ${own} AND VIEW_DEFINITION REGEXP '${pattern}'`,
    `SELECT CONCAT('routine ', ROUTINE_SCHEMA, '.', ROUTINE_NAME) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA ${own} AND ROUTINE_DEFINITION REGEXP '${ofPrograms}' AND ${calledUnseen}`,
    ...(kind === 'mariadb'
      ? [`SELECT CONCAT('column ', TABLE_SCHEMA, '.', TABLE_NAME, '.', COLUMN_NAME) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA ${own} AND COLUMN_DEFAULT REGEXP '${pattern}'`]
      : []),
  ].join(' UNION ALL ') + ' LIMIT 1';

/** A routine without a body here has one that is hidden from the account; triggers and views would not be listed at all, so its rights are looked at first. */
const hiddenRoutine = `SELECT CONCAT(ROUTINE_SCHEMA, '.', ROUTINE_NAME) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA ${own} AND ROUTINE_DEFINITION IS NULL AND ${calledUnseen} LIMIT 1`;

/**
 * Schemas on which the account has some right, in whole or in part, but not all three that it takes to see triggers, views and what these call. Rights on single tables count for a schema without them.
 */
const uncoveredSchema = `SELECT s.TABLE_SCHEMA FROM (
  SELECT TABLE_SCHEMA FROM information_schema.SCHEMA_PRIVILEGES UNION SELECT TABLE_SCHEMA FROM information_schema.TABLE_PRIVILEGES
  UNION SELECT TABLE_SCHEMA FROM information_schema.COLUMN_PRIVILEGES
  UNION SELECT '%' FROM information_schema.USER_PRIVILEGES WHERE PRIVILEGE_TYPE IN ('SELECT','INSERT','UPDATE','DELETE')) AS s
  WHERE (SELECT COUNT(DISTINCT p.PRIVILEGE_TYPE) FROM information_schema.USER_PRIVILEGES AS p WHERE p.PRIVILEGE_TYPE IN ('TRIGGER','SHOW VIEW','EXECUTE')) < 3
  AND (SELECT COUNT(DISTINCT q.PRIVILEGE_TYPE) FROM information_schema.SCHEMA_PRIVILEGES AS q WHERE q.TABLE_SCHEMA = s.TABLE_SCHEMA AND q.PRIVILEGE_TYPE IN ('TRIGGER','SHOW VIEW','EXECUTE')) < 3 LIMIT 1`;

const bodiesMax = 1_000;
const charactersMax = 524_288;
/** None for an account that sees everything. Bodies without a dot name nothing outside their own schema. */
const bodies = `SELECT b.body FROM (SELECT ACTION_STATEMENT AS body FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA ${own}
  UNION ALL SELECT VIEW_DEFINITION FROM information_schema.VIEWS WHERE TABLE_SCHEMA ${own}
  UNION ALL SELECT ROUTINE_DEFINITION FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA ${own}) AS b WHERE b.body LIKE '%.%'
  AND (SELECT COUNT(DISTINCT p.PRIVILEGE_TYPE) FROM information_schema.USER_PRIVILEGES AS p WHERE p.PRIVILEGE_TYPE IN ('TRIGGER','SHOW VIEW','EXECUTE')) < 3 LIMIT ${bodiesMax + 1}`;
/** Strings, comments and variables; or names with dots between them. */
const chains = /'(?:[^'\\]|\\[^]|'')*'|\/\*(?!!)[^]*?\*\/|(?:--\s|#)[^\n]*|@{1,2}[\w$`.]+|((?:`[^`]+`|"[^"]+"|[\w$]+)(?:\s*\.\s*(?:`[^`]+`|"[^"]+"|[\w$]+))*)/g;

/**
 * A name that begins names with dots, and is neither a schema that the account sees nor stands anywhere else in the text, as tables, aliases and variables do: that of a schema of which nothing
 * is seen. Triggers and views act with the rights of who made them.
 */
export function unseenSchema(text: string, seen: ReadonlySet<string>): string | undefined {
  const first = new Set<string>();
  const known = new Set(['new', 'old']);
  for (const [, chain] of text.matchAll(chains)) {
    const names = chain?.toLowerCase().split(/\s*\.\s*/).map((name) => name.replace(/^[`"]|[`"]$/g, ''));
    if (names === undefined || /^\d/.test(names[0]!)) continue;
    if (names.length > 1) first.add(names[0]!);
    known.add(names.at(-1)!);
  }
  return [...first].find((name) => !known.has(name) && !seen.has(name));
}

async function unseen(connection: BackendConnection, timeoutMs: number): Promise<string | undefined> {
  const { rows } = await connection.query(bodies, timeoutMs);
  const texts = rows.map(([body]) => body!.toString('latin1'));
  if (texts.length > bodiesMax || texts.reduce((sum, { length }) => sum + length, 0) > charactersMax) return 'there are more triggers, views and routines than are read';
  if (texts.length === 0) return undefined;
  const schemas = await connection.query('SELECT SCHEMA_NAME FROM information_schema.SCHEMATA', timeoutMs);
  const seen = new Set(schemas.rows.map(([name]) => name!.toString('latin1').toLowerCase()));
  for (const text of texts) {
    const schema = unseenSchema(text, seen);
    if (schema !== undefined) return `the account sees nothing of ${schema}, which a trigger, a view or a routine uses`;
  }
  return undefined;
}

/** Looks with the eyes of this account, and says whether these see everything that the account may use. Rejects with `ConnectionLost`. */
export async function surveyStoredCode(connection: BackendConnection, timeoutMs: number): Promise<StoredCode> {
  const first = async (sql: string): Promise<string | undefined> => (await connection.query(sql, timeoutMs)).rows[0]?.[0]?.toString();
  try {
    const schema = await first(uncoveredSchema);
    if (schema !== undefined) return { kind: 'unknown', missing: `the account has not the rights TRIGGER, SHOW VIEW and EXECUTE on ${schema === '%' ? '*.*' : schema}` };
    const name = await first(findings(connection.kind, risky, riskyProgram));
    if (name !== undefined) return { kind: 'risky', name };
    const hidden = await first(hiddenRoutine);
    if (hidden !== undefined) return { kind: 'unknown', missing: `the account may not read the body of ${hidden}` };
    const missing = await unseen(connection, timeoutMs);
    if (missing !== undefined) return { kind: 'unknown', missing };
    const userVariables = await first(findings(connection.kind, userVariable));
    return { kind: 'harmless', ...(userVariables !== undefined && { userVariables }) };
  } catch (error) {
    if (!(error instanceof MysqlError)) throw error;
    return { kind: 'unknown', missing: error.message };
  }
}

const keptMs = 60_000;
const keptMax = 1_000;

/** Surveys of the last minute by group of backends and account: sessions come in hundreds from one account. */
export class StoredCodeSurveys {
  readonly #kept = new Map<string, { readonly atMs: number; readonly code: Promise<StoredCode> }>();

  constructor(private readonly nowMs: () => number) {}

  /** @param account whose rights they are */
  of(connection: BackendConnection, account: string, timeoutMs: number): Promise<StoredCode> {
    return this.#of(`${connection.backend.group} ${account}`, () => surveyStoredCode(connection, timeoutMs));
  }

  /** With the eyes of the health check's account: applications need no rights of their own then. @param dial logs in as that  @param group of the backend that it dials */
  ofHealthUser(group: string, dial: () => Promise<BackendConnection>, timeoutMs: number): Promise<StoredCode> {
    return this.#of(`${group} for all`, async () => {
      const connection = await dial();
      try {
        return await surveyStoredCode(connection, timeoutMs);
      } finally {
        connection.close();
      }
    });
  }

  #of(key: string, survey: () => Promise<StoredCode>): Promise<StoredCode> {
    const kept = this.#kept.get(key);
    if (kept !== undefined && this.nowMs() - kept.atMs < keptMs) return kept.code;
    if (this.#kept.size >= keptMax) this.#kept.clear();
    const code = survey();
    code.catch(() => this.#kept.delete(key));
    this.#kept.set(key, { atMs: this.nowMs(), code });
    return code;
  }
}
