import type { Backend } from '../backends/backend.js';
import type { BackendConnection } from '../connection/backend-connection.js';
import { MysqlError } from '../connection/mysql-error.js';
import { checkDialect, failure, holdAtRest, type MigrationDeps, type MoveResult } from './migrate.js';
import type { MovableSession } from './movable-session.js';
import { MoveRefused } from './move-refused.js';

/**
 * As TiDB offers it: the server writes the whole session down, prepared statements with their ids included, or says why it cannot; a token, signed by the certificate that
 * the servers of the cluster share, logs in elsewhere; and the other server reads it in. Never rejects.
 */
export async function migrateOnTidb(session: MovableSession, target: Backend, deps: MigrationDeps): Promise<MoveResult> {
  let next: BackendConnection | undefined;
  let heldAtMs: number | undefined;
  try {
    if (!deps.mayMove(session, target)) throw new MoveRefused('target', `nothing shows that ${target.id} belongs to the cluster of ${session.backend.backend.id}`);
    await holdAtRest(session, deps);
    heldAtMs = performance.now();
    const { answerMs, dialMs } = deps.timeouts;
    const [blocker] = session.state.blockers();
    if (blocker !== undefined) throw new MoveRefused(blocker.code, blocker.text);
    const { states, token } = await readStates(session.backend, answerMs);
    next = await deps.dial(session, target, { credential: { kind: 'tidb-token', token }, database: '' }, dialMs);
    checkDialect(session, next);
    await next.query(Buffer.concat([Buffer.from("SET SESSION_STATES '"), escaped(states), Buffer.from("'")]), answerMs).catch(refusal);
    const statements = new Map([...session.state.prepared].map(({ clientId }) => [clientId, session.statementIds.backendId(clientId, false)]));
    session.state.onMoved(next.statusFlags, false);
    session.swap(next, statements);
    return { result: 'moved', why: [], pauseMs: performance.now() - heldAtMs };
  } catch (error) {
    next?.close();
    const result = failure(error, heldAtMs === undefined ? 0 : performance.now() - heldAtMs);
    if (heldAtMs !== undefined) session.resume();
    return result;
  }
}

async function readStates(backend: BackendConnection, timeoutMs: number): Promise<{ states: Buffer; token: Buffer }> {
  const { rows, columns } = await backend.query('SHOW SESSION_STATES', timeoutMs).catch(refusal);
  const column = (name: string): Buffer | null | undefined => rows[0]?.[columns.findIndex((candidate) => candidate.toLowerCase() === name)];
  const states = column('session_states');
  const token = column('session_token');
  if (states === undefined || states === null) throw new MoveRefused('target', `${backend.backend.id} did not say what the session has`);
  if (token === undefined || token === null || token.length === 0) {
    throw new MoveRefused('login', `${backend.backend.id} gives no session token: set security.session-token-signing-cert and -key of TiDB`);
  }
  return { states, token };
}

/** TiDB says itself what keeps a session: temporary tables, locks, a transaction. */
function refusal(error: unknown): never {
  if (!(error instanceof MysqlError)) throw error;
  throw new MoveRefused('states', `error ${error.code}: ${error.message}`);
}

const quote = 0x27;
const backslash = 0x5c;

/** As TiProxy sends it: backslashes and single quotes behind a backslash. The states are JSON in UTF-8, where neither byte is a part of another character. */
function escaped(states: Buffer): Buffer {
  let count = 0;
  for (const byte of states) if (byte === quote || byte === backslash) count++;
  const text = Buffer.allocUnsafe(states.length + count);
  let at = 0;
  for (const byte of states) {
    if (byte === quote || byte === backslash) text[at++] = backslash;
    text[at++] = byte;
  }
  return text;
}
