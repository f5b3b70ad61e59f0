import { Capability, has } from '@binnacle/mysql-wire/capabilities';
import { Command, isAnswered } from '@binnacle/mysql-wire/command';
import { hasStatementId } from '@binnacle/mysql-wire/command-tracker';
import { payloadBytesMax } from '@binnacle/mysql-wire/packet-header';
import type { PacketScanner } from '@binnacle/mysql-wire/packet-scanner';
import { queryTextStart } from '@binnacle/mysql-wire/query-text';
import type { ResponseTracker } from '@binnacle/mysql-wire/response-tracker';
import { isAccountSchema } from '@binnacle/mysql-wire/secret-statements';
import { StatusFlag } from '@binnacle/mysql-wire/status-flags';
import { forReplication } from '../../migration/command-classes.js';
import type { Changed } from '../../session/session-host.js';
import type { Session } from '../../session/session.js';
import { lastPrepared } from '../../session/statement-ids.js';
import { nextTimeUs } from '../files/record.js';
import { AwaitedAnswers } from './awaited-answers.js';
import type { CaptureLog } from './capture-log.js';
import { typesPutIn } from './execute-types.js';
import { IncomingCommand } from './incoming-command.js';
import { type LeftOut, mayBeExecuted, readClosely, type Speaker, valuesHint, whyLeftOut } from './left-out.js';
import { RecordOrder } from './record-order.js';
import { RowChecksum } from './row-checksum.js';
import { sessionOrigin, type ServersPart } from './session-origin.js';
import type { RecordHead } from './traffic-buffer.js';

/** What is known of a prepared statement. */
type Prepared = 'plain' | 'executing' | 'omitted';

/** Behind the command's code. */
const statementIdBytes = 4;
const nothing = Buffer.alloc(0);

/**
 * What one session leaves in a capture. While one runs, the session calls
 *
 *     begins(scanner, bytesHere)      // at CommandEvent.begin
 *     passes(command, scanner)        // the last byte of an admitted command is here
 *     prepared(clientId), resultEnded(tracker), ended(command, tracker)   // of the answers, in their order
 *     killed(text), userChanges(), userChanged(changed), fileAsked(), closed()
 *
 * and `rows` is given the rows of its results.
 */
export class CaptureTap implements Speaker {
  readonly rows = new RowChecksum();
  timesAsked = 0;
  usesAccountSchema = false;
  #begun = false;
  #quit = false;
  /** Of the last record. */
  #ordinal = 0;
  #lastTimeUs = 0;
  /** One for all records but the first: whoever keeps it copies it. */
  readonly #head: RecordHead;
  readonly #order: RecordOrder;
  readonly #awaited = new AwaitedAnswers();
  /** Of the answers to COM_STMT_PREPARE that are to come. */
  readonly #preparing: Prepared[] = [];
  #affectedRows = 0;
  /** The command that is coming was seen from its first byte on. */
  #sawBegin = false;
  #incoming: IncomingCommand | undefined;
  #lastStatementId = 0;
  /** Statements whose text is not in the files. */
  #omitted: Set<number> | undefined;
  /** Statements whose values may come to be statements. */
  #executing: Set<number> | undefined;
  /** Of statements from before: the types that their next execution may not name. */
  #types: Map<number, Buffer> | undefined;
  #lacks: Set<string> | undefined;
  #changingMs = 0;

  /**
   * @param opened the session begins now: there is nothing before its first command. Otherwise the capture begins with a command outside a transaction
   * @param waits and not before `begin` is called, since its server is to be asked what it has
   */
  constructor(
    readonly session: Session,
    private readonly log: CaptureLog,
    readonly opened: boolean,
    public waits: boolean,
  ) {
    this.#head = { timeUs: 0, connectionId: session.id, command: 0, capturedStatementId: 0 };
    this.#order = new RecordOrder(log.buffer);
    session.responses.tracker.rows = this.rows;
  }

  get begun(): boolean {
    return this.#begun;
  }

  // ---- The beginning.

  #beginsWith(command: number): boolean {
    if (this.opened) {
      this.#begun = true;
      const { database } = this.session.client;
      if (database !== '') this.#rebuild(Command.initDb, 0, Buffer.from(database));
      return true;
    }
    if (this.waits || !this.isAtRest(isAnswered(command) ? 1 : 0)) return false;
    this.begin(undefined);
    return true;
  }

  /** Nothing is under way but so many commands that have just come, and nothing is open. */
  isAtRest(pending: number): boolean {
    const { responses, state, witness, backend } = this.session;
    const { commandsPending, statusFlags } = responses.tracker;
    const flags = statusFlags === -1 ? backend.statusFlags : statusFlags;
    if (commandsPending > pending || (flags & StatusFlag.inTransaction) !== 0) return false;
    return !witness.tracked || (!state.statusDoubtful && state.prepared.cursors === 0 && state.prepared.longData === 0);
  }

  /** With what the session has now: at a boundary, outside a transaction. @param servers undefined: nobody asked */
  begin(servers: ServersPart | undefined): void {
    const { commands, lacks, types } = sessionOrigin(this.session, servers);
    this.waits = false;
    this.#begun = true;
    this.rows.reset();
    for (const why of lacks) this.#lack(why);
    if (types.size > 0) this.#types = new Map(types);
    for (const { command, payload, statementId } of commands) this.#rebuild(command, statementId, payload);
  }

  /** A command that the client has not sent: it has no result. */
  #rebuild(command: number, statementId: number, payload: Buffer): void {
    if (command === Command.initDb) this.#databaseAsked(payload, 0, payload.length);
    const why = command === Command.query || command === Command.stmtPrepare ? whyLeftOut(this, payload, 0, payload.length) : undefined;
    if (why === undefined) {
      const head = this.#nextHead(command, performance.now());
      head.capturedStatementId = statementId;
      this.log.buffer.record(head, payload, 0, payload.length);
    } else this.#lackOf(why);
    if (command === Command.stmtPrepare) this.#note(statementId, why !== undefined ? 'omitted' : mayBeExecuted(payload, 0, payload.length) ? 'executing' : 'plain');
  }

  // ---- The client's side.

  /** @param bytesHere of the payload, in this chunk */
  begins(scanner: PacketScanner, bytesHere: number): void {
    this.#incoming?.letGo();
    this.#incoming = undefined;
    this.#sawBegin = true;
    if (scanner.frameBytes <= bytesHere && scanner.frameBytes < payloadBytesMax) return;
    this.#incoming = new IncomingCommand(this.log.buffer);
    scanner.giveTo(this.#incoming);
  }

  passes(command: number, scanner: PacketScanner): void {
    const incoming = this.#incoming;
    this.#incoming = undefined;
    if (this.#sawBegin && (this.#begun || this.#beginsWith(command))) {
      const nowMs = performance.now();
      if (incoming === undefined) this.#passed(command, scanner.payload, scanner.payloadStart, scanner.payloadStart + scanner.packetBytes, nowMs, undefined);
      else if (incoming.tooLarge) this.#leaveOut(command, 'too-large', nowMs);
      else {
        const whole = incoming.whole();
        this.#passed(command, whole, 0, whole.length, nowMs, incoming.hints.seen);
      }
    }
    incoming?.letGo();
  }

  /** @param hinted whether it has words that secrets have; undefined: not known */
  #passed(command: number, payload: Buffer, start: number, end: number, nowMs: number, hinted: boolean | undefined): void {
    if (command === Command.query || command === Command.stmtPrepare) {
      const textStart = command === Command.query ? queryTextStart(payload, this.session.backend.capabilities.capabilities, start, end) : start + 1;
      const why = hinted === undefined ? whyLeftOut(this, payload, textStart, end) : hinted ? readClosely(this, payload, textStart, end) : undefined;
      if (command === Command.stmtPrepare) this.#preparing.push(why !== undefined ? 'omitted' : mayBeExecuted(payload, textStart, end) ? 'executing' : 'plain');
      if (why === undefined) this.#capture(command, 0, payload, textStart, end, nowMs, false);
      else this.#leaveOut(command, why, nowMs);
    } else if (hasStatementId(command) && end - start > statementIdBytes) this.#ofStatement(command, payload, start, end, nowMs);
    else if (forReplication.has(command)) this.#leaveOut(command, 'replication', nowMs);
    else {
      if (command === Command.quit) this.#quit = true;
      else if (command === Command.initDb) this.#databaseAsked(payload, start + 1, end);
      this.#capture(command, 0, payload, start + 1, end, nowMs, false);
    }
  }

  #databaseAsked(payload: Buffer, start: number, end: number): void {
    if (isAccountSchema(payload.toString('latin1', start, end))) this.usesAccountSchema = true;
  }

  #ofStatement(command: number, payload: Buffer, start: number, end: number, nowMs: number): void {
    const said = payload.readUInt32LE(start + 1);
    const ofLast = said === lastPrepared;
    const id = ofLast ? this.#lastStatementId : said;
    const prepared = (ofLast ? this.#preparing.at(-1) : undefined) ?? this.#preparedAs(id);
    if (prepared === 'omitted') return this.#leaveOut(command, 'of-left-out', nowMs);
    if (prepared === 'executing' && this.#valuesMayTell(command, id, payload, start, end)) return this.#leaveOut(command, 'secret', nowMs);
    const types = this.#types?.get(id);
    if (types !== undefined && command === Command.stmtExecute) {
      this.#types!.delete(id);
      const whole = has(this.session.backend.capabilities.capabilities, Capability.queryAttributes) ? undefined : typesPutIn(payload, start, end, types);
      if (whole !== undefined) return this.#capture(command, id, whole, 1, whole.length, nowMs, ofLast);
    }
    this.#capture(command, id, payload, start + 1, end, nowMs, ofLast);
  }

  #preparedAs(id: number): Prepared {
    if (this.#omitted?.has(id) === true) return 'omitted';
    return this.#executing?.has(id) === true ? 'executing' : 'plain';
  }

  /** Long data may come in pieces that tell nothing each: without it, its statement cannot be executed either. */
  #valuesMayTell(command: number, id: number, payload: Buffer, start: number, end: number): boolean {
    if (command === Command.stmtExecute || command === Command.stmtBulkExecute) return valuesHint(payload, start, end);
    if (command !== Command.stmtSendLongData) return false;
    (this.#omitted ??= new Set()).add(id);
    return true;
  }

  #note(id: number, prepared: Prepared): void {
    this.#omitted?.delete(id);
    this.#executing?.delete(id);
    if (prepared === 'omitted') (this.#omitted ??= new Set()).add(id);
    else if (prepared === 'executing') (this.#executing ??= new Set()).add(id);
  }

  #capture(command: number, statementId: number, payload: Buffer, start: number, end: number, nowMs: number, ofLast: boolean): void {
    const head = this.#nextHead(command, nowMs);
    head.capturedStatementId = statementId;
    if (isAnswered(command)) this.#awaited.push(this.#ordinal, nowMs);
    const written = command === Command.stmtPrepare ? this.#order.putPrepare(head, payload, start, end) : this.#order.put(head, payload, start, end, ofLast);
    if (!written) this.#lackOf('too-large');
  }

  /** Of the record that comes now; the first one says whose session it is. */
  #nextHead(command: number, nowMs: number): RecordHead {
    this.#lastTimeUs = nextTimeUs(this.#lastTimeUs, this.log.timeUs(nowMs));
    const head = this.#head;
    head.timeUs = this.#lastTimeUs;
    head.command = command;
    if (++this.#ordinal > 1) return head;
    this.log.sessions++;
    return { ...head, ...this.#whose() };
  }

  #whose(): Partial<RecordHead> {
    const { user, database, collation, capabilities } = this.session.client;
    return { user, database, collation, capabilities: capabilities.capabilities };
  }

  #leaveOut(command: number, why: LeftOut, nowMs: number): void {
    this.#lackOf(why);
    if (isAnswered(command)) this.#awaited.push(0, nowMs);
  }

  #lackOf(why: LeftOut): void {
    this.log.leaveOut(why);
    this.#lack('left-out');
  }

  /** A KILL that goes to the backend in other words. */
  killed(text: string): void {
    if (!this.#begun && !this.#beginsWith(Command.query)) return;
    this.#capture(Command.query, 0, Buffer.from(text, 'latin1'), 0, text.length, performance.now(), false);
  }

  // ---- The server's side.

  /** A statement was prepared: the client's id of it. */
  prepared(clientId: number): void {
    if (this.#preparing.length === 0) return;
    this.#lastStatementId = clientId;
    this.#types?.delete(clientId);
    const prepared = this.#preparing[0]!;
    this.#note(clientId, prepared);
    if (prepared !== 'omitted') this.#order.prepared(clientId);
  }

  resultEnded(tracker: ResponseTracker): void {
    this.#affectedRows += tracker.affectedRows;
  }

  ended(command: number, tracker: ResponseTracker): void {
    const { ordinal, passedMs } = this.#awaited;
    if (ordinal === -1) return;
    this.#awaited.shift();
    const { errorCode } = tracker;
    const affectedRows = this.#affectedRows + tracker.affectedRows;
    this.#affectedRows = 0;
    if (ordinal === 0) this.rows.reset();
    else this.#result(ordinal, passedMs, errorCode, affectedRows);
    if (command === Command.stmtPrepare) {
      if (this.#preparing.shift() !== 'omitted') this.#order.answered();
    } else if (command === Command.resetConnection && errorCode === 0) this.#forget();
  }

  #result(ordinal: number, passedMs: number, errorCode: number, affectedRows: number): void {
    const nowMs = performance.now();
    const latencyUs = Math.round((nowMs - passedMs) * 1_000);
    this.log.buffer.result(this.log.timeUs(nowMs), { connectionId: this.session.id, ordinal, latencyUs, errorCode, rows: this.rows.rows, affectedRows }, this.rows);
    this.rows.reset();
  }

  /** The server wants a file: what is in it is not captured. */
  fileAsked(): void {
    if (this.#begun) this.#lack('local-infile');
  }

  // ---- The session.

  /** It has moved: its answers come from elsewhere. */
  moved(): void {
    this.session.responses.tracker.rows = this.rows;
  }

  /** Its server has reset the session. */
  #forget(): void {
    this.#omitted = undefined;
    this.#executing = undefined;
    this.#types = undefined;
    this.#lastStatementId = 0;
  }

  userChanges(): void {
    this.#changingMs = performance.now();
  }

  /** TiProxy's files know COM_CHANGE_USER as a reset; who it is now is in lines of our own, how he has shown it nowhere. A refused one resets the session and keeps the user. */
  userChanged(changed: Changed | 'refused'): void {
    this.#forget();
    // Whatever the session had before is gone.
    this.#begun = true;
    this.waits = false;
    const head = this.#nextHead(Command.resetConnection, this.#changingMs);
    this.log.buffer.record({ ...head, capturedStatementId: 0, ...this.#whose() }, nothing, 0, 0);
    this.rows.reset();
    if (changed !== 'refused') {
      this.usesAccountSchema = false;
      this.#result(this.#ordinal, this.#changingMs, 0, 0);
    }
    const { database } = this.session;
    if (database !== '') this.#rebuild(Command.initDb, 0, Buffer.from(database));
  }

  /** Nothing more is captured. */
  end(): void {
    this.#incoming?.letGo();
    this.#order.end();
    if (!this.#begun && !this.opened) this.#lack('not-begun');
    const { witness, responses } = this.session;
    witness.tap = undefined;
    responses.tracker.rows = undefined;
  }

  closed(): void {
    this.#incoming?.letGo();
    this.#order.end();
    if (this.#quit || this.#ordinal === 0) return;
    this.#quit = true;
    this.#capture(Command.quit, 0, nothing, 0, 0, performance.now(), false);
  }

  /** Something is missing that a replay would need; each reason counts once for a session. */
  #lack(why: string): void {
    if (this.#lacks?.has(why) === true) return;
    (this.#lacks ??= new Set()).add(why);
    this.log.lacks(why);
  }
}
