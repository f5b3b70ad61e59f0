import { Command } from '@binnacle/mysql-wire/command';
import { StatusFlag } from '@binnacle/mysql-wire/status-flags';
import type { Backend } from '../backends/backend.js';
import { sameDialect } from '../connection/agreement.js';
import type { BackendConnection } from '../connection/backend-connection.js';
import type { Credential } from '../connection/credentials.js';
import { ConnectionLost, MysqlError } from '../connection/mysql-error.js';
import { readPosition, waitFor } from './causality.js';
import type { MovableSession } from './movable-session.js';
import { moveBlocker, moveBlockers, type MoveBlocker } from './move-blocker.js';
import { MoveRefused } from './move-refused.js';
import { leaveCounts, makeGround, rebuild, type Ground } from './rebuild.js';
import { readFacts, readSnapshot, type SessionFacts } from './session-snapshot.js';
import type { StoredCode, StoredCodeSurveys } from './stored-code.js';
import { migrateOnTidb } from './tidb-migration.js';

export interface MigrationTimeouts {
  /** For the connection to the target and the login there. */
  readonly dialMs: number;
  /** For the session's next boundary at which it can move. */
  readonly holdMs: number;
  /** For each question to a server. */
  readonly answerMs: number;
  /** For the target to apply what the session may have seen. */
  readonly causalityMs: number;
}

export interface MigrationDeps {
  /** Logs in as the session's user did: same user, collation, attributes and wanted capabilities, and into `database`. */
  dial(session: MovableSession, target: Backend, login: { readonly credential: Credential; readonly database: string }, timeoutMs: number): Promise<BackendConnection>;
  /** Whether the target has the same data and takes what the session may do. */
  mayMove(session: MovableSession, target: Backend): boolean;
  readonly timeouts: MigrationTimeouts;
  readonly surveys: StoredCodeSurveys;
  /** What the health check's account sees, where the session's own does not see all; absent without such an account. */
  storedCode?(backend: Backend): Promise<StoredCode>;
  /** The operator says that triggers, views and defaults take no locks and draw from no sequences. */
  readonly trustStoredCode: boolean;
}

export interface MoveResult {
  /** `refused`: it cannot move now; `failed`: it was tried, and the session stayed as it was; `lost`: the session ended meanwhile. */
  readonly result: 'moved' | 'refused' | 'failed' | 'lost';
  readonly why: readonly { readonly code: string; readonly text: string }[];
  /** How long the client's commands were kept back; 0 if they never were. */
  readonly pauseMs: number;
}

const refused = (why: readonly MoveBlocker[]): MoveResult => ({ result: 'refused', why: why.map(({ code, text }) => ({ code, text })), pauseMs: 0 });

/**
 * Moves a session to another backend: logs in there first, while it goes on; then holds it at a boundary, builds there what it has, compares, and swaps. Whatever goes wrong before the swap, the
 * session goes on where it was. Never rejects.
 */
export async function migrate(session: MovableSession, target: Backend, deps: MigrationDeps): Promise<MoveResult> {
  const lasting = session.state.blockers().filter(({ untilNextBoundary }) => !untilNextBoundary);
  if (session.backend.kind === 'tidb') return lasting.length > 0 ? refused(lasting) : migrateOnTidb(session, target, deps);
  if (session.credential === undefined) lasting.push(moveBlocker('credential'));
  if (lasting.length > 0) return refused(lasting);
  let next: BackendConnection | undefined;
  try {
    next = await dialTarget(session, session.credential!, target, deps);
    const ground = await makeGround(next, deps.timeouts.answerMs);
    await checkStoredCode(session, next, ground, deps);
    await holdAtRest(session, deps);
    return await moveHeld(session, next, ground, deps);
  } catch (error) {
    next?.close();
    return failure(error, 0);
  }
}

/** At a boundary at which nothing passing keeps it, or, so that it can be said, anything lasting. */
export async function holdAtRest(session: MovableSession, deps: MigrationDeps): Promise<void> {
  const { state } = session;
  await session.hold(deps.timeouts.holdMs, () => state.atRest).catch((error: unknown) => {
    const [blocker] = state.blockers();
    throw new MoveRefused(blocker?.code ?? 'busy', blocker?.text ?? `${moveBlockers.busy}`, { cause: error });
  });
}

export async function dialTarget(session: MovableSession, credential: Credential, target: Backend, deps: MigrationDeps): Promise<BackendConnection> {
  if (!deps.mayMove(session, target)) throw new MoveRefused('target', `nothing shows that ${target.id} has the data of ${session.backend.backend.id} and takes what the session may do`);
  const next = await deps.dial(session, target, { credential, database: session.state.database }, deps.timeouts.dialMs);
  try {
    checkDialect(session, next);
    await checkWritable(session, next, deps.timeouts.answerMs);
    return next;
  } catch (error) {
    next.close();
    throw error;
  }
}

/** The bytes on both sides of a session go on to mean the same. */
export function checkDialect({ backend }: MovableSession, next: BackendConnection): void {
  if (next.kind === backend.kind && sameDialect(next.capabilities, backend.capabilities)) return;
  throw new MoveRefused('capabilities', `${next.backend.id} (${next.serverVersion}) speaks another dialect of the protocol than ${backend.backend.id}`);
}

/** The view may be some seconds old, and a switchover is when servers change their minds. */
async function checkWritable(session: MovableSession, next: BackendConnection, timeoutMs: number): Promise<void> {
  if (session.backend.backend.readOnly) return;
  const { rows } = await next.query('SELECT @@global.read_only LIMIT 1', timeoutMs);
  if (rows[0]?.[0]?.toString('latin1') !== '0') throw new MoveRefused('target', `${next.backend.id} is read-only`);
}

/** Locks that a trigger or a view took would be lost without a word. Only sessions that used tables can have any. */
export async function checkStoredCode(session: MovableSession, next: BackendConnection, { facts }: Ground, deps: MigrationDeps, serverIsGone = false): Promise<void> {
  if (deps.trustStoredCode || !session.state.usedTables) return;
  const own = await deps.surveys.of(next, facts.account, deps.timeouts.answerMs);
  const others = own.kind === 'unknown' ? await deps.storedCode?.(next.backend).catch(() => undefined) : undefined;
  const code = others === undefined || others.kind === 'unknown' ? own : others;
  if (serverIsGone && code.kind === 'harmless' && code.userVariables !== undefined) throw new MoveRefused('user-variables', `only the server knew user variables, and ${code.userVariables} may have set some`);
  if (code.kind === 'risky') throw new MoveRefused('stored-code', `${moveBlockers['stored-code']}: ${code.name}`);
  if (code.kind === 'unknown') throw new MoveRefused('stored-code', `${moveBlockers['stored-code']}: ${code.missing}. Grant it, set proxy.health-user to an account that may see them, or proxy.trust-stored-code`);
}

async function moveHeld(session: MovableSession, next: BackendConnection, ground: Ground, deps: MigrationDeps): Promise<MoveResult> {
  const { state, backend } = session;
  const { answerMs, causalityMs } = deps.timeouts;
  const heldAtMs = performance.now();
  const pauseMs = (): number => performance.now() - heldAtMs;
  let facts: SessionFacts | undefined;
  try {
    await knowStatus(session, answerMs);
    const blockers = state.blockers();
    if (blockers.length > 0) throw new MoveRefused(blockers[0]!.code, blockers[0]!.text);
    facts = await readFacts(backend, state.held.doubtfulLocks, answerMs);
    if (facts.locks.length > 0) throw new MoveRefused('advisory-lock', `${moveBlockers['advisory-lock']}: ${facts.locks.join(', ')}`);
    const position = await readPosition(backend, next.backend.group, answerMs);
    const [snapshot] = await both(readSnapshot(backend, facts, answerMs), waitFor(next, position, causalityMs));
    if (snapshot.variables.values.get('session_track_system_variables') !== '*') throw new MoveRefused('not-tracked', moveBlockers['not-tracked']);
    const { statements, diagnosticsLost } = await rebuild(next, ground, snapshot, state, next.serverVersion === backend.serverVersion, answerMs);
    if (backend.channel.closed) throw new ConnectionLost(`${backend.backend.id} closed the connection`);
    state.onMoved(next.statusFlags, diagnosticsLost);
    session.swap(next, statements);
    return { result: 'moved', why: [], pauseMs: pauseMs() };
  } catch (error) {
    next.close();
    await leaveAsItWas(session, facts, answerMs);
    const result = failure(error, pauseMs());
    session.resume();
    return result;
  }
}

/** Two servers at once. Whatever comes of one, the other has answered before anything else is asked. */
async function both<A, B>(one: Promise<A>, other: Promise<B>): Promise<[A, B]> {
  await Promise.allSettled([one, other]);
  return Promise.all([one, other]);
}

/** An ERR says nothing of the transaction that it may have left open; a ping's OK does. */
async function knowStatus({ state, backend }: MovableSession, timeoutMs: number): Promise<void> {
  if (!state.statusDoubtful) return;
  const { statusFlags } = await backend.command(Buffer.from([Command.ping]), timeoutMs);
  state.statusIs(statusFlags);
  if ((statusFlags & StatusFlag.inTransaction) !== 0) throw new MoveRefused('transaction', moveBlockers.transaction);
}

/** Asking for the row counts has ended them. */
async function leaveAsItWas({ state, backend }: MovableSession, facts: SessionFacts | undefined, timeoutMs: number): Promise<void> {
  if (facts === undefined || backend.channel.closed) return;
  if (state.held.locksDoubtful) state.held.locksAre(facts.locks);
  state.diagnostics.lost(!(await leaveCounts(backend, facts, timeoutMs).catch(() => false)));
}

export function failure(error: unknown, pauseMs: number): MoveResult {
  if (error instanceof MoveRefused) return { result: pauseMs === 0 || error.code === 'states' || error.code in moveBlockers ? 'refused' : 'failed', why: [{ code: error.code, text: error.message }], pauseMs };
  if (error instanceof MysqlError) return { result: 'failed', why: [{ code: 'login', text: `error ${error.code}: ${error.message}` }], pauseMs };
  if (error instanceof ConnectionLost) return { result: 'failed', why: [{ code: 'lost', text: error.message }], pauseMs };
  return { result: 'failed', why: [{ code: 'failed', text: (error as Error).message }], pauseMs };
}
