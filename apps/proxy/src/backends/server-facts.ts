import type { BackendConnection } from '../connection/backend-connection.js';
import { MysqlError } from '../connection/mysql-error.js';

/** What a server says of itself and of what it stands in, asked by the health user. */
export interface ServerFacts {
  readonly readOnly: boolean;
  /** `@@server_uuid` of MySQL. */
  readonly serverUuid?: string;
  readonly serverId?: string;
  readonly gtidPosition?: string;
  /** Cluster state UUID of Galera. */
  readonly galera?: string;
  /** Group name of group replication. */
  readonly groupReplication?: string;
  /** Whom it replicates from, asynchronously. Undefined: from nobody, or it may not be asked. */
  readonly source?: { readonly host: string; readonly port: number; readonly uuid?: string; readonly serverId?: string };
  /** Why no session should be here although it answers: Galera not ready, a member that is not online. */
  readonly notReady?: string;
  /** Statements the health user may not run; what they would have said is not known. */
  readonly refused: readonly string[];
}

type Row = Readonly<Record<string, string>>;

/** Names of stored functions beyond this are too many to keep; then none are known. */
const functionsMax = 10_000;
const noUuid = '00000000-0000-0000-0000-000000000000';

/**
 * Three to five queries that cost a server little: SHOW GLOBAL STATUS, which walks over all connections, is for Galera only. Rejects with what the
 * connection rejects with, except where the user lacks a privilege: then that is not known.
 */
export async function readFacts(connection: BackendConnection, timeoutMs: number): Promise<ServerFacts> {
  const ask = asker(connection, timeoutMs);
  if (connection.kind === 'tidb') return { readOnly: false, refused: [] };
  const mariadb = connection.kind === 'mariadb';
  const own = mariadb
    ? 'SELECT @@GLOBAL.read_only AS read_only, @@server_id AS server_id, @@gtid_current_pos AS gtid'
    : 'SELECT @@GLOBAL.read_only OR @@GLOBAL.super_read_only AS read_only, @@server_id AS server_id, @@server_uuid AS server_uuid, @@GLOBAL.gtid_executed AS gtid';
  const [settings = {}] = await ask(own);
  const galera = await galeraStatus(ask);
  const member = mariadb ? undefined : await groupMember(ask);
  const replica = await replicaStatus(ask, mariadb, connection.serverVersion);
  const notReady = galera?.notReady ?? member?.notReady;
  const gtid = (settings.gtid ?? '').replaceAll(/\s/g, '');
  return {
    readOnly: isOn(settings.read_only),
    ...(settings.server_uuid !== undefined && { serverUuid: settings.server_uuid }),
    ...(settings.server_id !== undefined && { serverId: settings.server_id }),
    ...(gtid !== '' && { gtidPosition: gtid }),
    ...(galera?.uuid !== undefined && { galera: galera.uuid }),
    ...(member?.group !== undefined && { groupReplication: member.group }),
    ...(replica.source !== undefined && { source: replica.source }),
    ...(notReady !== undefined && { notReady }),
    refused: replica.refused,
  };
}

/**
 * Lower-case names of all stored and loadable functions. Undefined where the user may not see all of them: a list with gaps would be taken for whole.
 */
export async function readStoredFunctions(connection: BackendConnection, timeoutMs: number): Promise<ReadonlySet<string> | undefined> {
  if (connection.kind === 'tidb') return new Set();
  const ask = asker(connection, timeoutMs);
  const [stored, loadable] =
    connection.kind === 'mariadb'
      ? ["SELECT LOWER(name) AS name FROM mysql.proc WHERE type = 'FUNCTION' OR type = 'PACKAGE' OR type = 'PACKAGE BODY'", 'SELECT LOWER(name) AS name FROM mysql.func']
      : ["SELECT LOWER(ROUTINE_NAME) AS name FROM information_schema.ROUTINES WHERE ROUTINE_TYPE = 'FUNCTION'", 'SELECT LOWER(name) AS name FROM mysql.func'];
  if (connection.kind === 'mysql' && ((await allowed(ask(seesAllRoutines))) ?? []).length === 0) return undefined;
  const names = new Set<string>();
  for (const sql of [stored!, loadable!]) {
    const rows = await allowed(ask(`${sql} LIMIT ${functionsMax + 1}`));
    if (rows === undefined || rows.length > functionsMax) return undefined;
    for (const row of rows) names.add(row.name!);
  }
  return names;
}

/** Without double quotes: with ANSI_QUOTES they are none. */
const seesAllRoutines =
  "SELECT PRIVILEGE_TYPE FROM information_schema.USER_PRIVILEGES WHERE PRIVILEGE_TYPE IN ('SELECT', 'SHOW_ROUTINE') AND GRANTEE = " +
  "CONCAT('''', SUBSTRING_INDEX(CURRENT_USER(), '@', 1), '''@''', SUBSTRING_INDEX(CURRENT_USER(), '@', -1), '''') LIMIT 1";

type Ask = (sql: string) => Promise<Row[]>;

function asker(connection: BackendConnection, timeoutMs: number): Ask {
  const untilMs = performance.now() + timeoutMs;
  return async (sql) => {
    const { rows, columns } = await connection.query(sql, Math.max(1, untilMs - performance.now()));
    return rows.map((row) => Object.fromEntries(row.map((value, index) => [columns[index]!, value?.toString() ?? ''])));
  };
}

/** Undefined where the server refuses: an error of ours is none of the connection. */
async function allowed(rows: Promise<Row[]>): Promise<Row[] | undefined> {
  try {
    return await rows;
  } catch (error) {
    if (error instanceof MysqlError) return undefined;
    throw error;
  }
}

async function variable(ask: Ask, name: string): Promise<string | undefined> {
  return (await ask(`SHOW GLOBAL VARIABLES LIKE '${name}'`))[0]?.Value;
}

async function galeraStatus(ask: Ask): Promise<{ uuid?: string; notReady?: string } | undefined> {
  if (!isOn(await variable(ask, 'wsrep_on'))) return undefined;
  const rows = await ask("SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_cluster_state_uuid', 'wsrep_ready', 'wsrep_cluster_status')");
  const status = new Map(rows.map((row) => [row.Variable_name!.toLowerCase(), row.Value!]));
  const uuid = status.get('wsrep_cluster_state_uuid')?.toLowerCase() ?? '';
  return {
    ...(uuid !== '' && uuid !== noUuid && { uuid }),
    ...(status.get('wsrep_ready') !== 'ON' && { notReady: `Galera is not ready (${status.get('wsrep_cluster_status')})` }),
  };
}

/** MariaDB 12 has modes above ON. */
function isOn(value: string | undefined): boolean {
  return value !== undefined && value !== '' && value !== 'OFF' && value !== '0';
}

/** A member that has left its group may have become another one: then it has none. */
async function groupMember(ask: Ask): Promise<{ group?: string; notReady?: string } | undefined> {
  const group = (await variable(ask, 'group_replication_group_name')) ?? '';
  if (group === '') return undefined;
  const rows = await allowed(ask('SELECT MEMBER_STATE FROM performance_schema.replication_group_members WHERE MEMBER_ID = @@server_uuid'));
  const state = rows?.[0]?.MEMBER_STATE;
  return state === 'ONLINE' ? { group: group.toLowerCase() } : { notReady: `group replication: this member is ${state ?? 'unknown'}` };
}

async function replicaStatus(ask: Ask, mariadb: boolean, serverVersion: string): Promise<Pick<ServerFacts, 'source' | 'refused'>> {
  // MySQL 8.4 knows only the new words, 5.7 only the old ones.
  const statements = mariadb ? ['SHOW ALL SLAVES STATUS'] : ['SHOW REPLICA STATUS', 'SHOW SLAVE STATUS'];
  if (/^5\./.test(serverVersion)) statements.reverse();
  for (const statement of statements) {
    const rows = await allowed(ask(statement));
    if (rows === undefined) continue;
    // Several sources: what is here is no copy of any of them.
    const source = rows.length === 1 ? sourceOf(rows[0]!) : undefined;
    return { ...(source !== undefined && { source }), refused: [] };
  }
  return { refused: statements.slice(0, 1) };
}

function sourceOf(row: Row): ServerFacts['source'] {
  const value = (name: string): string | undefined => row[`Source_${name}`] ?? row[`Master_${name}`];
  const host = value('Host') ?? '';
  const port = Number(value('Port') ?? 0);
  if (host === '' || port === 0) return undefined;
  const uuid = value('UUID');
  const serverId = value('Server_Id');
  return { host, port, ...(uuid !== undefined && uuid !== '' && { uuid }), ...(serverId !== undefined && serverId !== '0' && { serverId }) };
}
