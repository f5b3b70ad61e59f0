import { MalformedPacketError } from './malformed-packet-error.js';
import { eofHeader } from './ok-packet.js';
import { headerBytes, payloadBytesMax } from './packet-header.js';

/** What `PacketScanner.next` came to. */
export const ScanEvent = {
  /** The chunk is used up. */
  none: 0,
  /** A packet's header and first payload byte are known; its payload follows. The time to call `capture`. */
  begin: 1,
  /** The packet's last byte was passed: `offset` is right behind it. */
  end: 2,
  /** Only with `everyFrame`: the header of a continuation was passed, `offset` is at its payload. */
  frame: 3,
} as const;
export type ScanEvent = (typeof ScanEvent)[keyof typeof ScanEvent];

const atHeader = 0;
const atFirstByte = 1;
const inBody = 2;

/** Is given payloads as they pass, without copies: rows of results, or whole commands. */
export interface PayloadSink {
  /** Bytes of the payload of one packet, in as many pieces as it comes in; of an empty one, none. */
  row(chunk: Buffer, start: number, end: number): void;
  /** The packet's last byte has passed. */
  rowEnd(): void;
}

const nothing = Buffer.alloc(0);
/** A scratch buffer that grew beyond this for one packet is not kept by an idle session. */
const scratchKeptBytesMax = 1_024;
const scratchFirstBytes = 256;

/** `max_allowed_packet` cannot be set higher in any server. */
export const packetBytesMaxDefault = 1_073_741_824;

/**
 * Walks the packets of one direction of a connection without copying payloads and without an object or a call for a packet of no interest.
 * A packet here is the whole logical one: 16 MB continuations belong to it.
 *
 *     scanner.feed(chunk, start, end);
 *     for (let event = scanner.next(); event !== ScanEvent.none; event = scanner.next()) { ... }
 *
 * Throws `MalformedPacketError`, with the offset in the stream, for a wrong sequence id or a packet over the limit; after that it is of no use.
 */
export class PacketScanner {
  /**
   * Packets whose first payload byte is below this are counted and passed without events: 0 reports all, 0xFE passes the rows of a result.
   * May be changed at every event.
   */
  quietBelow = 0;
  /** Report continuation headers too, for who renumbers them. */
  everyFrame = false;
  /** What is given all payloads but those that begin as an ERR or EOF packet does; may be changed at every event, from the next packet on. */
  sink: PayloadSink | undefined;

  /** Position in the chunk, in bytes: everything before it has been accounted for. */
  offset = 0;
  /** Packets ended so far, quiet ones included. */
  packets = 0;

  /** First payload byte of the packet that began last; -1 if its payload is empty. */
  firstByte = -1;
  /** Payload length of the current frame, in bytes: of the first frame at `begin`. */
  frameBytes = 0;
  /** At `end`: length of the whole payload, in bytes, continuations included. */
  packetBytes = 0;
  /** Of the current frame. */
  sequenceId = 0;
  /** Where the header of the current packet began, in the chunk; negative if it was in an earlier one. */
  packetStart = 0;

  /** At `end`, after `capture`: holds the payload from `payloadStart` to `payloadEnd`. Valid until the next call of `next`. */
  payload: Buffer = nothing;
  payloadStart = 0;
  payloadEnd = 0;
  /** At `end`, after `capture`: the payload was longer than asked for and only its beginning is there. */
  payloadCut = false;

  #chunk: Buffer = nothing;
  #end = 0;
  #streamBytes = 0;
  #state = atHeader;
  #quiet = false;
  /** What is given the packet under way. */
  #sinking: PayloadSink | undefined;
  #continued = false;
  #headerSeen = 0;
  #frameLeft = 0;
  #sequenceExpected = -1;
  #captureMax = 0;
  #captured = 0;
  #inPlace = false;
  #scratch: Buffer = nothing;

  /** @param packetBytesMax the longest packet let through, in bytes, continuations included */
  constructor(readonly packetBytesMax = packetBytesMaxDefault) {}

  /** Whether the last packet has ended and nothing of another one was seen. */
  get betweenPackets(): boolean {
    return this.#state === atHeader && this.#headerSeen === 0 && !this.#continued;
  }

  /**
   * After `none`: where the packet that the chunk ended within began in it, negative if in an earlier one; the chunk's end if it ended with a packet.
   * Who must change a packet before it goes on keeps the bytes from here until the rest has come, and changes them there.
   */
  get unfinishedStart(): number {
    return this.betweenPackets ? this.offset : this.packetStart;
  }

  /** Where `offset` is in the whole stream, in bytes. */
  get streamOffset(): number {
    return this.#streamBytes + this.offset;
  }

  /** How many bytes of an unfinished header (with `begin` or `frame` not reported yet) the chunks so far ended with: 0 to 4. */
  get headerBytesPending(): number {
    if (this.#state === inBody) return 0;
    return this.#state === atFirstByte ? headerBytes : this.#headerSeen;
  }

  /** The id that the next packet must have; -1: any. Also of what somebody else says in the place of the one who is followed. */
  get sequenceExpected(): number {
    return this.#sequenceExpected;
  }

  /** The id the next packet must have; -1 for any. After it ids must follow each other; an error packet (0xFF) may come with any id. */
  expectSequence(sequenceId: number): void {
    this.#sequenceExpected = sequenceId;
  }

  /** The chunk must be used up: `next` gave `none` for the one before. */
  feed(chunk: Buffer, start = 0, end = chunk.length): void {
    if (this.offset !== this.#end) throw new Error('a chunk was fed before the one before it was used up');
    this.#streamBytes += this.#end - start;
    this.packetStart -= this.#end - start;
    this.#chunk = chunk;
    this.offset = start;
    this.#end = end;
  }

  next(): ScanEvent {
    for (;;) {
      if (this.#state === inBody) {
        if (!this.#passBody()) return this.#usedUp();
        this.#state = atHeader;
        this.#continued = this.frameBytes === payloadBytesMax;
        if (!this.#continued) {
          this.packets++;
          this.#sinking?.rowEnd();
          if (!this.#quiet) return this.#ended();
        }
      }
      if (this.#state === atHeader) {
        if (this.#headerSeen === 0 && !this.#continued) {
          if (this.quietBelow > 0) this.#passQuietPackets();
          if (this.#end - this.offset > headerBytes) {
            this.#readHeader();
            if (!this.#quiet) return ScanEvent.begin;
            continue;
          }
        }
        if (!this.#gatherHeader()) return this.#usedUp();
        if (this.#continued) {
          this.#state = inBody;
          if (this.everyFrame) return ScanEvent.frame;
          continue;
        }
        this.#state = atFirstByte;
      }
      if (this.frameBytes > 0 && this.offset === this.#end) return this.#usedUp();
      this.#begin();
      if (!this.#quiet) return ScanEvent.begin;
    }
  }

  /** At `begin`: keep the first `bytesMax` bytes of this packet's payload until its end. In place if it lies in one chunk. */
  capture(bytesMax: number): void {
    this.#captureMax = bytesMax;
    this.#captured = 0;
    this.#inPlace = this.#frameLeft <= this.#end - this.offset && this.frameBytes < payloadBytesMax;
    this.payloadStart = this.offset;
  }

  /** At `begin`: gives the payload of this packet to the sink. */
  giveTo(sink: PayloadSink): void {
    this.#sinking = sink;
  }

  /** The data path: whole packets of no interest, header by header. */
  #passQuietPackets(): void {
    const chunk = this.#chunk;
    const end = this.#end;
    const quietBelow = this.quietBelow;
    const sink = this.sink;
    let offset = this.offset;
    let expected = this.#sequenceExpected;
    let passed = 0;
    while (end - offset > headerBytes) {
      const length = chunk[offset]! | (chunk[offset + 1]! << 8) | (chunk[offset + 2]! << 16);
      const after = offset + headerBytes + length;
      if (chunk[offset + 4]! >= quietBelow || after > end || length === 0 || length === payloadBytesMax) break;
      const sequenceId = chunk[offset + 3]!;
      if (sequenceId !== expected && expected >= 0) break;
      expected = (sequenceId + 1) & 0xff;
      if (sink !== undefined) {
        sink.row(chunk, offset + headerBytes, after);
        sink.rowEnd();
      }
      offset = after;
      passed++;
    }
    this.packets += passed;
    this.offset = offset;
    this.#sequenceExpected = expected;
  }

  /** A header that lies in the chunk whole, with a byte behind it. */
  #readHeader(): void {
    const chunk = this.#chunk;
    const at = this.offset;
    this.packetStart = at;
    this.frameBytes = chunk[at]! | (chunk[at + 1]! << 8) | (chunk[at + 2]! << 16);
    this.sequenceId = chunk[at + 3]!;
    this.offset = at + headerBytes;
    this.packetBytes = 0;
    this.#frameBegins();
    this.#begin();
  }

  #frameBegins(): void {
    this.#frameLeft = this.frameBytes;
    this.packetBytes += this.frameBytes;
    if (this.packetBytes > this.packetBytesMax) this.#fail(`a packet of at most ${this.packetBytesMax} bytes`);
  }

  /** Gathers a header, whatever chunks it comes in. */
  #gatherHeader(): boolean {
    const chunk = this.#chunk;
    if (this.#headerSeen === 0) {
      if (!this.#continued) {
        this.packetStart = this.offset;
        this.packetBytes = 0;
      }
      this.frameBytes = 0;
    }
    while (this.#headerSeen < headerBytes) {
      if (this.offset === this.#end) return false;
      const byte = chunk[this.offset++]!;
      if (this.#headerSeen < 3) this.frameBytes |= byte << (8 * this.#headerSeen);
      else this.sequenceId = byte;
      this.#headerSeen++;
    }
    this.#headerSeen = 0;
    this.#frameBegins();
    if (this.#continued) this.#checkSequence();
    return true;
  }

  #begin(): void {
    this.firstByte = this.frameBytes === 0 ? -1 : this.#chunk[this.offset]!;
    if (this.firstByte !== 0xff) this.#checkSequence();
    else this.#sequenceExpected = (this.sequenceId + 1) & 0xff;
    this.#quiet = this.firstByte >= 0 && this.firstByte < this.quietBelow;
    this.#captureMax = 0;
    this.#sinking = this.firstByte < eofHeader || (this.firstByte === eofHeader && this.frameBytes === payloadBytesMax) ? this.sink : undefined;
    this.#state = inBody;
  }

  #checkSequence(): void {
    if (this.sequenceId !== this.#sequenceExpected && this.#sequenceExpected >= 0) {
      this.#fail(`sequence id ${this.#sequenceExpected}, not ${this.sequenceId},`);
    }
    this.#sequenceExpected = (this.sequenceId + 1) & 0xff;
  }

  /** True once the frame's last byte was passed. */
  #passBody(): boolean {
    const passed = Math.min(this.#frameLeft, this.#end - this.offset);
    if (this.#captureMax > 0 && !this.#inPlace) this.#keep(this.offset, passed);
    if (this.#sinking !== undefined && passed > 0) this.#sinking.row(this.#chunk, this.offset, this.offset + passed);
    this.#frameLeft -= passed;
    this.offset += passed;
    return this.#frameLeft === 0;
  }

  /** Grows with what has come, never with what a header promises. */
  #keep(from: number, bytes: number): void {
    const kept = Math.min(bytes, this.#captureMax - this.#captured);
    const needed = this.#captured + kept;
    if (needed > this.#scratch.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(scratchFirstBytes, needed, Math.min(this.#scratch.length * 2, this.#captureMax)));
      this.#scratch.copy(larger, 0, 0, this.#captured);
      this.#scratch = larger;
    }
    this.#chunk.copy(this.#scratch, this.#captured, from, from + kept);
    this.#captured = needed;
  }

  #ended(): typeof ScanEvent.end {
    if (this.#captureMax > 0) {
      this.payloadCut = this.packetBytes > this.#captureMax;
      this.payload = this.#inPlace ? this.#chunk : this.#scratch;
      if (!this.#inPlace) this.payloadStart = 0;
      this.payloadEnd = this.payloadStart + Math.min(this.packetBytes, this.#captureMax);
    }
    return ScanEvent.end;
  }

  /** An idle session must hold neither the chunk nor a large scratch buffer. */
  #usedUp(): typeof ScanEvent.none {
    this.#chunk = nothing;
    this.payload = nothing;
    if (this.#scratch.length > scratchKeptBytesMax && (this.#state !== inBody || this.#captureMax === 0)) this.#scratch = nothing;
    return ScanEvent.none;
  }

  #fail(expected: string): never {
    throw new MalformedPacketError('packet', this.streamOffset, expected);
  }
}
