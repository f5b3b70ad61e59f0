import { Command } from '@binnacle/mysql-wire/command';
import { unreplayableVariables } from '@binnacle/mysql-wire/session-effects';
import { leaveCounts } from '../../migration/rebuild.js';
import { readFacts } from '../../migration/session-snapshot.js';
import type { SessionState } from '../../migration/session-state.js';
import { assignments } from '../../migration/session-variables.js';
import { readUserVariables, type UserVariable, userVariableStatements } from '../../migration/user-variables.js';
import type { Session } from '../../session/session.js';
import { valuesHint } from './left-out.js';

/** A command that gives a new session something that an older one had. */
export interface OriginCommand {
  readonly command: number;
  /** Without the command's byte. */
  readonly payload: Buffer;
  /** Of COM_STMT_PREPARE: the id that the client knows. */
  readonly statementId: number;
}

/** What a session had before its capture began. */
export interface SessionOrigin {
  readonly commands: readonly OriginCommand[];
  /** What of it no command rebuilds: codes of `moveBlockers`, and `untracked`, `user-variables`, `charset`. */
  readonly lacks: readonly string[];
  /** Types of parameters, two bytes each, that the client has named before and will not name again, by statement id. */
  readonly types: ReadonlyMap<number, Buffer>;
}

/** What only the server of the session knows. */
export interface ServersPart {
  readonly userVariables: readonly string[];
  /** Empty: none. */
  readonly role: string;
  /** Some have names or values that a secret may have: they are left out. */
  readonly isWhole: boolean;
}

const command = (code: number, payload: string | Buffer, statementId = 0): OriginCommand => ({ command: code, payload: Buffer.from(payload as string, 'latin1'), statementId });
const query = (text: string): OriginCommand => command(Command.query, text);

/** Of a session that is at a boundary, outside a transaction. */
export function sessionOrigin(session: Session, servers: ServersPart | undefined): SessionOrigin {
  const { state, witness } = session;
  if (!witness.tracked) {
    const database = session.database === '' ? [] : [command(Command.initDb, Buffer.from(session.database))];
    const prepared = [...witness.preparedTexts()].map(([id, text]) => command(Command.stmtPrepare, text, id));
    return { commands: [...database, ...prepared], lacks: ['untracked'], types: new Map() };
  }
  const lacks = new Set<string>(state.blockers().filter(({ untilNextBoundary }) => !untilNextBoundary).map(({ code }) => code));
  if (servers?.isWhole !== true && state.onServerOnly.has('user variables')) lacks.add('user-variables');
  if (state.serversCharset && state.setNames === undefined) lacks.add('charset');
  const commands: OriginCommand[] = [];
  if (state.database !== '') commands.push(command(Command.initDb, Buffer.from(state.database)));
  for (const statement of servers?.userVariables ?? []) commands.push(command(Command.query, Buffer.from(statement)));
  if (servers !== undefined && servers.role !== '') commands.push(query(`SET ROLE \`${servers.role.replaceAll('`', '``')}\``));
  if (state.setNames !== undefined) commands.push(query(state.setNames));
  const set = new Map<string, string | null>([...state.setByClient].filter(([name]) => !keptBack.has(name) && !unreplayableVariables.has(name) && !name.startsWith('session_track_')));
  const variables = assignments({ values: set, types: new Map() });
  if (variables !== '') commands.push(query(`SET SESSION ${variables}`));
  const types = new Map<number, Buffer>();
  commands.push(...preparing(state, types));
  if (state.multiStatements !== undefined) commands.push(command(Command.setOption, Buffer.from([state.multiStatements ? 0 : 1, 0])));
  const autocommit = state.setByClient.get('autocommit');
  if (autocommit !== undefined) commands.push(query(`SET SESSION autocommit=${/^(?:on|1)$/i.test(autocommit) ? 1 : 0}`));
  return { commands, lacks: [...lacks], types };
}

/** Said at their place: the mode behind the statements that were prepared in another one, autocommit last. */
const keptBack: ReadonlySet<string> = new Set(['sql_mode', 'autocommit']);

/** Each within the schema and the mode that it was prepared in; then those of now. */
function* preparing(state: SessionState, types: Map<number, Buffer>): Generator<OriginCommand> {
  let { database } = state;
  // Where the client has never set it, it is the server's own, which may be another one when this is played.
  let sqlMode = state.setByClient.has('sql_mode') ? undefined : state.sqlMode;
  const within = function* (wanted: { readonly database: string; readonly sqlMode: string }): Generator<OriginCommand> {
    if (wanted.database !== database) yield command(Command.initDb, Buffer.from(wanted.database));
    if (wanted.sqlMode !== sqlMode) yield query(`SET SESSION sql_mode='${wanted.sqlMode}'`);
    ({ database, sqlMode } = wanted);
  };
  for (const { clientId, statement, within: of, types: named } of state.prepared) {
    yield* within(of);
    yield command(Command.stmtPrepare, statement.text, clientId);
    if (named !== undefined) types.set(clientId, named);
  }
  yield* within({ database: state.database, sqlMode: state.sqlMode });
}

/** Whether the server has to be asked. */
export function needsServer({ state, witness }: Session): boolean {
  return witness.tracked && (state.onServerOnly.has('user variables') || state.onServerOnly.has('a role'));
}

/** A text may be one that is to be executed. */
function tells({ name, value, charset }: UserVariable): boolean {
  const texts = [name, charset === '' ? '' : (value ?? '')].map((hex) => Buffer.from(hex, 'hex'));
  return texts.some((text) => valuesHint(text, 0, text.length));
}

/** Of a session that is held. What it would say of the rows it has found and changed is as it was; a value that cannot be read as it is counts as not known. */
export async function askServer({ backend, state }: Session, timeoutMs: number): Promise<ServersPart> {
  const facts = await readFacts(backend, [], timeoutMs);
  try {
    const readsUtf8 = /^utf8/.test(state.setByClient.get('character_set_client') ?? 'utf8');
    const variables = state.onServerOnly.has('user variables') ? await readUserVariables(backend, readsUtf8, timeoutMs) : [];
    const harmless = variables.filter((variable) => !tells(variable));
    return { isWhole: harmless.length === variables.length, userVariables: userVariableStatements(harmless), role: Buffer.from(facts.role, 'hex').toString().replace(/^NONE$/, '') };
  } finally {
    state.diagnostics.lost(!(await leaveCounts(backend, facts, timeoutMs).catch(() => false)));
  }
}
