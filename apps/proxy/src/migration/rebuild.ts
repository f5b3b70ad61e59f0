import { Command } from '@binnacle/mysql-wire/command';
import { StatusFlag } from '@binnacle/mysql-wire/status-flags';
import type { BackendConnection } from '../connection/backend-connection.js';
import { MysqlError } from '../connection/mysql-error.js';
import type { QueryResult } from '../connection/result-reader.js';
import { MoveRefused } from './move-refused.js';
import type { PreparedStatement } from './prepared-statements.js';
import { readFacts, readSnapshot, type SessionFacts, type SessionSnapshot } from './session-snapshot.js';
import type { SessionState } from './session-state.js';
import { differing, readVariables, setVariables, type SessionVariables } from './session-variables.js';
import { userVariableStatements } from './user-variables.js';

/** What was built on a new connection, ready to be swapped in. */
export interface Rebuilt {
  /** The client's ids and those of the new backend. */
  readonly statements: Map<number, number>;
  /** What FOUND_ROWS and ROW_COUNT will say is not what they would have said. */
  readonly diagnosticsLost: boolean;
}

/** With autocommit off, a statement could begin a transaction; strings are read as `sql_mode` says. */
const setLast = new Set(['autocommit']);
/** FOUND_ROWS is made anew by counting so many rows at most: some milliseconds. */
const foundRowsMax = 20_000;

/** A new login as it was before anything was done to it; now it reads UTF-8 and ordinary SQL. It may be made long before the session is held. */
export interface Ground {
  readonly variables: SessionVariables;
  readonly facts: SessionFacts;
}

export async function makeGround(connection: BackendConnection, timeoutMs: number): Promise<Ground> {
  const ground = { variables: await readVariables(connection, timeoutMs), facts: await readFacts(connection, [], timeoutMs) };
  await connection.query("SET NAMES utf8mb4, SESSION sql_mode=''", timeoutMs);
  return ground;
}

const charsetNames = ['character_set_client', 'character_set_connection', 'character_set_results', 'collation_connection'];

/**
 * Makes the character sets those that the session's come from, its login's or those of its SET NAMES: what clients are told of columns depends on the collation of `character_set_results`, which no
 * variable shows and only these two set. Gives all variables as they are then.
 */
export async function layCharsets(connection: BackendConnection, { variables }: Ground, state: SessionState, timeoutMs: number): Promise<SessionVariables> {
  const { values, types } = variables;
  const now = new Map(values).set('sql_mode', '');
  if (state.setNames === undefined && !state.serversCharset && values.get('character_set_results') === values.get('character_set_client')) {
    await connection.query(`SET NAMES ${values.get('character_set_client')} COLLATE ${values.get('collation_connection')}`, timeoutMs);
    return { values: now, types };
  }
  if (state.setNames !== undefined) await connection.query(Buffer.from(state.setNames, 'latin1'), timeoutMs);
  const { rows } = await connection.query(`SELECT ${charsetNames.map((name) => `@@session.${name}`).join(', ')} LIMIT 1`, timeoutMs);
  charsetNames.forEach((name, index) => now.set(name, rows[0]![index]?.toString('latin1') ?? null));
  return { values: now, types };
}

/**
 * Gives a fresh login everything that the session has, and compares. Rejects with `MoveRefused`, `MysqlError` or `ConnectionLost`; the connection is good for nothing then.
 * @param sameVersion the two servers are of the same version: every variable can be had
 */
export async function rebuild(connection: BackendConnection, ground: Ground, from: SessionSnapshot, state: SessionState, sameVersion: boolean, timeoutMs: number): Promise<Rebuilt> {
  if (ground.facts.account !== from.facts.account) throw new MoveRefused('account', `the user is ${text(ground.facts.account)} there, not ${text(from.facts.account)}`);
  const query = (sql: string): Promise<QueryResult> => connection.query(sql, timeoutMs);
  for (const statement of userVariableStatements(from.userVariables)) await query(statement);
  if (from.facts.role !== ground.facts.role) await query(setRole(connection, from.facts.role));
  await useDatabase(connection, Buffer.from(from.facts.database, 'hex'), Buffer.from(ground.facts.database, 'hex'), timeoutMs);
  const now = await layCharsets(connection, ground, state, timeoutMs);
  const left = await setVariables(connection, from.variables, now, { sameVersion, setByClient: state.setByClient, later: setLast, timeoutMs });
  const statements = await prepareStatements(connection, state, from, timeoutMs);
  if (state.multiStatements !== undefined) await connection.command(Buffer.from([Command.setOption, state.multiStatements ? 0 : 1, 0]), timeoutMs);
  const autocommit = from.variables.values.get('autocommit');
  if (autocommit !== now.values.get('autocommit')) await query(`SET SESSION autocommit=${autocommit === 'ON' ? 1 : 0}`);
  await verify(connection, from, left, timeoutMs);
  // It changes nothing but what LAST_INSERT_ID() says, unlike the variable `insert_id`.
  if (from.facts.lastInsertId !== '0') await query(`SELECT LAST_INSERT_ID(${from.facts.lastInsertId}) LIMIT 1`);
  return { statements, diagnosticsLost: !(await leaveCounts(connection, from.facts, timeoutMs).catch(exceptLoss)) };
}

const text = (hex: string): string => Buffer.from(hex, 'hex').toString();

function setRole(connection: BackendConnection, role: string): string {
  const name = text(role);
  if (role === '' || name === 'NONE') return 'SET ROLE NONE';
  // MySQL gives a list of quoted accounts, MariaDB one name.
  return connection.kind === 'mariadb' ? `SET ROLE \`${name.replaceAll('`', '``')}\`` : `SET ROLE ${name}`;
}

async function useDatabase(connection: BackendConnection, wanted: Buffer, now: Buffer, timeoutMs: number): Promise<void> {
  if (wanted.equals(now)) return;
  if (wanted.length === 0) throw new MoveRefused('not-equal', 'the session has no schema any more, and a new one cannot be without');
  await connection.command(Buffer.concat([Buffer.from([Command.initDb]), wanted]), timeoutMs);
}

async function prepareStatements(connection: BackendConnection, state: SessionState, from: SessionSnapshot, timeoutMs: number): Promise<Map<number, number>> {
  const ids = new Map<number, number>();
  const own = { database: text(from.facts.database), sqlMode: from.variables.values.get('sql_mode') ?? '' };
  let now = own;
  const within = async (wanted: typeof own): Promise<void> => {
    if (wanted.database !== now.database) await useDatabase(connection, Buffer.from(wanted.database), Buffer.from(now.database), timeoutMs);
    if (wanted.sqlMode !== now.sqlMode) await connection.query(`SET SESSION sql_mode='${wanted.sqlMode}'`, timeoutMs);
    now = wanted;
  };
  for (const prepared of state.prepared) {
    await within({ database: prepared.within.database, sqlMode: prepared.within.sqlMode });
    ids.set(prepared.clientId, await prepareAgain(connection, prepared, timeoutMs));
  }
  await within(own);
  return ids;
}

async function prepareAgain(connection: BackendConnection, prepared: PreparedStatement, timeoutMs: number): Promise<number> {
  const payload = Buffer.concat([Buffer.from([Command.stmtPrepare]), Buffer.from(prepared.statement.text, 'latin1')]);
  const { statement } = await connection.command(payload, timeoutMs).catch((error: unknown) => {
    if (!(error instanceof MysqlError)) throw error;
    throw new MoveRefused('statement', `statement ${prepared.clientId} cannot be prepared on ${connection.backend.id}: error ${error.code}`);
  });
  if (statement?.parameterCount !== prepared.parameterCount || statement.columnCount !== prepared.columnCount) {
    throw new MoveRefused('statement', `statement ${prepared.clientId} has other parameters or columns on ${connection.backend.id}`);
  }
  if (prepared.types !== undefined) await tellTypes(connection, statement.id, prepared, timeoutMs);
  return statement.id;
}

/** ER_WRONG_ARGUMENTS */
const wrongArguments = 1210;

/**
 * Clients name the types of parameters with the first execution only, and that was elsewhere. MariaDB keeps the types of an execution that it refuses since the values are missing;
 * nothing is executed then.
 */
async function tellTypes(connection: BackendConnection, statementId: number, { types, parameterCount }: PreparedStatement, timeoutMs: number): Promise<void> {
  if (connection.kind !== 'mariadb') throw new MoveRefused('parameter-types', `${connection.backend.id} cannot be told the parameter types of prepared statements`);
  const head = Buffer.alloc(10);
  head[0] = Command.stmtExecute;
  head.writeUInt32LE(statementId, 1);
  head.writeUInt32LE(1, 6);
  const payload = Buffer.concat([head, Buffer.alloc((parameterCount + 7) >> 3), Buffer.from([1]), types!]);
  const refused = await connection.command(payload, timeoutMs).then(() => false, (error: unknown) => error instanceof MysqlError && error.code === wrongArguments);
  if (!refused) throw new MoveRefused('parameter-types', `${connection.backend.id} did not take the parameter types of a statement as expected`);
}

async function verify(connection: BackendConnection, from: SessionSnapshot, left: ReadonlySet<string>, timeoutMs: number): Promise<void> {
  const built = await readSnapshot(connection, await readFacts(connection, [], timeoutMs), timeoutMs);
  const variable = differing(from.variables, built.variables).find((name) => !left.has(name));
  if (variable !== undefined) throw new MoveRefused('not-equal', `the variable ${variable} is another one there`);
  if (JSON.stringify(built.userVariables) !== JSON.stringify(from.userVariables)) throw new MoveRefused('not-equal', 'the user variables are others there');
  const { database, role, account } = built.facts;
  if (database !== from.facts.database || role !== from.facts.role || account !== from.facts.account) throw new MoveRefused('not-equal', 'the schema, the role or the account is another one there');
  if ((connection.statusFlags & StatusFlag.inTransaction) !== 0) throw new MoveRefused('not-equal', 'a transaction began there');
}

/**
 * What FOUND_ROWS and ROW_COUNT are to say. Without touching a table a row count of -1 is left by a SELECT, of 0 by DO, and of 1 by SELECT INTO a local variable of a block, which MariaDB has. False: they will say something else.
 */
export async function leaveCounts(connection: BackendConnection, facts: SessionFacts, timeoutMs: number): Promise<boolean> {
  const { foundRows, rowCount } = facts;
  if (!(foundRows <= foundRowsMax) || rowCount > 1) return false;
  if (rowCount === 1) {
    if (connection.kind !== 'mariadb' || foundRows === 0) return false;
    await connection.query(`BEGIN NOT ATOMIC DECLARE a INT; SELECT SQL_CALC_FOUND_ROWS 1 INTO a FROM ${rowsOf(foundRows)} LIMIT 1; END`, timeoutMs);
    return true;
  }
  await connection.query(foundRows === 0 ? 'SELECT 1 FROM DUAL WHERE 0 LIMIT 1' : `SELECT SQL_CALC_FOUND_ROWS 1 FROM ${rowsOf(foundRows)} LIMIT 0`, timeoutMs);
  if (rowCount === 0) await connection.query('DO 0', timeoutMs);
  return true;
}

/** Limits that the session has set itself, or the language of sql_mode=ORACLE, can keep these statements from being executed. */
function exceptLoss(error: unknown): false {
  if (!(error instanceof MysqlError)) throw error;
  return false;
}

/** A derived table of so many rows that every server understands. */
function rowsOf(count: number): string {
  const ten = '(SELECT 1 AS n' + ' UNION ALL SELECT 1'.repeat(9) + ')';
  const factors = Math.max(1, Math.ceil(Math.log10(count)));
  return `(SELECT 1 AS n FROM ${Array.from({ length: factors }, (_, index) => `${ten} AS t${index}`).join(', ')} LIMIT ${count}) AS t`;
}
