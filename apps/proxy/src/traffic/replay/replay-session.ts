import { isLexerSafeCollation, utf8mb4GeneralCi } from '@binnacle/mysql-wire/charset';
import { Command, isAnswered } from '@binnacle/mysql-wire/command';
import { hasStatementId } from '@binnacle/mysql-wire/command-tracker';
import { payloadBytesMax } from '@binnacle/mysql-wire/packet-header';
import { StatusFlag } from '@binnacle/mysql-wire/status-flags';
import { killText } from '../../session/kill-statement.js';
import { reasonToSkip, type ReplayFilters, type SkipReason } from './command-rules.js';
import { frameCommand, resetCommand, statementIdOffset, type ReplayConnection, type Response } from './replay-connection.js';
import { SessionStatements, type SessionStatement } from './session-statements.js';
import type { ReadingMode, ReplayedStatement, ReplayedStatements } from './replayed-statement.js';
import type { ReplayPace } from './replay-pace.js';
import type { TargetFacts } from './replay-target.js';

/** A command that waits for its turn; nothing of it is kept afterwards. */
export interface QueuedCommand {
  readonly timeUs: number;
  readonly ordinal: number;
  readonly command: number;
  /** As it goes over the wire. */
  readonly frame: Buffer;
  readonly capturedStatementId: number | undefined;
  readonly preparedText: Buffer | undefined;
  /** Whose session it is from here on, where that is said. */
  readonly user: string | undefined;
}

/** Whoever runs the sessions. */
export interface ReplayHost {
  readonly facts: TargetFacts;
  readonly statements: ReplayedStatements;
  readonly pace: ReplayPace;
  readonly filters: ReplayFilters;
  readonly readOnly: boolean;
  open(collation: number, capabilities: number): Promise<ReplayConnection>;
  /** The thread that stands for a captured connection now. */
  threadOf(source: number, connectionId: number): number | undefined;
  dequeued(command: QueuedCommand): void;
  responded(session: ReplaySession, command: QueuedCommand, statement: ReplayedStatement, response: Response): void;
  skipped(session: ReplaySession, command: QueuedCommand, statement: ReplayedStatement, reason: SkipReason): void;
  /** Nothing is under way and nothing waits. */
  idle(session: ReplaySession): void;
  ended(session: ReplaySession): void;
}

const onlyReads = frameCommand(Command.query, Buffer.from('SET SESSION TRANSACTION READ ONLY'));
const payloadStart = statementIdOffset;

/** Of a command that was under way when its connection was lost: what a client is told then. It may be what ended the server. */
const lostResponse: Response = { errorCode: 2013, rows: 0, affectedRows: 0, ordered: '', unordered: '', latencyUs: 0, statementId: 0 };

/** One captured connection: its commands one after the other, on a connection of its own that is opened for the first one that is sent. */
export class ReplaySession {
  #queue: QueuedCommand[] = [];
  #next = 0;
  #busy = false;
  #connection: ReplayConnection | undefined;
  /** It had a state that nobody can build again. */
  #isLost = false;
  #isOver = false;
  /** The session could be built again from its database alone. */
  #isPlain = true;
  #initDb: Buffer | undefined;
  #user = '';
  #mode: ReadingMode;
  readonly #statements = new SessionStatements();

  constructor(
    readonly source: number,
    readonly connectionId: number,
    private readonly host: ReplayHost,
    private readonly collation = utf8mb4GeneralCi,
    private readonly capabilities = 0,
  ) {
    this.#mode = host.facts.mode;
  }

  /** Commands that wait. */
  get waiting(): number {
    return this.#queue.length - this.#next;
  }

  get threadId(): number | undefined {
    return this.#connection?.threadId;
  }

  /** Ends the connection if its command has been under way since before this. */
  giveUpIfSince(beforeMs: number): void {
    const sinceMs = this.#connection?.busySinceMs;
    if (sinceMs !== undefined && sinceMs < beforeMs) this.#connection!.fail();
  }

  enqueue(command: QueuedCommand): void {
    this.#queue.push(command);
    this.#advance();
  }

  /** What waits is dropped; what is under way goes on. */
  stop(): void {
    while (this.waiting > 0) this.host.dequeued(this.#take());
    if (!this.#busy) this.end();
  }

  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    if (this.#busy) this.#connection?.destroy();
    else this.#connection?.close();
    this.host.ended(this);
  }

  #take(): QueuedCommand {
    const command = this.#queue[this.#next]!;
    this.#queue[this.#next++] = undefined!;
    if (this.#next === this.#queue.length) {
      this.#queue = [];
      this.#next = 0;
    } else if (this.#next === 1_024) {
      this.#queue.splice(0, this.#next);
      this.#next = 0;
    }
    return command;
  }

  #advance(): void {
    while (!this.#busy && !this.#isOver && this.waiting > 0) {
      const command = this.#take();
      this.host.dequeued(command);
      this.#run(command);
    }
    if (!this.#busy && !this.#isOver) this.host.idle(this);
  }

  #run(command: QueuedCommand): void {
    if (command.user !== undefined) this.#user = command.user;
    if (command.command === Command.quit) return this.end();
    const prepared = hasStatementId(command.command) ? this.#statements.of(command, this.#preparedBefore) : undefined;
    const statement = prepared?.statement ?? this.#statementOf(command);
    const reason = this.#reasonToSkip(command, statement, prepared);
    if (reason !== undefined) {
      if (command.command === Command.stmtPrepare) this.#statements.prepared(command, statement, undefined);
      if (command.command === Command.stmtClose && prepared !== undefined) this.#statements.closed(prepared);
      return this.#skip(command, statement, reason);
    }
    if (this.#connection === undefined) this.#open(() => this.#prepareAndSend(command, statement, prepared), () => this.#skip(command, statement, 'connection-lost'));
    else this.#prepareAndSend(command, statement, prepared);
  }

  #preparedBefore = (text: Buffer): ReplayedStatement => this.host.statements.of(text, 0, text.length, this.#mode);

  #statementOf({ command, frame }: QueuedCommand): ReplayedStatement {
    const { statements } = this.host;
    if (command !== Command.query && command !== Command.stmtPrepare) return statements.ofCommand(command);
    if (frame.length >= payloadBytesMax) return { ...statements.ofCommand(command), refusal: 'too long' };
    return statements.of(frame, payloadStart, frame.length, this.#mode);
  }

  #reasonToSkip({ command }: QueuedCommand, statement: ReplayedStatement, prepared: SessionStatement | undefined): SkipReason | undefined {
    const { filters, readOnly } = this.host;
    if (this.#isLost) {
      if (command !== Command.resetConnection && command !== Command.changeUser) return 'connection-lost';
      this.#isLost = false;
    }
    if (hasStatementId(command) && prepared === undefined) return filters.users.size > 0 && !filters.users.has(this.#user) ? 'filtered' : 'unprepared';
    const reason = reasonToSkip(command, statement, this.#user, filters, readOnly);
    if (reason !== undefined) return reason;
    if (readOnly && this.#isHidden(command, statement, prepared)) return 'read-only';
    if (statement.kill !== undefined && this.host.threadOf(this.source, statement.kill.id) === undefined) return 'kill';
    const isUnprepared = prepared !== undefined && prepared.idNow === undefined && (prepared.text === undefined || command !== Command.stmtExecute);
    return isUnprepared ? 'unprepared' : undefined;
  }

  /** What a text does cannot be seen: its quotes may be halves of characters, or it executes what was prepared nobody knows where. */
  #isHidden(command: number, statement: ReplayedStatement, prepared: SessionStatement | undefined): boolean {
    const hasText = command === Command.query || command === Command.stmtPrepare || prepared !== undefined;
    if (hasText && !isLexerSafeCollation(this.collation)) return true;
    return command === Command.query && statement.executes !== undefined && !this.#statements.texts.has(statement.executes);
  }

  #skip(command: QueuedCommand, statement: ReplayedStatement, reason: SkipReason): void {
    if (statement.prepares !== undefined) this.#statements.texts.delete(statement.prepares.name);
    this.host.skipped(this, command, statement, reason);
  }

  /** Opens the connection and brings it into the state that every session begins with. */
  #open(opened: () => void, failed: () => void): void {
    this.#busy = true;
    this.host.open(this.collation, this.capabilities).then(
      (connection) => {
        if (this.#isOver) return connection.close();
        this.#connection = connection;
        connection.onLost = () => this.#lost(undefined);
        this.#readStatus();
        this.#begin(() => {
          this.#busy = false;
          opened();
          this.#advance();
        }, failed);
      },
      () => {
        this.#busy = false;
        if (this.#isOver) return;
        this.#isLost = true;
        failed();
        this.#advance();
      },
    );
  }

  /** Behind a login or a reset. */
  #begin(then: () => void, failed: () => void): void {
    const frames = [...(this.host.readOnly ? [onlyReads] : []), ...(this.#initDb === undefined ? [] : [this.#initDb])];
    const next = (): void => {
      const frame = frames.shift();
      if (frame === undefined) return then();
      this.#send(frame, frame[4]!, next, failed);
    };
    next();
  }

  /** @param failed the connection was lost meanwhile */
  #send(frame: Buffer, command: number, then: (response: Response) => void, failed: () => void): void {
    const connection = this.#connection!;
    this.#busy = true;
    connection.onLost = () => this.#lost(failed);
    connection.send(frame, command, (response) => {
      connection.onLost = () => this.#lost(undefined);
      this.#readStatus();
      then(response);
    });
  }

  #prepareAndSend(command: QueuedCommand, statement: ReplayedStatement, prepared: SessionStatement | undefined): void {
    if (prepared === undefined || prepared.idNow !== undefined) return this.#sendCommand(command, statement, prepared);
    // The capture began after the statement was prepared: its text came with the execution.
    const failed = (): void => this.#skip(command, statement, 'connection-lost');
    this.#send(frameCommand(Command.stmtPrepare, prepared.text!), Command.stmtPrepare, (response) => {
      this.#busy = false;
      prepared.text = undefined;
      if (response.errorCode === 0) {
        prepared.idNow = response.statementId;
        this.#sendCommand(command, statement, prepared);
      } else this.#skip(command, statement, 'unprepared');
      this.#advance();
    }, failed);
  }

  #sendCommand(queued: QueuedCommand, statement: ReplayedStatement, prepared: SessionStatement | undefined): void {
    const { command } = queued;
    const { host } = this;
    host.pace.sent(queued.timeUs);
    let { frame } = queued;
    if (prepared !== undefined) frame.writeUInt32LE(prepared.idNow!, statementIdOffset);
    if (!isAnswered(command)) {
      if (command === Command.stmtClose && prepared !== undefined) this.#statements.closed(prepared);
      return this.#connection!.sendUnanswered(frame);
    }
    const resets = command === Command.resetConnection || command === Command.changeUser;
    if (resets) frame = resetCommand;
    if (statement.kill !== undefined) frame = frameCommand(Command.query, Buffer.from(killText(statement.kill, host.threadOf(this.source, statement.kill.id)!)));
    this.#send(frame, resets ? Command.resetConnection : command, (response) => {
      this.#responded(queued, statement, response);
      if (resets) return this.#begin(() => this.#free(), () => {});
      this.#free();
    }, () => host.responded(this, queued, statement, lostResponse));
  }

  #free(): void {
    this.#busy = false;
    this.#advance();
  }

  #responded(queued: QueuedCommand, statement: ReplayedStatement, response: Response): void {
    const { command } = queued;
    const well = response.errorCode === 0;
    let reported = statement;
    if (command === Command.stmtPrepare) {
      this.#statements.prepared(queued, statement, well ? response.statementId : undefined);
      this.#isPlain = false;
      reported = this.host.statements.ofCommand(command, statement);
    } else if (command === Command.stmtFetch) reported = this.host.statements.ofCommand(command, statement);
    else if (command === Command.initDb && well) this.#initDb = queued.frame;
    else if (command === Command.resetConnection || command === Command.changeUser) this.#reset(command);
    else if (command === Command.query) reported = this.#queryResponded(statement, well);
    if (command !== Command.stmtPrepare && this.#setsMode(statement) && !this.#mode.ansiDoubtful) this.#mode = { ...this.#mode, ansiDoubtful: true };
    this.host.responded(this, queued, reported, response);
  }

  #queryResponded(statement: ReplayedStatement, well: boolean): ReplayedStatement {
    if (statement.leavesState) this.#isPlain = false;
    const { texts } = this.#statements;
    if (statement.prepares !== undefined) {
      if (well && statement.prepares.nature !== undefined) texts.set(statement.prepares.name, statement.prepares.nature);
      else texts.delete(statement.prepares.name);
    }
    const executed = statement.executes === undefined ? undefined : texts.get(statement.executes);
    return executed === undefined ? statement : { ...statement, hasOrder: executed.hasOrder, changesByNature: executed.changesByNature };
  }

  /** Itself, or by what its name executes. */
  #setsMode({ setsMode, executes }: ReplayedStatement): boolean {
    return setsMode === true || (executes !== undefined && this.#statements.texts.get(executes)?.setsMode === true);
  }

  #reset(command: number): void {
    this.#statements.clear();
    this.#mode = this.host.facts.mode;
    this.#isPlain = true;
    // A reset leaves the database as it is; a change of user is followed by its own.
    if (command === Command.changeUser) this.#initDb = undefined;
  }

  #readStatus(): void {
    const { statusFlags } = this.#connection!;
    const noBackslashEscapes = (statusFlags & StatusFlag.noBackslashEscapes) !== 0;
    if (noBackslashEscapes !== this.#mode.noBackslashEscapes) this.#mode = { ...this.#mode, noBackslashEscapes };
  }

  #lost(failed: (() => void) | undefined): void {
    if (this.#isOver) return;
    const { autocommit, inTransaction } = StatusFlag;
    const betweenTransactions = (this.#connection!.statusFlags & (autocommit | inTransaction)) === autocommit;
    this.#connection = undefined;
    this.#isLost = !(this.#isPlain && betweenTransactions);
    this.#statements.clear();
    this.#busy = false;
    failed?.();
    this.#advance();
  }
}
