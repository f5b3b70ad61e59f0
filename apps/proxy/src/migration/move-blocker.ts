/** Why a session has to stay where it is. The documentation and the tests go through this table. */
export const moveBlockers = {
  transaction: 'a transaction is open',
  xa: 'an XA transaction was begun and its end was not seen',
  'pending-transaction': 'SET TRANSACTION waits for the next transaction',
  'table-lock': 'LOCK TABLES is in effect',
  'global-lock': 'FLUSH TABLES WITH READ LOCK, FOR EXPORT, BACKUP STAGE or LOCK INSTANCE is in effect',
  'advisory-lock': 'GET_LOCK was called and nothing shows that its lock is free again',
  'temporary-table': 'a temporary table may exist',
  handler: 'a HANDLER is open',
  'text-prepare': 'PREPARE in SQL text keeps a statement that the proxy does not',
  sequence: 'NEXTVAL or SETVAL left a value that only LASTVAL of this session knows',
  'unreplayable-variable': 'a variable was set whose value cannot be carried over: timestamp, insert_id, rand_seed1 and the like',
  'long-data': 'COM_STMT_SEND_LONG_DATA waits for its execution',
  cursor: 'a cursor is open',
  procedure: 'a procedure was called that is not in proxy.allowed-procedures',
  function: 'a function was called that is neither built in nor in proxy.allowed-functions',
  'not-understood': 'a statement was sent that the proxy does not understand',
  'not-read': 'a statement was sent that the proxy could not read',
  'unsafe-charset': 'the session uses a character set in which quotes cannot be told from halves of characters',
  'unknown-change': 'the server reported a change of the session that no statement explains',
  'not-tracked': 'changes of the session are not reported by the server',
  history: 'the session records a history (profiling, optimizer_trace, sql_auto_is_null) that cannot be carried over',
  replication: 'the connection is a replication stream',
  statements: 'too many prepared statements, or too long ones, to be kept',
  'parameter-types': 'a prepared statement has parameter types that the proxy does not know',
  diagnostics: 'what the last statement left for SHOW WARNINGS, ROW_COUNT and FOUND_ROWS may still be asked for',
  'user-variables': 'user variables cannot be read from this server as they are',
  'stored-code': 'triggers, views or defaults may take locks that nobody can see',
  credential: 'the proxy has no secret to log this user in again: set proxy.keep-credentials or proxy.users-file',
  busy: 'a statement is running',
} as const;

export type MoveBlockerCode = keyof typeof moveBlockers;

/** One reason why a session stays. */
export interface MoveBlocker {
  readonly code: MoveBlockerCode;
  /** A sentence for people, without secrets and without texts of statements. */
  readonly text: string;
  /** It ends by itself with the transaction or the next statement: worth another try soon. */
  readonly untilNextBoundary: boolean;
}

const passing: ReadonlySet<MoveBlockerCode> = new Set<MoveBlockerCode>(['transaction', 'pending-transaction', 'long-data', 'cursor', 'diagnostics', 'busy']);

/** @param detail what it was: a name, never a value */
export function moveBlocker(code: MoveBlockerCode, detail = ''): MoveBlocker {
  return { code, text: detail === '' ? moveBlockers[code] : `${moveBlockers[code]}: ${detail}`, untilNextBoundary: passing.has(code) };
}
