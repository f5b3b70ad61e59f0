import type { Backend } from '../backends/backend.js';
import type { BackendConnection } from '../connection/backend-connection.js';
import { MysqlError } from '../connection/mysql-error.js';
import { waitFor } from './causality.js';
import { checkStoredCode, dialTarget, failure, type MigrationDeps } from './migrate.js';
import type { MovableSession } from './movable-session.js';
import { MoveRefused } from './move-refused.js';
import { layCharsets, makeGround, rebuild } from './rebuild.js';
import type { SessionSnapshot } from './session-snapshot.js';

export interface ReconnectDeps extends MigrationDeps {
  /** Best first, without the one that is gone. */
  targets(session: MovableSession): readonly Backend[];
  /** Whether a server greets there. */
  greets(backend: Backend): Promise<boolean>;
}

export interface Reconnection {
  readonly result: 'reconnected' | 'failed' | 'unmovable';
  readonly why: readonly { readonly code: string; readonly text: string }[];
}

/** Servers say it to idle sessions when they stop. */
const serverShutdown = 1053;
/** How many other servers are tried. */
const targetsMax = 3;

/**
 * The backend of an idle session is gone, and with it everything that only it knew. A session of which all is known without it gets a new login elsewhere; what its last statement left, and
 * what LAST_INSERT_ID() said, is forgotten and says so when asked. Others end, as without a proxy. A server that closed this one connection and lives had its reasons (KILL, wait_timeout):
 * then the session ends too. Forwarding stands still meanwhile. Never rejects; after `reconnected` the session has been swapped.
 *
 * @param errorCode with which the server announced its end; 0: it did not
 */
export async function reconnect(session: MovableSession, errorCode: number, deps: ReconnectDeps): Promise<Reconnection> {
  const why = await unmovable(session, errorCode, deps);
  if (why !== undefined) return { result: 'unmovable', why: [why] };
  let last: Reconnection = { result: 'failed', why: [{ code: 'target', text: 'no other backend has the data of this session' }] };
  for (const target of deps.targets(session).slice(0, targetsMax)) {
    let next: BackendConnection | undefined;
    try {
      next = await dialTarget(session, session.credential!, target, deps);
      await restore(session, next, deps);
      return { result: 'reconnected', why: [] };
    } catch (error) {
      next?.close();
      last = { result: 'failed', why: failure(error, 1).why };
    }
  }
  return last;
}

async function unmovable(session: MovableSession, errorCode: number, deps: ReconnectDeps): Promise<Reconnection['why'][number] | undefined> {
  const { state, backend } = session;
  const reason = (code: string, text: string): Reconnection['why'][number] => ({ code, text });
  if (backend.kind === 'tidb') return reason('target', 'what the session has was known to its server alone');
  if (session.credential === undefined) return reason('credential', 'the proxy has no secret to log this user in again');
  const [blocker] = state.blockers().filter(({ code }) => code !== 'diagnostics');
  if (blocker !== undefined) return blocker;
  if (state.statusDoubtful) return reason('transaction', 'the last statement failed, and may have left a transaction open');
  if (state.held.doubtfulLocks.length > 0) return reason('advisory-lock', 'an advisory lock may have been held');
  if (state.onServerOnly.size > 0) return reason('lost', `only the server knew ${[...state.onServerOnly].join(', ')}`);
  if (errorCode !== 0 && errorCode !== serverShutdown) return reason('lost', `the server ended the connection with error ${errorCode}`);
  if (errorCode === 0 && (await deps.greets(backend.backend))) return reason('lost', 'the server ended the connection, and lives');
  return undefined;
}

async function restore(session: MovableSession, next: BackendConnection, deps: ReconnectDeps): Promise<void> {
  const { state, backend } = session;
  const { answerMs, causalityMs } = deps.timeouts;
  const ground = await makeGround(next, answerMs);
  const known = await layCharsets(next, ground, state, answerMs);
  await checkStoredCode(session, next, ground, deps, true);
  await seesOwnWrites(session, next, answerMs, causalityMs);
  const values = new Map(known.values);
  for (const [name, value] of state.setByClient) {
    if (!values.has(name) && !/^(?:pseudo|session_track)/.test(name)) continue;
    values.set(name, value);
    const alias = aliases.get(name);
    if (alias !== undefined && values.has(alias)) values.set(alias, value);
  }
  // What was known of the session from its beginning has to be so here, whether the client has set it or not.
  values.set('sql_mode', state.sqlMode);
  for (const [name, value] of tracked) values.set(name, value);
  const facts = { ...ground.facts, database: Buffer.from(state.database).toString('hex').toUpperCase(), lastInsertId: '0', foundRows: 0, rowCount: 0 };
  const snapshot: SessionSnapshot = { facts, variables: { values, types: ground.variables.types }, userVariables: [] };
  const { statements } = await rebuild(next, ground, snapshot, state, next.serverVersion === backend.serverVersion, answerMs);
  state.onMoved(next.statusFlags, true);
  state.diagnostics.forgetsInsertId = state.insertIdLeft;
  session.swap(next, statements);
}

/** Two names of one variable on MariaDB, of which only one is reported. */
const aliasPairs = [
  ['tx_isolation', 'transaction_isolation'],
  ['tx_read_only', 'transaction_read_only'],
  ['long_query_time', 'log_slow_query_time'],
  ['slow_query_log', 'log_slow_query'],
  ['min_examined_row_limit', 'log_slow_min_examined_row_limit'],
  ['storage_engine', 'default_storage_engine'],
] as const;
const aliases = new Map<string, string>(aliasPairs.flatMap(([one, other]) => [[one, other], [other, one]] as const));

/** As `armTrackers` sets them. */
const tracked = [
  ['session_track_system_variables', '*'],
  ['session_track_schema', 'ON'],
  ['session_track_state_change', 'ON'],
  ['session_track_transaction_info', 'CHARACTERISTICS'],
] as const;

/** What the session has committed was acknowledged to it. Galera waits until this node has applied all that the cluster has. */
async function seesOwnWrites({ state, backend }: MovableSession, next: BackendConnection, answerMs: number, causalityMs: number): Promise<void> {
  if (next.backend.group.startsWith('galera:')) {
    try {
      await next.query('SET SESSION wsrep_sync_wait=1', answerMs);
      await next.query('SELECT COUNT(*) FROM information_schema.SCHEMATA LIMIT 1', answerMs + causalityMs);
    } catch (error) {
      if (!(error instanceof MysqlError)) throw error;
      throw new MoveRefused('causality', `${next.backend.id} is not in step with its Galera cluster: error ${error.code}`);
    }
    await next.query('SET SESSION wsrep_sync_wait=DEFAULT', answerMs);
  } else if (backend.kind === 'mariadb' && state.lastGtid !== '') await waitFor(next, { kind: 'mariadb', gtids: state.lastGtid }, causalityMs);
}
