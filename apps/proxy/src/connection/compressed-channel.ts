import { CompressionDecoder, CompressionEncoder, type CompressionAlgorithm } from '@binnacle/mysql-wire/compression';
import { headerBytes } from '@binnacle/mysql-wire/packet-header';
import type { ByteChannel } from './byte-channel.js';

const ignore = (): void => {};

/**
 * The compressed protocol over another channel, from behind the login on. Memory of its own is written, except for what is too small or too dense to be
 * compressed, so `writesPending` is true as long as anything waits.
 */
export class CompressedChannel implements ByteChannel {
  onBytes: (chunk: Buffer, start: number, end: number) => boolean = () => false;
  onDrain: () => void = ignore;
  onEnd: () => void = ignore;
  onClosed: (error?: Error) => void = ignore;

  readonly #inner: ByteChannel;
  readonly #decoder: CompressionDecoder;
  readonly #encoder: CompressionEncoder;
  /** Who we are on this connection: a client's commands begin with id 0, a server's answers go on from the command's. */
  readonly #role: 'client' | 'server';
  #paused = true;
  /** Decompressed and not taken yet, because of a pause in the middle of a chunk. */
  #waiting: Buffer[] = [];
  #ended = false;
  #error: Error | undefined;

  /** Where we are in the packets written: what is left of one's payload, and the bytes of a header that is not complete. */
  #payloadLeft = 0;
  #header = Buffer.alloc(0);
  #lastId = -1;

  constructor(inner: ByteChannel, algorithm: CompressionAlgorithm, role: 'client' | 'server') {
    this.#inner = inner;
    this.#decoder = new CompressionDecoder(algorithm);
    this.#encoder = new CompressionEncoder(algorithm);
    this.#role = role;
    inner.onBytes = (chunk, start, end) => this.#received(chunk.subarray(start, end));
    inner.onDrain = () => this.onDrain();
    inner.onEnd = () => this.#innerEnded();
    inner.onClosed = (error) => this.onClosed(this.#error ?? error);
  }

  #received(chunk: Buffer): boolean {
    let plain: Buffer[];
    try {
      plain = this.#decoder.push(chunk);
    } catch (error) {
      this.#error = error as Error;
      this.#inner.destroy();
      return false;
    }
    if (this.#decoder.sequenceId >= 0) this.#encoder.sequenceId = (this.#decoder.sequenceId + 1) & 0xff;
    let taken = false;
    for (let i = 0; i < plain.length; i++) {
      if (this.#paused) {
        // The rest may be views of the chunk.
        this.#waiting = plain.slice(i);
        return true;
      }
      const piece = plain[i]!;
      if (this.onBytes(piece, 0, piece.length)) taken = true;
    }
    return taken;
  }

  #innerEnded(): void {
    this.#ended = true;
    if (this.#waiting.length === 0) this.onEnd();
  }

  pause(): void {
    this.#paused = true;
    this.#inner.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if (this.#waiting.length === 0) return this.#inner.resume();
    // Never within the call, as with every channel.
    process.nextTick(() => this.#giveWaiting());
  }

  #giveWaiting(): void {
    while (!this.#paused && !this.closed) {
      const piece = this.#waiting.shift();
      if (piece === undefined) {
        this.#inner.resume();
        if (this.#ended) this.onEnd();
        return;
      }
      this.onBytes(piece, 0, piece.length);
    }
  }

  write(chunk: Buffer): boolean {
    let fits = !this.full;
    for (const part of this.#framed(chunk)) fits = this.#inner.write(part);
    return fits;
  }

  end(last?: Buffer): void {
    if (last !== undefined) this.write(last);
    this.#inner.end();
  }

  /** A client's frames begin again with id 0 where a command begins. */
  #framed(chunk: Buffer): Buffer[] {
    if (this.#role === 'server') return this.#encoder.encode(chunk);
    const bytes = this.#header.length === 0 ? chunk : Buffer.concat([this.#header, chunk]);
    this.#header = Buffer.alloc(0);
    const frames: Buffer[] = [];
    let begin = 0;
    for (let at = this.#payloadLeft; ; ) {
      if (at > bytes.length) {
        this.#payloadLeft = at - bytes.length;
        break;
      }
      this.#payloadLeft = 0;
      if (bytes.length - at < headerBytes) {
        this.#header = Buffer.from(bytes.subarray(at));
        frames.push(...this.#encoder.encode(bytes.subarray(begin, at)));
        return frames;
      }
      const id = bytes[at + 3]!;
      // Behind 255 a file of LOAD DATA LOCAL goes on with 0.
      if (id === 0 && this.#lastId !== 0xff) {
        frames.push(...this.#encoder.encode(bytes.subarray(begin, at)));
        begin = at;
        this.#encoder.sequenceId = 0;
      }
      this.#lastId = id;
      at += headerBytes + bytes.readUIntLE(at, 3);
    }
    frames.push(...this.#encoder.encode(bytes.subarray(begin)));
    return frames;
  }

  get writesPending(): boolean {
    return this.#inner.writesPending;
  }

  get full(): boolean {
    return this.#inner.full;
  }

  destroy(): void {
    this.#inner.destroy();
  }

  get closed(): boolean {
    return this.#inner.closed;
  }

  get bytesRead(): number {
    return this.#inner.bytesRead;
  }

  get bytesWritten(): number {
    return this.#inner.bytesWritten;
  }

  get remoteAddress(): string {
    return this.#inner.remoteAddress;
  }

  get remotePort(): number {
    return this.#inner.remotePort;
  }

  get localPort(): number {
    return this.#inner.localPort;
  }

  get secure(): boolean {
    return this.#inner.secure;
  }
}
