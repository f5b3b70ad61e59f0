import { Capability, has, MariadbCapability, type Capabilities } from './capabilities.js';
import { Command, isAnswered } from './command.js';
import { errCode, errHeader } from './err-packet.js';
import { progressReportCode } from './error-codes.js';
import { MalformedPacketError } from './malformed-packet-error.js';
import { eofBytes, eofHeader, okHeader, statusAndWarnings } from './ok-packet.js';
import { payloadBytesMax } from './packet-header.js';
import { PacketReader } from './packet-reader.js';
import { PacketScanner, type PayloadSink, ScanEvent } from './packet-scanner.js';
import { StatusFlag } from './status-flags.js';

/** What `ResponseTracker.next` came to. Everything it says of the packet in question is in the tracker's fields until the next call. */
export const ResponseEvent = {
  /** The chunk is used up. */
  none: 0,
  /** The response ended: `scanner.offset` is the command boundary. `errorCode` is 0 or the error; after an error `statusFlags` are the old ones. */
  complete: 1,
  /** A result ended and another one follows; as `complete` otherwise. */
  result: 2,
  /** LOAD DATA LOCAL: the client must send the file now, an empty packet last; then the response goes on. */
  infile: 3,
  /**
   * COM_STMT_PREPARE succeeded: `statementId` and the counts are known; definitions may follow before `complete`. A client that is to know the
   * statement by another id gets it by `replaceStatementId(chunk, scanner.payloadStart, id)` where `scanner.payload` is the chunk. Where a chunk ends
   * within this packet (`Phase.prepareFirst`), keep its bytes from `scanner.unfinishedStart` back, and write the id there, behind 4 bytes of header.
   */
  prepared: 4,
  /** COM_CHANGE_USER: the payload is an authentication packet for the client, which may have to answer. */
  authentication: 5,
  /** An error although no command was under way: the server is about to close the connection, and says why. */
  unsolicited: 6,
  /** Only with `everyPacket`: a packet began; `phase` says what it is. */
  packet: 7,
  /** Only with `everyPacket`: a packet of 16 MB goes on in another one. */
  frame: 8,
} as const;
export type ResponseEvent = (typeof ResponseEvent)[keyof typeof ResponseEvent];

/** What kind of packet comes next. Without `everyPacket` the definitions of a result's columns count as what follows them: `columnsEnd` or `rows`. */
export const Phase = {
  idle: 0,
  first: 1,
  columns: 2,
  columnsEnd: 3,
  rows: 4,
  prepareFirst: 5,
  parameters: 6,
  parametersEnd: 7,
  preparedColumns: 8,
  preparedColumnsEnd: 9,
  text: 10,
  authentication: 11,
} as const;
export type Phase = (typeof Phase)[keyof typeof Phase];

/** An OK packet with longer session changes is cut, and its status still known. */
const okBytesMax = 65_536;
const errBytesMax = 1_024;
/** Of column counts and the first packet of COM_STMT_PREPARE. */
const smallBytesMax = 16;
/** Commands a client may send before their answers. A connector that pipelines sends two, a batch some dozens. */
const commandsPendingMax = 1_024;

/** Is given the rows of all results, text and binary ones. */
export interface RowSink extends PayloadSink {
  /** A result set begins, with so many columns; 0: not said, since its rows are fetched from a cursor. */
  begin(columns: number): void;
}

export interface ResponseTrackerOptions {
  /** Report every packet's beginning, for who rewrites the stream; costs the fast way through rows. */
  readonly everyPacket?: boolean;
  readonly packetBytesMax?: number;
}

/**
 * Follows a server's responses by packet headers; reads payloads only of OK, ERR, EOF, column counts and prepared statements' first packets.
 *
 *     tracker.expect(Command.query);            // before the command is forwarded
 *     tracker.feed(chunk, start, end);
 *     for (let event = tracker.next(); event !== ResponseEvent.none; event = tracker.next()) { ... }
 *
 * Throws `MalformedPacketError` for what no server says; after that it is of no use.
 */
export class ResponseTracker {
  readonly scanner: PacketScanner;

  /** Bits of `StatusFlag` as last reported, over all responses, without `sessionStateChanged`; -1 before the first. */
  statusFlags = -1;
  /** The OK packet of this event carries session changes: `decodeOk` of the scanner's payload gives them, unless it is `payloadCut`. */
  sessionChanged = false;
  /** As last reported. */
  warnings = 0;
  /** Of the result that ended: 0, or the code of its ERR packet. */
  errorCode = 0;
  /** At `prepared`. */
  statementId = 0;
  parameterCount = 0;
  columnCount = 0;
  /** What the packet under way is; between packets, what the next one will be. */
  phase: Phase = Phase.idle;
  /** The command whose response is under way; -1 if none is. */
  command = -1;
  /** May be changed while no command is under way. */
  rows: RowSink | undefined;

  readonly #everyPacket: boolean;
  readonly #deprecateEof: boolean;
  readonly #optionalMetadata: boolean;
  readonly #cacheMetadata: boolean;
  #definitionsLeft = 0;
  #omitsDefinitions = false;
  #completes = false;
  /** What ends is the answer to COM_STMT_PREPARE, in whose OK an id stands where others have the rows that were changed. */
  #isPrepared = false;
  #pending: number[] = [];
  #pendingFirst = 0;

  constructor({ capabilities, mariadbCapabilities }: Capabilities, options: ResponseTrackerOptions = {}) {
    this.#everyPacket = options.everyPacket ?? false;
    this.#deprecateEof = has(capabilities, Capability.deprecateEof);
    this.#optionalMetadata = has(capabilities, Capability.optionalResultsetMetadata);
    this.#cacheMetadata = has(mariadbCapabilities, MariadbCapability.cacheMetadata);
    this.scanner = new PacketScanner(options.packetBytesMax);
    this.scanner.everyFrame = this.#everyPacket;
  }

  /** Responses not complete yet, the one under way included. */
  get commandsPending(): number {
    return (this.command === -1 ? 0 : 1) + this.#pending.length - this.#pendingFirst;
  }

  /** Nothing is under way: a command boundary, and none of the next packet was seen. */
  get idle(): boolean {
    return this.command === -1 && this.scanner.betweenPackets;
  }

  /** Whether `expect` would take one more: if not, stop reading from the client until a response is complete. */
  get full(): boolean {
    return this.commandsPending >= commandsPendingMax;
  }

  /** At `complete` and `result`, of what ended: rows that were changed; 0 where rows were sent, and after an error. At most 2^32. */
  get affectedRows(): number {
    return this.#endedByOkOfStatement ? this.#lenencAt(this.scanner.payloadStart + 1) : 0;
  }

  /** As `affectedRows`: the id that was generated or given for an AUTO_INCREMENT column. */
  get insertId(): number {
    if (!this.#endedByOkOfStatement) return 0;
    const at = this.scanner.payloadStart + 1;
    const first = this.scanner.payload[at]!;
    return this.#lenencAt(at + (first < 0xfb ? 1 : first === 0xfc ? 3 : first === 0xfd ? 4 : 9));
  }

  get #endedByOkOfStatement(): boolean {
    return this.scanner.firstByte === okHeader && this.errorCode === 0 && !this.#isPrepared;
  }

  #lenencAt(at: number): number {
    const { payload, payloadEnd } = this.scanner;
    if (at + 3 >= payloadEnd) return 0;
    const first = payload[at]!;
    if (first < 0xfb) return first;
    if (first === 0xfc) return payload.readUInt16LE(at + 1);
    return first === 0xfd ? payload.readUIntLE(at + 1, 3) : 2 ** 32;
  }

  /** A command goes to the server. Those that are never answered may be given too. */
  expect(command: number): void {
    if (!isAnswered(command)) return;
    if (this.full) throw new RangeError(`more than ${commandsPendingMax} commands without their answers`);
    if (this.command === -1) return this.#start(command);
    // A client that never waits would otherwise leave its answered commands here for ever.
    if (this.#pendingFirst >= commandsPendingMax) {
      this.#pending.splice(0, this.#pendingFirst);
      this.#pendingFirst = 0;
    }
    this.#pending.push(command);
  }

  feed(chunk: Buffer, start?: number, end?: number): void {
    this.scanner.feed(chunk, start, end);
  }

  next(): ResponseEvent {
    this.sessionChanged = false;
    if (this.#completes) return this.#complete();
    for (;;) {
      const event = this.scanner.next();
      if (event === ScanEvent.none) return ResponseEvent.none;
      if (event === ScanEvent.frame) return ResponseEvent.frame;
      if (event === ScanEvent.begin) {
        this.#begin();
        if (this.#everyPacket) return ResponseEvent.packet;
      } else {
        const response = this.#ended();
        if (response !== ResponseEvent.none) return response;
      }
    }
  }

  #start(command: number): void {
    this.command = command;
    this.scanner.expectSequence(-1);
    if (command === Command.stmtFetch || command === Command.fieldList || command === Command.binlogDump || command === Command.binlogDumpGtid) {
      this.#enter(Phase.rows);
      if (command !== Command.stmtFetch) this.scanner.sink = undefined;
      else this.rows?.begin(0);
    } else if (command === Command.stmtPrepare) this.#enter(Phase.prepareFirst);
    else if (command === Command.statistics) this.#enter(Phase.text);
    else if (command === Command.changeUser) this.#enter(Phase.authentication);
    else this.#enter(Phase.first);
  }

  #enter(phase: Phase): void {
    this.phase = phase;
    this.scanner.sink = phase === Phase.rows ? this.rows : undefined;
    const passed = phase === Phase.rows || phase === Phase.columnsEnd;
    this.scanner.quietBelow = passed && !this.#everyPacket ? eofHeader : 0;
  }

  #begin(): void {
    const { firstByte, frameBytes } = this.scanner;
    if (firstByte === errHeader) return this.scanner.capture(errBytesMax);
    switch (this.phase) {
      case Phase.idle:
        return this.#fail('no packet while no command is under way');
      case Phase.first:
      case Phase.authentication:
        return this.scanner.capture(okBytesMax);
      case Phase.columnsEnd:
      case Phase.parametersEnd:
      case Phase.preparedColumnsEnd:
        if (firstByte !== eofHeader) this.#fail('an EOF packet behind the definitions');
        return this.scanner.capture(okBytesMax);
      case Phase.rows:
        // A row may begin with 0xFE too, before a first column of 16 MB or more; then its first frame is full.
        if (firstByte === eofHeader && frameBytes < payloadBytesMax) this.scanner.capture(okBytesMax);
        return;
      case Phase.prepareFirst:
        return this.scanner.capture(smallBytesMax);
    }
  }

  #ended(): ResponseEvent {
    const { firstByte } = this.scanner;
    if (firstByte === errHeader) return this.#endedByError();
    switch (this.phase) {
      case Phase.first:
        return this.#endedFirst();
      case Phase.columns:
      case Phase.parameters:
      case Phase.preparedColumns:
        if (--this.#definitionsLeft === 0) this.#definitionsEnd();
        return this.#completes ? this.#complete() : ResponseEvent.none;
      case Phase.columnsEnd:
        this.#readStatus();
        if ((this.statusFlags & StatusFlag.cursorExists) !== 0) return this.#complete();
        this.#enter(Phase.rows);
        return ResponseEvent.none;
      case Phase.parametersEnd:
        this.#readStatus();
        this.#preparedColumns();
        return this.#completes ? this.#complete() : ResponseEvent.none;
      case Phase.preparedColumnsEnd:
        this.#readStatus();
        return this.#complete();
      case Phase.rows:
        if (firstByte !== eofHeader || this.scanner.packetBytes >= payloadBytesMax) return ResponseEvent.none;
        return this.#endedByOk();
      case Phase.prepareFirst:
        return this.#endedPrepare();
      case Phase.authentication:
        if (firstByte === okHeader) return this.#endedByOk();
        this.scanner.expectSequence(-1);
        return ResponseEvent.authentication;
      default:
        return this.#complete();
    }
  }

  #endedFirst(): ResponseEvent {
    const { firstByte, packetBytes, payloadStart, payloadEnd, payload } = this.scanner;
    const countedAsNone = this.#optionalMetadata && firstByte === 0 && packetBytes < 7;
    if ((firstByte === okHeader && !countedAsNone) || firstByte === eofHeader) return this.#endedByOk();
    this.errorCode = 0;
    if (firstByte === 0xfb) {
      this.scanner.expectSequence(-1);
      return ResponseEvent.infile;
    }
    this.#omitsDefinitions = !this.#readColumnCount(payload, payloadStart, payloadEnd);
    this.rows?.begin(this.columnCount);
    if (this.#everyPacket || this.rows !== undefined) this.#definitionsBegin(Phase.columns, this.columnCount);
    else {
      // Definitions need not be counted: none begins as the EOF, OK or ERR does that says what comes next.
      this.#enter(this.#deprecateEof ? Phase.rows : Phase.columnsEnd);
    }
    return ResponseEvent.none;
  }

  /** Whether definitions follow. Reads in place: this is on the way of every result. */
  #readColumnCount(payload: Buffer, start: number, end: number): boolean {
    let at = start + (this.#optionalMetadata ? 1 : 0);
    const first = at < end ? payload[at]! : 0;
    at += first === 0xfc ? 3 : 1;
    const count = first < 0xfb ? first : first === 0xfc && at <= end ? payload.readUInt16LE(at - 2) : 0;
    if (count === 0 || (this.#cacheMetadata && at >= end)) this.#fail('a number of columns');
    this.columnCount = count;
    if (this.#cacheMetadata) return payload[at] === 1;
    return !this.#optionalMetadata || payload[start] === 1;
  }

  #endedPrepare(): ResponseEvent {
    const { payload, payloadStart, payloadEnd, firstByte } = this.scanner;
    if (firstByte !== okHeader) this.#fail('the OK of COM_STMT_PREPARE');
    const reader = new PacketReader(payload, 'prepared statement', payloadStart, payloadEnd);
    reader.u8('header');
    this.statementId = reader.u32('statement id');
    this.columnCount = reader.u16('columns');
    this.parameterCount = reader.u16('parameters');
    this.errorCode = 0;
    this.#isPrepared = true;
    reader.u8('filler');
    this.warnings = reader.u16('warnings');
    this.#omitsDefinitions = this.#optionalMetadata && reader.left > 0 && reader.u8('metadata flag') === 0;
    if (this.parameterCount === 0) this.#preparedColumns();
    else this.#definitionsBegin(Phase.parameters, this.parameterCount);
    return ResponseEvent.prepared;
  }

  /** The last definition of a list has passed. */
  #definitionsEnd(): void {
    if (this.phase === Phase.columns) this.#enter(this.#deprecateEof ? Phase.rows : Phase.columnsEnd);
    else if (this.phase === Phase.parameters) {
      if (this.#deprecateEof) this.#preparedColumns();
      else this.phase = Phase.parametersEnd;
    } else if (this.#deprecateEof) this.#completes = true;
    else this.phase = Phase.preparedColumnsEnd;
  }

  #preparedColumns(): void {
    if (this.columnCount === 0) this.#completes = true;
    else this.#definitionsBegin(Phase.preparedColumns, this.columnCount);
  }

  /** Where definitions are left out, what ends them is not. */
  #definitionsBegin(phase: Phase, count: number): void {
    this.phase = phase;
    this.#definitionsLeft = this.#omitsDefinitions ? 0 : count;
    if (this.#definitionsLeft === 0) this.#definitionsEnd();
  }

  #readStatus(): void {
    const { payload, payloadStart, payloadEnd } = this.scanner;
    const both = statusAndWarnings(payload, payloadStart, payloadEnd);
    if (Number.isNaN(both)) this.#fail('an OK or EOF packet');
    const status = both & 0xff_ff;
    this.statusFlags = status & ~StatusFlag.sessionStateChanged;
    // An EOF packet has the flag too, and no room to say what changed.
    this.sessionChanged = status !== this.statusFlags && payloadEnd - payloadStart > eofBytes;
    this.warnings = (both - status) / 0x1_00_00;
  }

  #endedByOk(): ResponseEvent {
    this.#readStatus();
    this.#isPrepared = false;
    this.errorCode = 0;
    const more = (this.statusFlags & StatusFlag.moreResultsExist) !== 0;
    if (!more || this.command === Command.stmtFetch) return this.#complete();
    this.#enter(Phase.first);
    return ResponseEvent.result;
  }

  #endedByError(): ResponseEvent {
    const { payload, payloadStart, payloadEnd } = this.scanner;
    const code = errCode(payload, payloadStart, payloadEnd);
    if (code === -1) this.#fail('an error code');
    if (code === progressReportCode && this.phase !== Phase.idle) return ResponseEvent.none;
    this.errorCode = code;
    return this.phase === Phase.idle ? ResponseEvent.unsolicited : this.#complete();
  }

  #complete(): typeof ResponseEvent.complete {
    this.#completes = false;
    if (this.#pendingFirst < this.#pending.length) {
      this.#start(this.#pending[this.#pendingFirst++]!);
      if (this.#pendingFirst === this.#pending.length) {
        this.#pending.length = 0;
        this.#pendingFirst = 0;
      }
    } else {
      this.command = -1;
      this.#enter(Phase.idle);
      this.scanner.expectSequence(-1);
    }
    return ResponseEvent.complete;
  }

  #fail(expected: string): never {
    throw new MalformedPacketError('response', this.scanner.streamOffset, expected);
  }
}
