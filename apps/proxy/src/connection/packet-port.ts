import { errHeader } from '@binnacle/mysql-wire/err-packet';
import { Errors } from '@binnacle/mysql-wire/error-codes';
import { framePayload, headerBytes, payloadBytesMax } from '@binnacle/mysql-wire/packet-header';
import type { ByteChannel } from './byte-channel.js';
import { BadPacket, ConnectionLost } from './mysql-error.js';
import { closeSoon, leave } from './nobody.js';

const nothing = Buffer.alloc(0);
/** While nobody reads, a peer that goes on sending is not listened to beyond this. */
const aheadBytesMax = 65_536;

/**
 * Whole packets over a channel, read one at a time, for as long as the proxy itself has the word: in logins and for its own commands. Owns the channel's
 * callbacks until `release`. Gone by the time a session forwards.
 */
export class PacketPort {
  /** Of the next packet, whoever sends it. */
  sequenceId = 0;
  readonly channel: ByteChannel;
  readonly #what: string;
  readonly #packetBytesMax: number;
  #bytes = nothing;
  #start = 0;
  #end = 0;
  #ended = false;
  #failure: Error | undefined;
  #waiting: { resolve: (payload: Buffer) => void; reject: (error: Error) => void } | undefined;

  /**
   * @param what the peer, for errors: `the client`
   * @param rest what was read of the stream before
   */
  constructor(channel: ByteChannel, what: string, packetBytesMax: number, rest: Buffer = nothing) {
    this.channel = channel;
    this.#what = what;
    this.#packetBytesMax = packetBytesMax;
    if (rest.length > 0) this.#keep(rest, 0, rest.length);
    channel.onBytes = (chunk, start, end) => this.#received(chunk, start, end);
    channel.onDrain = () => {};
    channel.onEnd = () => this.#peerEnded();
    channel.onClosed = (error) => this.#lost(error);
    if (channel.closed) this.#failure = new ConnectionLost(`${what} has closed the connection`);
    else channel.resume();
  }

  /**
   * The next payload; continuations are joined. It is the caller's own memory.
   * Rejects with `BadPacket` for a packet that is out of order or too long, with `ConnectionLost` when the peer has gone, or with what `fail` was given.
   */
  read(): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      if (this.#waiting !== undefined) throw new Error('two readers of one connection');
      this.#waiting = { resolve, reject };
      if (!this.#serve()) this.channel.resume();
    });
  }

  /** What has arrived and was read by nobody; bytes of an unfinished packet too. */
  get unread(): Buffer {
    return this.#bytes.subarray(this.#start, this.#end);
  }

  write(payload: Uint8Array): void {
    this.channel.write(framePayload(payload, this.sequenceId));
    this.#countFrames(payload.length);
  }

  /** The last thing to say; the connection is closed behind it. */
  finish(payload: Uint8Array): void {
    this.release();
    closeSoon(this.channel, framePayload(payload, this.sequenceId));
  }

  #countFrames(bytes: number): void {
    this.sequenceId = (this.sequenceId + Math.floor(bytes / payloadBytesMax) + 1) & 0xff;
  }

  /** The peer sends nothing more, or can no more be heard. */
  get ended(): boolean {
    return this.#ended || this.#failure !== undefined || this.channel.closed;
  }

  /** Whoever reads gets the error, now and later; what has arrived counts no more. */
  fail(error: Error): void {
    this.#failure ??= error;
    this.#start = this.#end;
    this.#serve();
  }

  /** Gives up the channel, paused, and what was read of it too much. A read under way never ends. */
  release(): Buffer {
    leave(this.channel);
    this.#waiting = undefined;
    return this.unread;
  }

  #received(chunk: Buffer, start: number, end: number): false {
    this.#keep(chunk, start, end);
    this.#serve();
    if (this.#waiting === undefined && this.#end - this.#start > aheadBytesMax) this.channel.pause();
    return false;
  }

  #peerEnded(): void {
    this.#ended = true;
    this.#serve();
  }

  #lost(error: Error | undefined): void {
    this.#failure ??= new ConnectionLost(`${this.#what} has closed the connection${error === undefined ? '' : `: ${error.message}`}`, { cause: error });
    this.#serve();
  }

  /** Grows with what has come, never with what a header promises. */
  #keep(chunk: Buffer, start: number, end: number): void {
    const held = this.#end - this.#start;
    const needed = held + end - start;
    if (this.#start > 0 || needed > this.#bytes.length) {
      const larger = needed > this.#bytes.length ? Buffer.allocUnsafeSlow(Math.max(needed, Math.min(2 * held, this.#packetBytesMax))) : this.#bytes;
      this.#bytes.copy(larger, 0, this.#start, this.#end);
      this.#bytes = larger;
      this.#start = 0;
    }
    chunk.copy(this.#bytes, held, start, end);
    this.#end = needed;
  }

  /** Whether there is nobody left who waits. */
  #serve(): boolean {
    const waiting = this.#waiting;
    if (waiting === undefined) return true;
    try {
      const payload = this.#take();
      if (payload === undefined) return false;
      this.#waiting = undefined;
      waiting.resolve(payload);
    } catch (error) {
      this.#waiting = undefined;
      waiting.reject(error as Error);
    }
    return true;
  }

  /** A packet that is there whole is given even when the peer has gone since: it may say why. */
  #take(): Buffer | undefined {
    const parts: Buffer[] = [];
    let bytes = 0;
    let at = this.#start;
    let sequenceId = this.sequenceId;
    for (let length = payloadBytesMax; length === payloadBytesMax; ) {
      if (this.#end - at < headerBytes) return this.#incomplete();
      length = this.#bytes.readUIntLE(at, 3);
      bytes += length;
      if (bytes > this.#packetBytesMax) throw new BadPacket(Errors.packetTooLarge, `Got a packet bigger than ${this.#packetBytesMax} bytes`);
      const given = this.#bytes[at + 3]!;
      at += headerBytes;
      if (given !== sequenceId) {
        if (at === this.#end) return this.#incomplete();
        // Servers send errors with whatever id they are at.
        if (length === 0 || this.#bytes[at] !== errHeader) throw new BadPacket(Errors.packetsOutOfOrder, 'Got packets out of order');
      }
      sequenceId = (given + 1) & 0xff;
      if (this.#end - at < length) return this.#incomplete();
      parts.push(this.#bytes.subarray(at, at + length));
      at += length;
    }
    this.#start = at;
    this.sequenceId = sequenceId;
    return Buffer.concat(parts, bytes);
  }

  #incomplete(): undefined {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#ended) throw new ConnectionLost(`${this.#what} has closed the connection`);
    return undefined;
  }
}
