import type { BackendConnection } from '../connection/backend-connection.js';
import { MysqlError } from '../connection/mysql-error.js';
import { MoveRefused } from './move-refused.js';

/** Values of the session's system variables as the server prints them, by name in lower case; null for NULL. */
export interface SessionVariables {
  readonly values: ReadonlyMap<string, string | null>;
  /** MariaDB's names of their types. */
  readonly types: ReadonlyMap<string, string>;
}

/** They say what happened in the session, or who it is, and not how it behaves; or `unreplayable-variable` blocks those that were set. */
const ofTheMoment = new Set(
  `timestamp insert_id last_insert_id identity rand_seed1 rand_seed2 pseudo_thread_id error_count warning_count in_transaction last_gtid
  gtid_seq_no wsrep_gtid_seq_no proxy_user external_user max_user_connections net_buffer_length`.split(/\s+/),
);
/** They belong to a server, which may have others than its neighbours on purpose, and most of them take rights that applications have not. What the client has set itself goes with it. */
const ofTheServer = new Set(
  `server_id gtid_domain_id auto_increment_offset auto_increment_increment binlog_format binlog_row_image binlog_row_metadata binlog_annotate_row_events
  binlog_direct_non_transactional_updates sql_log_bin sql_log_off log_disabled_statements innodb_tmpdir enforce_storage_engine wsrep_on`.split(/\s+/),
);
const rowsMax = 10_000;

/** Everything but `GLOBAL` has a value in each session. */
const mariadbText = `SELECT VARIABLE_NAME, SESSION_VALUE, VARIABLE_TYPE FROM information_schema.SYSTEM_VARIABLES WHERE VARIABLE_SCOPE <> 'GLOBAL' LIMIT ${rowsMax}`;

export async function readVariables(connection: BackendConnection, timeoutMs: number): Promise<SessionVariables> {
  const { rows } = await connection.query(connection.kind === 'mariadb' ? mariadbText : 'SHOW SESSION VARIABLES', timeoutMs);
  const values = new Map<string, string | null>();
  const types = new Map<string, string>();
  for (const [name, value, type] of rows) {
    const key = name!.toString('latin1').toLowerCase();
    if (ofTheMoment.has(key)) continue;
    values.set(key, value?.toString('latin1') ?? null);
    if (type !== undefined) types.set(key, type!.toString('latin1'));
  }
  return { values, types };
}

/** Names whose values differ, in the order in which they can be set: a character set changes the collation that belongs to it. */
export function differing(from: SessionVariables, to: SessionVariables): string[] {
  return inOrder([...from.values.keys()].filter((name) => to.values.has(name) && to.values.get(name) !== from.values.get(name)));
}

function inOrder(names: string[]): string[] {
  const rank = (name: string): number => (name.startsWith('character_set_') ? 0 : name.startsWith('collation_') ? 1 : 2);
  return names.sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
}

/** For a connection with `sql_mode=''`. */
function assignment(name: string, { values, types }: SessionVariables): string {
  const value = values.get(name)!;
  const type = types.get(name);
  if (value === null || (value === '' && name === 'character_set_results')) return `${name}=NULL`;
  if (name === 'system_versioning_asof' && value === 'DEFAULT') return `${name}=DEFAULT`;
  const numeric = type === undefined ? /^-?\d+(?:\.\d+)?$/.test(value) : /^(?:BIGINT|INT|DOUBLE)/.test(type);
  if (numeric && /^-?\d+(?:\.\d+)?(?:e[+-]?\d+)?$/i.test(value)) return `${name}=${value}`;
  return `${name}='${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}

/** All of them, as SET SESSION takes them; empty for none. For a connection that reads backslashes as escapes. */
export function assignments(variables: SessionVariables): string {
  return inOrder([...variables.values.keys()]).map((name) => assignment(name, variables)).join(', ');
}

/** What a session was told it may send does not shrink. */
function mayDiffer(name: string, from: SessionVariables, to: SessionVariables): boolean {
  return ofTheServer.has(name) || (name === 'max_allowed_packet' && Number(to.values.get(name)) >= Number(from.values.get(name)));
}

/** ER_GLOBAL_VARIABLE, ER_INCORRECT_GLOBAL_LOCAL_VAR: it has no value in a session. MySQL lists both kinds together. */
const notOfSessions = new Set([1229, 1238]);
/** ER_SPECIFIC_ACCESS_DENIED_ERROR: only an operator may set it, and has set it so on that server. */
const accessDenied = 1227;

/**
 * Gives the connection the values of `from`, where they differ from its own `to`. Of variables that the client has not set itself those of the server are left as they are, and it is let pass if one
 * cannot have its value for want of rights or on a server of another version; the names of all these are returned. Rejects with `MoveRefused`.
 *
 * @param later names to be left out
 */
export async function setVariables(
  connection: BackendConnection,
  from: SessionVariables,
  to: SessionVariables,
  options: { readonly sameVersion: boolean; readonly setByClient: ReadonlyMap<string, string>; readonly later: ReadonlySet<string>; readonly timeoutMs: number },
): Promise<Set<string>> {
  const left = new Set<string>();
  const missing = [...options.setByClient.keys()].find((name) => from.values.has(name) && !to.values.has(name));
  if (missing !== undefined) throw new MoveRefused('variable', `${connection.backend.id} has no variable ${missing}`);
  const names = differing(from, to).filter((name) => !options.later.has(name));
  for (const name of names.filter((candidate) => mayDiffer(candidate, from, to) && !options.setByClient.has(candidate))) left.add(name);
  const wanted = names.filter((name) => !left.has(name));
  if (wanted.length === 0) return left;
  const set = (some: readonly string[]): Promise<unknown> => connection.query(`SET SESSION ${some.map((name) => assignment(name, from)).join(', ')}`, options.timeoutMs);
  try {
    await set(wanted);
    return left;
  } catch (error) {
    if (!(error instanceof MysqlError)) throw error;
  }
  for (const name of wanted) {
    try {
      await set([name]);
    } catch (error) {
      if (!(error instanceof MysqlError)) throw error;
      const passes = notOfSessions.has(error.code) ? connection.kind !== 'mariadb' : (!options.sameVersion || error.code === accessDenied) && !options.setByClient.has(name);
      if (!passes) throw new MoveRefused('variable', `${connection.backend.id} does not take the session's ${name}: ${error.message}`);
      left.add(name);
    }
  }
  return left;
}
