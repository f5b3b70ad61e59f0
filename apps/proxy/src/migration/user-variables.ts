import type { BackendConnection } from '../connection/backend-connection.js';
import { MysqlError } from '../connection/mysql-error.js';
import { moveBlockers } from './move-blocker.js';
import { MoveRefused } from './move-refused.js';

/** A user variable exactly as the server has it. */
export interface UserVariable {
  /** UTF-8 in hexadecimal digits, as all texts here: nothing on the way can change them. */
  readonly name: string;
  readonly type: 'INT' | 'INT UNSIGNED' | 'DOUBLE' | 'DECIMAL' | 'VARCHAR';
  /** Of a text its bytes in hexadecimal digits, of a number its digits; null for NULL. */
  readonly value: string | null;
  /** Empty for numbers. */
  readonly charset: string;
  readonly collation: string;
}

const variablesMax = 1_000;
const bytesMax = 1_048_576;
/** Variables of one SELECT or SET. */
const batch = 200;

const mariadbNames = `SELECT HEX(VARIABLE_NAME), VARIABLE_TYPE, LENGTH(VARIABLE_VALUE) FROM information_schema.USER_VARIABLES LIMIT ${variablesMax + 1}`;
const mysqlNames =
  'SELECT HEX(VARIABLE_NAME), NULL, LENGTH(VARIABLE_VALUE) FROM performance_schema.user_variables_by_thread WHERE THREAD_ID = ' +
  `(SELECT THREAD_ID FROM performance_schema.threads WHERE PROCESSLIST_ID = CONNECTION_ID()) LIMIT ${variablesMax + 1}`;

const mysqlTypes: Readonly<Record<string, UserVariable['type']>> = { INTEGER: 'INT', 'UNSIGNED INTEGER': 'INT UNSIGNED', DOUBLE: 'DOUBLE', DECIMAL: 'DECIMAL' };
/** SRID, byte order and kind: servers list a geometry as the bytes that it consists of, and an assignment of bytes makes no geometry. */
const geometry = /^.{8}010[1-7]000000/;
const numeric = new Set<string>(['INT', 'INT UNSIGNED', 'DOUBLE', 'DECIMAL']);

/**
 * Those of the connection itself, sorted by name. Rejects with `MoveRefused` where the server does not let them be read as they are.
 * @param readsUtf8 whether statements of this connection are read as UTF-8: if not, names beyond ASCII cannot be asked for
 */
export async function readUserVariables(connection: BackendConnection, readsUtf8: boolean, timeoutMs: number): Promise<UserVariable[]> {
  const mariadb = connection.kind === 'mariadb';
  const { rows } = await connection.query(mariadb ? mariadbNames : mysqlNames, timeoutMs).catch((error: unknown) => {
    if (!(error instanceof MysqlError)) throw error;
    throw new MoveRefused('user-variables', `${moveBlockers['user-variables']}: ${error.message}`);
  });
  const found = rows.map(([name, type, bytes]) => ({ name: name!.toString(), type: type?.toString(), bytes: Number(bytes?.toString() ?? 0) }));
  const bytes = found.reduce((sum, variable) => sum + variable.bytes, 0);
  if (found.length > variablesMax || bytes > bytesMax) throw new MoveRefused('user-variables', `there are more than ${variablesMax} user variables, or more than ${bytesMax} bytes in them`);
  if (!readsUtf8 && found.some(({ name }) => !/^(?:[0-7][0-9A-F])*$/.test(name))) throw new MoveRefused('user-variables', 'a user variable has a name that cannot be said in the character set of the session');
  const variables: UserVariable[] = [];
  for (let from = 0; from < found.length; from += batch) variables.push(...(await readSome(connection, found.slice(from, from + batch), timeoutMs)));
  return variables.sort((a, b) => (a.name < b.name ? -1 : 1));
}

interface FoundVariable {
  readonly name: string;
  readonly type: string | undefined;
}

async function readSome(connection: BackendConnection, found: readonly FoundVariable[], timeoutMs: number): Promise<UserVariable[]> {
  const parts = found.flatMap(({ name }) => {
    const variable = `@${quotedName(name)}`;
    return [variable, `HEX(${variable})`, `CHARSET(${variable})`, `COLLATION(${variable})`, connection.kind === 'mariadb' ? 'NULL' : `JSON_TYPE(JSON_EXTRACT(JSON_ARRAY(${variable}),'$[0]'))`];
  });
  const { rows } = await connection.query(Buffer.from(`SELECT ${parts.join(', ')} LIMIT 1`), timeoutMs);
  const row = rows[0]!;
  return found.map(({ name, type: known }, index) => {
    const [value, hex, charset, collation, jsonType] = row.slice(index * 5, index * 5 + 5).map((cell) => cell?.toString('latin1') ?? null);
    const type = known ?? (jsonType === null ? 'VARCHAR' : (mysqlTypes[jsonType!] ?? 'VARCHAR'));
    const isNumber = numeric.has(type);
    if (!isNumber && type !== 'VARCHAR') throw new MoveRefused('user-variables', `a user variable has the type ${type}`);
    if (charset === 'binary' && geometry.test(hex ?? '')) throw new MoveRefused('user-variables', 'a user variable may be a geometry');
    return { name, type: type as UserVariable['type'], value: isNumber ? value! : hex!, charset: isNumber ? '' : charset!, collation: isNumber ? '' : collation! };
  });
}

const quotedName = (hex: string): string => `\`${Buffer.from(hex, 'hex').toString().replaceAll('`', '``')}\``;

/** Statements for a connection with `SET NAMES utf8mb4` and `sql_mode=''`. */
export function userVariableStatements(variables: readonly UserVariable[]): string[] {
  const statements: string[] = [];
  for (let from = 0; from < variables.length; from += batch) {
    statements.push(`SET ${variables.slice(from, from + batch).map((variable) => `@${quotedName(variable.name)}=${expression(variable)}`).join(', ')}`);
  }
  return statements;
}

function expression({ type, value, charset, collation }: UserVariable): string {
  switch (type) {
    case 'INT':
      return `CAST(${value ?? 'NULL'} AS SIGNED)`;
    case 'INT UNSIGNED':
      return `CAST(${value ?? 'NULL'} AS UNSIGNED)`;
    case 'DOUBLE':
      // A literal with an exponent is a double, and nothing else is.
      return value === null ? 'NULL+0e0' : /e/i.test(value) ? value : `${value}e0`;
    case 'DECIMAL':
      return value === null ? 'CAST(NULL AS DECIMAL)' : `CAST('${value}' AS DECIMAL(65,${value.split('.')[1]?.length ?? 0}))`;
    case 'VARCHAR':
      if (charset === 'binary') return value === null ? 'NULL' : `X'${value}'`;
      return `${value === null ? `CONVERT(NULL USING ${charset})` : `_${charset} X'${value}'`} COLLATE ${collation}`;
  }
}
