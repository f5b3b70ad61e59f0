import type { BackendKind } from '../backends/backend.js';
import { Capability, has } from '@binnacle/mysql-wire/capabilities';
import { isLexerSafeCharset, isLexerSafeCollation } from '@binnacle/mysql-wire/charset';
import { Command, commandName, isAnswered } from '@binnacle/mysql-wire/command';
import { lexerMode, type LexerMode } from '@binnacle/mysql-wire/lexer';
import type { OkPacket } from '@binnacle/mysql-wire/ok-packet';
import { queryTextStart } from '@binnacle/mysql-wire/query-text';
import { unreplayableVariables } from '@binnacle/mysql-wire/session-effects';
import { StatusFlag } from '@binnacle/mysql-wire/status-flags';
import { forReplication, harmless } from './command-classes.js';
import { Diagnostics } from './diagnostics.js';
import { HeldNames } from './held-names.js';
import { moveBlocker, type MoveBlocker, type MoveBlockerCode } from './move-blocker.js';
import { PreparedStatements, type PreparedStatement, type PreparedWithin } from './prepared-statements.js';
import { explained, histories, isMisspelt, setNames, wideCharsets } from './reported-changes.js';
import { examineInEveryMode, type ExaminedStatement, type StatementExaminer } from './statement-effects.js';

/** What a session's state depends on and what does not change during it. */
export interface SessionStateOptions {
  /** TiDB says itself what a session holds, and then only what its protocol shows is followed. */
  readonly kind: BackendKind;
  /** Agreed upon with the backend: they decide where the text of COM_QUERY begins. */
  readonly capabilities: number;
  /** Of the login. */
  readonly collation: number;
  readonly database: string;
  readonly statusFlags: number;
  /** Of the settings, lower case, with or without their schema. */
  readonly allowedFunctions: ReadonlySet<string>;
  readonly allowedProcedures: ReadonlySet<string>;
  /** One for all sessions of a worker. */
  readonly examiner: StatementExaminer;
  /** `Backend.storedFunctions` of the backend of the moment. */
  storedFunctions(): ReadonlySet<string> | undefined;
}

/** Texts of statements and types of parameters lie within. */
const textBytesMax = 65_536;
const executeBytesMax = 4_096;
const otherBytesMax = 1_024;

/** What a command under way will mean once its result is here. */
interface Waiting {
  /** Its number among the answered commands. */
  readonly at: number;
  readonly command: number;
  readonly statement: ExaminedStatement | undefined;
  readonly prepared: PreparedStatement | undefined;
  readonly argument: number;
}

/**
 * What a session has on its backend, followed by what passes. `Session` calls it for every command:
 *
 *     capture(SessionState.commandBytesMax(command));      // at CommandEvent.begin
 *     state.onCommand(command, payload, start, end, cut);  // at CommandEvent.end, before the command is forwarded; payload[start] is its code
 *     state.onPrepared(clientId, parameterCount, columnCount);  // at ResponseEvent.prepared: the id that the client is told
 *     state.onOk(ok) | state.onUnreadOk();                 // whenever tracker.sessionChanged: the decoded packet, or that it was cut
 *     state.onResult(errorCode, statusFlags, warnings, tracker.affectedRows, tracker.insertId);  // at ResponseEvent.complete, after onOk
 *
 * Statement ids are always those of the client. When `needsArming` has become true at an `onResult` (COM_RESET_CONNECTION, COM_CHANGE_USER),
 * `armTrackers` has to run before the next command is forwarded. After a successful COM_CHANGE_USER `onUserChanged` comes instead of `onResult`.
 *
 * When `forgets` is true a move has lost what the last statement left, and a next command of which `asksForgotten(payload, start, end)` is true
 * has to be refused with the error `forgottenError`: everything else is forwarded, and ends it.
 */
export class SessionState {
  readonly options: SessionStateOptions;
  readonly prepared = new PreparedStatements();
  readonly held = new HeldNames();
  needsArming = false;
  /** The server reports changes; as long as it does not, it is about to, unless it cannot. */
  armed = false;
  untrackable = false;
  /** System variables that were reported as changed since the trackers are armed, with their values. */
  readonly setByClient = new Map<string, string>();
  /** What only the server knows, and nobody any more when it is gone: `readable` things of a live one. */
  readonly onServerOnly = new Set<'user variables' | 'a role' | 'collations'>();
  /** The SET NAMES that the character sets come from; undefined: the login's, or with `serversCharset` the server's own after a reset. */
  setNames: string | undefined;
  serversCharset = false;
  /** An id was generated: LAST_INSERT_ID() says something. */
  insertIdLeft = false;
  /** GTID of the last own write, where MariaDB reports it. */
  lastGtid = '';
  readonly diagnostics = new Diagnostics();
  /** Statements were sent that may have run triggers, views or defaults. */
  usedTables = false;
  /** The last result was an error: the status flags are older than it. */
  statusDoubtful = false;
  statusFlags: number;
  database: string;
  sqlMode = '';
  /** Quotes in its statements cannot be told from halves of characters. */
  unsafeCharset = false;
  /** Whether COM_SET_OPTION has set multi-statements to other than what the login said. */
  multiStatements: boolean | undefined;

  #mode: LexerMode = { ansiQuotes: false, noBackslashEscapes: false };
  #sent = 0;
  #answered = 0;
  #waiting: Waiting[] = [];
  #blocked: Map<MoveBlockerCode, string> | undefined;
  #collation: number;
  #wideResults = false;
  /** The SET NAMES that they come from, or a name that never comes again. */
  #charsets = '';
  #charsetChanges = 0;
  #within: PreparedWithin | undefined;
  #pendingCharacteristics = false;
  #lockedTables = false;
  #changed = false;
  #otherwiseReported = false;
  #leavesRowCount = false;
  #clearsWarnings = false;
  #histories: Set<string> | undefined;

  constructor(options: SessionStateOptions) {
    this.options = options;
    this.#collation = options.collation;
    this.database = options.database;
    this.statusFlags = options.statusFlags;
    this.unsafeCharset = !isLexerSafeCollation(options.collation);
  }

  /** How many bytes of a command are to be kept for `onCommand`, its code included. */
  static commandBytesMax(command: number): number {
    if (command === Command.query || command === Command.stmtPrepare) return textBytesMax;
    return command === Command.stmtExecute || command === Command.stmtBulkExecute ? executeBytesMax : otherBytesMax;
  }

  onCommand(command: number, payload: Buffer, start: number, end: number, cut: boolean): void {
    if (isAnswered(command)) this.#sent++;
    this.diagnostics.commandSent();
    this.#clearsWarnings = false;
    switch (command) {
      case Command.query:
      case Command.stmtPrepare:
        return this.#text(command, payload, start, end, cut);
      case Command.stmtExecute:
      case Command.stmtBulkExecute:
        return this.#execute(command, payload, start, end, cut);
      case Command.stmtSendLongData:
      case Command.stmtClose:
      case Command.stmtReset:
      case Command.stmtFetch:
        return this.#ofStatement(command, end - start < 5 ? 0 : payload.readUInt32LE(start + 1));
      case Command.setOption:
        return this.#wait(command, undefined, undefined, end - start < 3 ? -1 : payload.readUInt16LE(start + 1));
      case Command.resetConnection:
        return this.#wait(command);
      case Command.initDb:
        this.#leavesRowCount = false;
        return;
      default:
        if (forReplication.has(command)) this.#block('replication');
        else if (!harmless.has(command)) this.#block('not-understood', commandName(command));
    }
  }

  #text(command: number, payload: Buffer, start: number, end: number, cut: boolean): void {
    const statement = this.options.kind === 'tidb' && command === Command.query ? undefined : this.#examine(command, payload, start, end, cut);
    if (command === Command.stmtPrepare) {
      this.#leavesRowCount = false;
      this.#wait(command, statement);
      return;
    }
    this.#leavesRowCount = statement?.leavesRowCount ?? true;
    this.#clearsWarnings = statement?.clearsWarnings ?? false;
    if (statement !== undefined) this.#runs(command, statement, undefined);
  }

  #examine(command: number, payload: Buffer, start: number, end: number, cut: boolean): ExaminedStatement | undefined {
    if (cut) this.#block('not-read', `it is longer than ${textBytesMax} bytes`);
    if (this.unsafeCharset) this.#block('not-read', 'its character set allows no reading');
    if (cut || this.unsafeCharset) return undefined;
    let textStart = start + 1;
    try {
      if (command === Command.query) textStart = queryTextStart(payload, this.options.capabilities, start, end);
    } catch {
      this.#block('not-read', 'its query attributes are malformed');
      return undefined;
    }
    const { examiner } = this.options;
    const functions = this.options.storedFunctions();
    // Another command is still under way: it may be one that changes what quotes mean.
    if (this.#sent - this.#answered > 1) return examineInEveryMode(examiner, payload.toString('latin1', textStart, end), functions);
    if (command === Command.query) return examiner.examineQuery(payload, textStart, end, this.#mode, functions);
    return examiner.examine(payload.toString('latin1', textStart, end), this.#mode, functions);
  }

  #runs(command: number, statement: ExaminedStatement, prepared: PreparedStatement | undefined, argument = 0): void {
    if (statement.usesTables) this.usedTables = true;
    if (!statement.ordinary || argument !== 0) this.#wait(command, statement, prepared, argument);
  }

  #execute(command: number, payload: Buffer, start: number, end: number, cut: boolean): void {
    const clientId = end - start < 5 ? 0 : payload.readUInt32LE(start + 1);
    const preparing = this.#waiting.at(-1);
    const prepared = this.prepared.get(clientId);
    if (preparing?.command === Command.stmtPrepare) {
      // Its statement's answer is not here yet: MariaDB's clients send both at once.
      this.#leavesRowCount = true;
      if (preparing.statement !== undefined) this.#runs(command, preparing.statement, undefined);
      if (prepared === undefined) return this.#block('parameter-types', 'it was executed before it was prepared');
    }
    if (prepared === undefined) {
      if (this.prepared.overflowed) this.#block('statements');
      return;
    }
    if (command === Command.stmtBulkExecute) this.prepared.bulkExecuted(prepared, payload, start, end, cut);
    else this.prepared.executed(prepared, payload, start, end, cut, has(this.options.capabilities, Capability.queryAttributes));
    const cursorFlags = command === Command.stmtExecute && end - start > 5 ? payload[start + 5]! & 7 : 0;
    this.#leavesRowCount = prepared.statement.leavesRowCount;
    this.#clearsWarnings = prepared.statement.clearsWarnings;
    this.#runs(command, prepared.statement, prepared, cursorFlags !== 0 || prepared.cursor ? 1 : 0);
  }

  #ofStatement(command: number, clientId: number): void {
    const prepared = this.prepared.get(clientId);
    if (command === Command.stmtClose) this.prepared.close(clientId);
    else if (prepared === undefined) return;
    else if (command === Command.stmtSendLongData) this.prepared.setLongData(prepared, true);
    else this.#wait(command, undefined, prepared);
  }

  #wait(command: number, statement?: ExaminedStatement, prepared?: PreparedStatement, argument = 0): void {
    this.#waiting.push({ at: this.#sent, command, statement, prepared, argument });
  }

  onPrepared(clientStatementId: number, parameterCount: number, columnCount: number): void {
    const waiting = this.#waiting[0];
    if (waiting?.at !== this.#answered + 1 || waiting.command !== Command.stmtPrepare) return;
    if (waiting.statement === undefined) this.prepared.overflowed = true;
    else this.prepared.add(clientStatementId, waiting.statement, parameterCount, columnCount, this.#preparedWithin());
  }

  #preparedWithin(): PreparedWithin {
    const { database, sqlMode } = this;
    const within = this.#within;
    if (within?.database === database && within.sqlMode === sqlMode && within.charsets === this.#charsets) return within;
    return (this.#within = { database, sqlMode, charsets: this.#charsets });
  }

  onOk(ok: OkPacket): void {
    for (const change of ok.changes) {
      if (change.kind === 'systemVariable') {
        if (change.name !== 'last_gtid') this.#otherwiseReported = true;
        this.#variable(change.name, change.value);
      } else if (change.kind === 'schema') {
        this.#otherwiseReported = true;
        this.database = change.name;
      } else if (change.kind === 'state') this.#changed ||= change.changed;
      else if (change.kind === 'transactionCharacteristics') this.#pendingCharacteristics = change.statements !== '';
      else if (change.kind === 'transactionState') this.#lockedTables = change.state[7] !== '_';
      else if (change.kind === 'unknown') this.#block('unknown-change');
    }
  }

  /** `armTrackers` has run: what it set is not of the client's making, and no command reported it. */
  onArmed(): void {
    this.armed = true;
    this.setByClient.clear();
    this.onServerOnly.clear();
    this.setNames = undefined;
    this.#changed = false;
    this.#otherwiseReported = false;
    this.#within = undefined;
  }

  #variable(name: string, value: string): void {
    if (name === 'last_gtid') {
      this.lastGtid = value;
      return;
    }
    this.setByClient.set(name, value);
    // However it was written, and where the assignment stood in a trigger too.
    if (unreplayableVariables.has(name)) this.#block('unreplayable-variable', name);
    if (name === 'sql_mode') {
      this.sqlMode = value;
      this.#mode = lexerMode(value);
    } else if (name === 'character_set_client') {
      this.#charsetsChange();
      this.unsafeCharset = !isLexerSafeCharset(value);
      // Statements behind this one were read as if it were another.
      if (this.unsafeCharset && this.#sent - this.#answered > 1) this.#block('not-read', 'its character set allows no reading');
    } else if (name === 'character_set_results') this.#wideResults = wideCharsets.has(value.toLowerCase());
    else if (name === 'character_set_connection' || name === 'collation_connection') this.#charsetsChange();
    else if (histories.has(name)) {
      if (/^(?:on|1|enabled=on.*)$/i.test(value)) (this.#histories ??= new Set()).add(name);
    }
  }

  /** An OK packet with more than anyone reads. */
  onUnreadOk(): void {
    this.#block('unknown-change');
  }

  onResult(errorCode: number, statusFlags: number, warnings: number, affectedRows = NaN, insertId = NaN): void {
    this.#answered++;
    if (insertId !== 0 && this.#leavesRowCount) {
      this.insertIdLeft = true;
      if (insertId > 0) this.diagnostics.forgetsInsertId = false;
    }
    if (statusFlags >= 0) this.statusFlags = statusFlags;
    this.statusDoubtful = errorCode !== 0;
    this.diagnostics.result(warnings !== 0 || errorCode !== 0, this.#leavesRowCount && !(affectedRows <= restorableRowsMax), this.#clearsWarnings);
    let explains = this.#otherwiseReported;
    while (this.#waiting.length > 0 && this.#waiting[0]!.at <= this.#answered) {
      const waiting = this.#waiting.shift()!;
      explains = true;
      if (waiting.statement !== undefined && waiting.command !== Command.stmtPrepare) {
        this.#setsNames(waiting.statement, errorCode !== 0);
        explains = this.#otherwiseReported || this.#explains(waiting.statement);
        this.#happened(waiting.statement, errorCode);
      }
      this.#resultOf(waiting, errorCode, statusFlags);
    }
    if (this.#changed && !explains) this.#block('unknown-change');
    this.#changed = false;
    this.#otherwiseReported = false;
  }

  #charsetsChange(): void {
    this.#charsets = `${++this.#charsetChanges}`;
  }

  /** Of character sets not everything is reported; SET NAMES says it. */
  #setsNames({ text, setsCharset }: ExaminedStatement, failed: boolean): void {
    if (!setsCharset) return;
    if (setNames.test(text)) {
      if (!failed) {
        this.setNames = text;
        this.#charsets = text.toLowerCase();
        this.onServerOnly.delete('collations');
      }
    } else this.onServerOnly.add('collations');
  }

  #explains({ effects, procedures }: ExaminedStatement): boolean {
    return procedures.length > 0 || explained.some((effect) => effects.has(effect));
  }

  #resultOf({ command, prepared, argument }: Waiting, errorCode: number, statusFlags: number): void {
    if (command === Command.stmtExecute && prepared !== undefined) {
      this.prepared.setCursor(prepared, errorCode === 0 && argument !== 0 && (statusFlags & StatusFlag.cursorExists) !== 0);
    } else if (command === Command.stmtFetch && prepared !== undefined) {
      if (errorCode === 0 && (statusFlags & StatusFlag.lastRowSent) !== 0) this.prepared.setCursor(prepared, false);
    } else if (command === Command.stmtReset && prepared !== undefined && errorCode === 0) {
      this.prepared.setCursor(prepared, false);
      this.prepared.setLongData(prepared, false);
    } else if (command === Command.setOption && errorCode === 0) this.multiStatements = argument === 0;
    else if (command === Command.resetConnection && errorCode === 0) {
      this.#reset();
      this.serversCharset = true;
    }
  }

  #happened(statement: ExaminedStatement, errorCode: number): void {
    const { effects } = statement;
    const failed = errorCode !== 0;
    if (effects.has('not-understood') && isMisspelt(statement.text, errorCode)) return;
    if (effects.has('user-variable') || statement.functions.length > 0 || statement.procedures.length > 0) this.onServerOnly.add('user variables');
    if (effects.has('role')) this.onServerOnly.add('a role');
    this.held.passed(statement, failed, this.database);
    if (statement.setsTrackers) this.#block('not-tracked', 'session_track variables were set by the client');
    if (effects.has('not-understood')) this.#block('not-understood');
    if (effects.has('unreplayable-variable')) this.#block('unreplayable-variable');
    if (effects.has('sequence')) this.#block('sequence');
    if (effects.has('global-lock')) this.#block('global-lock');
    if (effects.has('table-lock')) this.#block('table-lock');
    // BACKUP STAGE and LOCK INSTANCE are ended by other statements, and then the block stays.
    if (effects.has('unlock') && !failed && /^\s*unlock\s+tables?\s*;?\s*$/i.test(statement.text)) {
      this.#blocked?.delete('table-lock');
      if (this.#blocked?.get('global-lock') === '') this.#blocked.delete('global-lock');
      if (this.#blocked?.size === 0) this.#blocked = undefined;
    }
    if (effects.has('global-lock') && !/^\s*flush\b[^;]*;?\s*$/i.test(statement.text)) this.#block('global-lock', 'BACKUP STAGE or LOCK INSTANCE');
    const { allowedFunctions, allowedProcedures } = this.options;
    const unknown = (names: readonly string[], allowed: ReadonlySet<string>): string | undefined => names.find((name) => !allowed.has(name) && !allowed.has(name.replace(/^.*\./, '')));
    const calledFunction = unknown(statement.functions, allowedFunctions);
    if (calledFunction !== undefined) this.#block('function', calledFunction);
    const procedure = unknown(statement.procedures, allowedProcedures);
    if (procedure !== undefined) this.#block('procedure', procedure);
  }

  /** The first detail stays. */
  #block(code: MoveBlockerCode, detail = ''): void {
    this.#blocked ??= new Map();
    if (!this.#blocked.has(code) || (code === 'global-lock' && detail !== '')) this.#blocked.set(code, detail);
  }

  #reset(): void {
    this.prepared.clear();
    this.held.clear();
    this.#waiting = [];
    this.#blocked = undefined;
    this.#histories = undefined;
    this.#pendingCharacteristics = false;
    this.#lockedTables = false;
    this.#changed = false;
    this.diagnostics.clear();
    this.#wideResults = false;
    this.unsafeCharset = !isLexerSafeCollation(this.#collation);
    this.#charsetsChange();
    this.usedTables = false;
    this.multiStatements = undefined;
    this.onServerOnly.clear();
    this.setNames = undefined;
    this.insertIdLeft = false;
    this.armed = false;
    this.setByClient.clear();
    this.needsArming = true;
  }

  /** COM_CHANGE_USER succeeded. @param collation 0: not said */
  onUserChanged(database: string, collation: number, statusFlags: number): void {
    if (collation !== 0) this.#collation = collation;
    this.#answered = this.#sent;
    this.database = database;
    this.statusFlags = statusFlags;
    this.statusDoubtful = false;
    this.#reset();
    this.serversCharset = collation === 0;
  }

  /** COM_PING after an error says what the error did not. */
  statusIs(statusFlags: number): void {
    this.statusFlags = statusFlags;
    this.statusDoubtful = false;
  }

  /** All of it is on another backend now. @param countsLost of rows */
  onMoved(statusFlags: number, countsLost: boolean): void {
    this.statusIs(statusFlags);
    this.diagnostics.lost(countsLost);
    this.usedTables = false;
    this.held.clear();
  }

  /** Cheap enough for every command boundary: no transaction, cursor, lock or other known obstacle. For `Session.hold`. */
  get atRest(): boolean {
    if ((this.statusFlags & StatusFlag.inTransaction) !== 0 || this.#sent !== this.#answered || this.needsArming || !this.armed) return false;
    if (this.prepared.cursors > 0 || this.prepared.longData > 0) return false;
    if (this.options.kind === 'tidb') return true;
    return !this.diagnostics.keep(Date.now()) && !this.#pendingCharacteristics && !this.#lockedTables && this.#blocked === undefined;
  }

  /** A move has lost something that the session may ask for. */
  get forgets(): boolean {
    return this.diagnostics.forgets;
  }

  /** Whether a command asks for what a move has lost. */
  asksForgotten(payload: Buffer, start: number, end: number): boolean {
    const command = payload[start];
    if (command === Command.query) return this.diagnostics.asks(payload.toString('latin1', start + 1, end));
    if (command !== Command.stmtExecute || end - start < 5) return false;
    return this.diagnostics.asks(this.prepared.get(payload.readUInt32LE(start + 1))?.statement.text ?? '');
  }

  /** Empty: it can move, as far as the session itself is concerned. */
  blockers(nowMs = Date.now()): MoveBlocker[] {
    const blockers: MoveBlocker[] = [];
    const add = (code: MoveBlockerCode, detail = ''): void => void blockers.push(moveBlocker(code, detail));
    if (this.#sent !== this.#answered) add('busy');
    if ((this.statusFlags & StatusFlag.inTransaction) !== 0) add('transaction');
    if (this.prepared.cursors > 0) add('cursor');
    if (this.prepared.longData > 0) add('long-data');
    if (this.prepared.overflowed) add('statements');
    if (this.options.kind === 'tidb') return blockers;
    if (this.diagnostics.keep(nowMs)) add('diagnostics');
    if (this.#pendingCharacteristics && (this.statusFlags & StatusFlag.inTransaction) === 0) add('pending-transaction');
    if (this.#lockedTables && this.#blocked?.has('table-lock') !== true) add('table-lock');
    if (!this.armed) add(this.untrackable ? 'not-tracked' : 'busy', this.untrackable ? 'it has no such variables' : '');
    if (this.unsafeCharset || this.#wideResults) add('unsafe-charset');
    if (this.#histories !== undefined) add('history', [...this.#histories].join(', '));
    for (const [kind, names] of this.held.held()) add(kind, names.join(', '));
    for (const [code, detail] of this.#blocked ?? []) add(code, detail);
    for (const { clientId, typesUnknown, within } of this.prepared) {
      if (typesUnknown) add('parameter-types', `statement ${clientId}`);
      if (within.charsets !== this.#charsets) add('statements', `statement ${clientId} was prepared in another character set`);
    }
    return blockers;
  }

}

/** A row count of 1 can be left by a statement that changes nothing, on MariaDB. */
const restorableRowsMax = 1;
