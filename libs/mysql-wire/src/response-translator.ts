import { Capability, has, type Capabilities } from './capabilities.js';
import { Command } from './command.js';
import { MalformedPacketError } from './malformed-packet-error.js';
import { decodeOkHead, encodeEof, encodeOk, eofHeader, okHeader, rawSessionChanges } from './ok-packet.js';
import { framePayload, headerBytes, payloadBytesMax, writeHeader } from './packet-header.js';
import { Phase, ResponseEvent, ResponseTracker } from './response-tracker.js';
import { StatusFlag } from './status-flags.js';

/** What the EOF behind definitions may repeat of the last status known: what belongs to the session, not to a result. */
const lastingFlags = StatusFlag.inTransaction | StatusFlag.autocommit | StatusFlag.noBackslashEscapes | StatusFlag.inReadOnlyTransaction | StatusFlag.ansiQuotes;

/** Whether responses of this backend must be rewritten for this client. If not, use a `ResponseTracker` and forward chunks as they are. */
export function needsTranslation(backend: Capabilities, client: Capabilities): boolean {
  const differ = (bit: number): boolean => has(backend.capabilities, bit) !== has(client.capabilities, bit);
  return differ(Capability.deprecateEof) || (differ(Capability.sessionTrack) && has(backend.capabilities, Capability.sessionTrack));
}

/**
 * A `ResponseTracker` that also rewrites: EOF packets are put in or left out as the client's DEPRECATE_EOF demands, OK packets lose the
 * session changes that a client without SESSION_TRACK does not understand, sequence ids are made to follow each other again.
 *
 *     translator.expect(command);
 *     translator.feed(chunk);                                  // from now on the chunk belongs to the translator: headers are changed in place
 *     for (let event = translator.next(); event !== ResponseEvent.none; event = translator.next()) { ... }
 *     for (const bytes of translator.take()) client.write(bytes);
 *
 * Everything but these packets is passed on as views of the chunks. Both sides must agree on all other capabilities that shape
 * responses; neither may have OPTIONAL_RESULTSET_METADATA. Throws `MalformedPacketError`.
 */
export class ResponseTranslator {
  /** For its fields; `next` is to be called here. */
  readonly tracker: ResponseTracker;
  /** How many packets more (or, negative, fewer) than the backend sent the client has got of this response: what a client sends within it, a local file,
   * has ids that are higher by this. */
  sequenceShift = 0;

  readonly #backend: number;
  readonly #client: number;
  readonly #addsEof: boolean;
  readonly #dropsEof: boolean;
  #output: Buffer[] = [];
  #chunk: Buffer = Buffer.alloc(0);
  #chunkStart = 0;
  /** Where what was not given to the output yet begins. */
  #from = 0;
  /** The packet under way is left out, or replaced at its end. */
  #held = false;
  #lastPhase: Phase = Phase.idle;
  /** At `prepared`: the packet as the client gets it. */
  #prepared: Buffer | undefined;

  constructor(backend: Capabilities, client: Capabilities) {
    this.tracker = new ResponseTracker(backend, { everyPacket: true });
    this.#backend = backend.capabilities;
    this.#client = client.capabilities;
    const deprecated = (capabilities: number): boolean => has(capabilities, Capability.deprecateEof);
    this.#addsEof = deprecated(this.#backend) && !deprecated(this.#client);
    this.#dropsEof = !deprecated(this.#backend) && deprecated(this.#client);
  }

  expect(command: number): void {
    this.tracker.expect(command);
  }

  feed(chunk: Buffer, start = 0, end = chunk.length): void {
    this.tracker.feed(chunk, start, end);
    this.#chunk = chunk;
    this.#chunkStart = start;
    this.#from = start;
  }

  /** As `ResponseTracker.next`; never `packet` or `frame`. */
  next(): ResponseEvent {
    this.#prepared = undefined;
    for (;;) {
      const { command } = this.tracker;
      const event = this.tracker.next();
      if (event === ResponseEvent.packet) this.#begin();
      else if (event === ResponseEvent.frame) this.#renumber(this.tracker.scanner.offset - headerBytes);
      else {
        if (event === ResponseEvent.none) this.#flush(this.tracker.scanner.offset - this.tracker.scanner.headerBytesPending);
        else if (event === ResponseEvent.prepared) this.#copyPrepared();
        else if (event === ResponseEvent.result || event === ResponseEvent.complete) this.#resultEnds(command);
        if (event === ResponseEvent.complete) this.#responseEnds();
        return event;
      }
    }
  }

  /** What the client is to be sent now, in order; at any event, what came before it. */
  take(): Buffer[] {
    const { offset, headerBytesPending } = this.tracker.scanner;
    this.#flush(offset - headerBytesPending);
    const output = this.#output;
    this.#output = [];
    return output;
  }

  /** At `prepared`: the client knows the statement by another id. */
  replaceStatementId(statementId: number): void {
    if (this.#prepared === undefined) throw new Error('no statement was prepared by what came last');
    this.#prepared.writeUInt32LE(statementId, headerBytes + 1);
  }

  /** Whether all that was given to the client ends with a packet. */
  get betweenPackets(): boolean {
    const { scanner } = this.tracker;
    return this.#held || scanner.betweenPackets || scanner.packetStart + scanner.headerBytesPending === scanner.offset;
  }

  /** The packet that names a statement is passed on as a copy of its own, since the client may know the statement by another id. */
  #copyPrepared(): void {
    const { payload, payloadStart, payloadEnd, payloadCut, sequenceId, offset, streamOffset } = this.tracker.scanner;
    if (payloadCut) throw new MalformedPacketError('response', streamOffset, 'a shorter answer to COM_STMT_PREPARE');
    this.#held = false;
    this.#from = offset;
    this.#insert(payload.subarray(payloadStart, payloadEnd), sequenceId);
    this.#prepared = this.#output.at(-1);
  }

  #begin(): void {
    const { scanner, phase } = this.tracker;
    const { firstByte, frameBytes, packetStart } = scanner;
    if (this.#held) {
      this.#held = false;
      this.sequenceShift--;
      this.#from = Math.max(packetStart, this.#chunkStart);
    }
    const terminal = firstByte === eofHeader && frameBytes < payloadBytesMax && phase !== Phase.text && phase !== Phase.authentication;
    const plainOk = firstByte === okHeader && (phase === Phase.first || phase === Phase.authentication);
    const behindDefinitions = (this.#hasColumns && phase === Phase.rows) || (this.#lastPhase === Phase.parameters && phase === Phase.preparedColumns);
    // An OK that ends a result without rows may announce a cursor: whether an EOF belongs before it is known at its end.
    if (behindDefinitions && !terminal) this.#insertEof(packetStart);
    if (terminal || plainOk || (firstByte === okHeader && phase === Phase.prepareFirst)) {
      this.#flush(packetStart);
      this.#held = true;
    } else {
      this.#renumber(packetStart);
      this.#lastPhase = phase;
    }
  }

  /** Gives the chunk's bytes up to `end` to the output. */
  #flush(end: number): void {
    if (!this.#held && end > this.#from) this.#output.push(this.#chunk.subarray(this.#from, end));
    this.#from = Math.max(this.#from, end);
  }

  /** The header at `at` of the chunk, or one whose beginning was held back since it was not complete: then it is written anew. */
  #renumber(at: number): void {
    const { frameBytes, sequenceId, offset } = this.tracker.scanner;
    const renumbered = (sequenceId + this.sequenceShift) & 0xff;
    if (at >= this.#chunkStart) {
      this.#chunk[at + 3] = renumbered;
      return;
    }
    const header = Buffer.allocUnsafe(headerBytes);
    writeHeader(header, 0, frameBytes, renumbered);
    this.#output.push(header);
    this.#from = offset;
  }

  #insert(payload: Buffer, sequenceId: number): void {
    this.#output.push(framePayload(payload, (sequenceId + this.sequenceShift) & 0xff));
  }

  /** Before the packet that begins at `end`. */
  #insertEof(end: number): void {
    if (!this.#addsEof) return;
    this.#flush(end);
    this.#insert(encodeEof(this.#lastingStatus(), 0), this.tracker.scanner.sequenceId);
    this.sequenceShift++;
  }

  /** What passed last was the definitions of columns, or their number alone where the client remembers them: what ends them is sent either way. */
  get #hasColumns(): boolean {
    return this.#lastPhase === Phase.columns || this.#lastPhase === Phase.first;
  }

  #lastingStatus(): number {
    const { statusFlags } = this.tracker;
    return statusFlags === -1 ? StatusFlag.autocommit : statusFlags & lastingFlags;
  }

  #resultEnds(command: number): void {
    const { scanner, statusFlags, errorCode } = this.tracker;
    if (this.#held) {
      const withoutRows = this.#hasColumns && scanner.firstByte === eofHeader;
      if (withoutRows && this.#addsEof && (statusFlags & StatusFlag.cursorExists) === 0) {
        this.#insert(encodeEof(this.#lastingStatus(), 0), scanner.sequenceId);
        this.sequenceShift++;
      }
      this.#replace(command);
    } else if (errorCode === 0 && command === Command.stmtPrepare && (this.#lastPhase === Phase.parameters || this.#lastPhase === Phase.preparedColumns)) {
      this.#flush(scanner.offset);
      if (this.#addsEof) this.#insert(encodeEof(this.#lastingStatus(), 0), scanner.sequenceId + 1);
    }
    this.#lastPhase = Phase.idle;
  }

  /** The OK or EOF that was held, in the client's words. */
  #replace(command: number): void {
    const { scanner, statusFlags, warnings } = this.tracker;
    const { payload, payloadStart, payloadEnd, sequenceId, firstByte, payloadCut } = scanner;
    this.#held = false;
    this.#from = scanner.offset;
    // The EOF behind a prepared statement's definitions means nothing to a client with DEPRECATE_EOF.
    if (this.#dropsEof && command === Command.stmtPrepare) return;
    if (firstByte === eofHeader && !has(this.#client, Capability.deprecateEof)) return this.#insert(encodeEof(statusFlags, warnings), sequenceId);
    if (firstByte === eofHeader && this.#dropsEof) return this.#insert(encodeOk({ header: eofHeader, statusFlags, warnings }, this.#client), sequenceId);
    const head = decodeOkHead(payload, payloadStart, payloadEnd);
    const changes = has(this.#backend, Capability.sessionTrack) && !payloadCut ? rawSessionChanges(payload, payloadStart, payloadEnd) : undefined;
    this.#insert(encodeOk(head, this.#client, changes), sequenceId);
  }

  #responseEnds(): void {
    this.sequenceShift = 0;
    this.#lastPhase = Phase.idle;
  }
}
