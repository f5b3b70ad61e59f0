import { Command } from '@binnacle/mysql-wire/command';
import { commandText } from '../files/record.js';
import type { ReplayedStatement } from './replayed-statement.js';

export interface ReplayFilters {
  /** Each empty: all. */
  readonly users: ReadonlySet<string>;
  /** As in the files, lower case: `query`, `stmtexecute`. */
  readonly commands: ReadonlySet<string>;
  readonly digests: ReadonlySet<string>;
}

/** Why a command is not sent. */
export type SkipReason = 'read-only' | 'filtered' | 'unprepared' | 'connection-lost' | 'unsupported' | 'kill';

/** They change nothing beyond their session. */
const reading: ReadonlySet<number> = new Set([Command.initDb, Command.fieldList, Command.statistics, Command.processInfo, Command.ping, Command.resetConnection, Command.changeUser]);
/** What they do is in their statements. */
const ofStatements: ReadonlySet<number> = new Set([
  Command.query, Command.stmtPrepare, Command.stmtExecute, Command.stmtBulkExecute, Command.stmtFetch, Command.stmtSendLongData, Command.stmtReset, Command.stmtClose,
]);
/** COM_SET_OPTION allows several statements in one text, which a read-only replay does without. */
const writing: ReadonlySet<number> = new Set([Command.createDb, Command.dropDb, Command.refresh, Command.setOption]);
/** A session without them would be another one: no filter by command or digest leaves them out. */
const keepingState: ReadonlySet<number> = new Set([Command.initDb, Command.stmtPrepare, Command.stmtClose, Command.setOption, Command.resetConnection, Command.changeUser]);
const kindsKeepingState: ReadonlySet<string> = new Set(['set', 'use', 'begin', 'commit', 'rollback']);

/** Whether a command is to be left out whatever state its session is in. */
export function reasonToSkip(command: number, statement: ReplayedStatement, user: string, filters: ReplayFilters, readOnly: boolean): SkipReason | undefined {
  if (filters.users.size > 0 && !filters.users.has(user)) return 'filtered';
  if (!passes(command, statement, filters) && !keepsState(command, statement)) return 'filtered';
  if (ofStatements.has(command)) {
    if (readOnly && command !== Command.stmtClose && refuses(command, statement)) return 'read-only';
    if (statement.endsServer) return 'unsupported';
    // Of a number alone, in a text of its own, it is known whom it means.
    return statement.kills && (command !== Command.query || statement.kill === undefined) ? 'kill' : undefined;
  }
  if (reading.has(command)) return undefined;
  if (!writing.has(command)) return 'unsupported';
  return readOnly ? 'read-only' : undefined;
}

function keepsState(command: number, statement: ReplayedStatement): boolean {
  return keepingState.has(command) || (command === Command.query && kindsKeepingState.has(statement.kind));
}

/** Nobody asked for it: it is sent because its session would be another one without it. */
export function isOnlyForState(command: number, statement: ReplayedStatement, filters: ReplayFilters): boolean {
  return (filters.commands.size > 0 || filters.digests.size > 0) && keepsState(command, statement) && !passes(command, statement, filters);
}

function passes(command: number, statement: ReplayedStatement, { commands, digests }: ReplayFilters): boolean {
  // Values that were sent ahead of an execution that never comes would stay at the server.
  const judged = command === Command.stmtSendLongData || command === Command.stmtReset ? Command.stmtExecute : command;
  if (commands.size > 0 && !commands.has(commandText(judged).toLowerCase())) return false;
  return digests.size === 0 || digests.has(statement.digest);
}

function refuses(command: number, statement: ReplayedStatement): boolean {
  if (statement.refusal !== undefined || statement.isSeveral === true) return true;
  // A text that prepares or executes another one is followed by its name: that is done for COM_QUERY alone.
  return command !== Command.query && (statement.prepares !== undefined || statement.executes !== undefined);
}
