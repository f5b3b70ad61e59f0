import type { BackendConnection } from '../connection/backend-connection.js';
import { readVariables, type SessionVariables } from './session-variables.js';
import { readUserVariables, type UserVariable } from './user-variables.js';

/** What one SELECT says of a session. Texts in hexadecimal digits of UTF-8, empty for NULL. */
export interface SessionFacts {
  /** Rows that FOUND_ROWS() would have said, and rows that ROW_COUNT() would have: -1 behind a result set. Asking ends both. */
  readonly foundRows: number;
  readonly rowCount: number;
  /** Digits: it has 64 bits. */
  readonly lastInsertId: string;
  readonly database: string;
  /** As SET ROLE takes it, on MySQL; one name on MariaDB. */
  readonly role: string;
  readonly account: string;
  /** Of the advisory locks asked for: those that this session holds. */
  readonly locks: readonly string[];
}

/** Everything that one server knows of a session and another one can be told. */
export interface SessionSnapshot {
  readonly facts: SessionFacts;
  readonly variables: SessionVariables;
  readonly userVariables: readonly UserVariable[];
}

const hasRoles = (connection: BackendConnection): boolean => connection.kind === 'mariadb' || !/^5\./.test(connection.serverVersion);

/** @param locks names that the session may hold, one character a byte, without quotes and backslashes */
export async function readFacts(connection: BackendConnection, locks: readonly string[], timeoutMs: number): Promise<SessionFacts> {
  const role = hasRoles(connection) ? 'HEX(CURRENT_ROLE())' : "HEX('')";
  const asked = locks.map((name) => `, IS_USED_LOCK('${name}')<=>CONNECTION_ID()`).join('');
  const text = `SELECT FOUND_ROWS(), ROW_COUNT(), LAST_INSERT_ID(), HEX(DATABASE()), ${role}, HEX(CURRENT_USER())${asked} LIMIT 1`;
  const { rows } = await connection.query(Buffer.from(text, 'latin1'), timeoutMs);
  const [foundRows, rowCount, lastInsertId, database, currentRole, account, ...held] = rows[0]!.map((value) => value?.toString('latin1') ?? '');
  return {
    foundRows: Number(foundRows),
    rowCount: Number(rowCount),
    lastInsertId: lastInsertId!,
    database: database!,
    role: currentRole!,
    account: account!,
    locks: locks.filter((_name, index) => held[index] === '1'),
  };
}

/** Variables first: they say whether names beyond ASCII can be asked for. */
export async function readSnapshot(connection: BackendConnection, facts: SessionFacts, timeoutMs: number): Promise<SessionSnapshot> {
  const variables = await readVariables(connection, timeoutMs);
  const readsUtf8 = /^utf8/.test(variables.values.get('character_set_client') ?? '');
  return { facts, variables, userVariables: await readUserVariables(connection, readsUtf8, timeoutMs) };
}
