import { CompressionDecoder, CompressionEncoder, type CompressedFrame, type CompressionAlgorithm } from '@binnacle/mysql-wire/compression';
import { headerBytes, payloadBytesMax } from '@binnacle/mysql-wire/packet-header';
import type { ByteChannel, Keepalive } from './byte-channel.js';
import { HeaderWalk } from './header-walk.js';

const ignore = (): void => {};
const nothing = Buffer.alloc(0);
/** Opening this much takes a millisecond or two of everybody's time. */
const openedAtOnceBytesMax = 262_144;

/**
 * The compressed protocol over another channel, from behind the login on. Frames have sequence ids of their own: those of a command begin with 0, an
 * answer's go on from the command's; and the packets in a server's frames are counted on from the frames before them, not from the packets.
 */
export class CompressedChannel implements ByteChannel {
  onBytes: (chunk: Buffer, start: number, end: number) => boolean = () => false;
  onDrain: () => void = ignore;
  onEnd: () => void = ignore;
  onClosed: (error?: Error) => void = ignore;

  readonly #inner: ByteChannel;
  readonly #decoder: CompressionDecoder;
  readonly #encoder: CompressionEncoder;
  /** Only of who sends commands. */
  readonly #commands: CommandFrames | undefined;
  readonly #longPackets: LongPackets | undefined;
  #paused = true;
  /** Not opened and given yet, because of a pause in the middle of a chunk or of a large frame: at most what one chunk completed. */
  #waiting: CompressedFrame[] = [];
  /** The first of those that wait is on its way through another thread. */
  #opening = false;
  /** The peer has ended, and that is to be told behind what waits. */
  #endWaits = false;
  #error: Error | undefined;

  /** @param role who we are on this connection: a backend's client, or a client's server */
  constructor(inner: ByteChannel, algorithm: CompressionAlgorithm, role: 'client' | 'server') {
    this.#inner = inner;
    this.#decoder = new CompressionDecoder(algorithm);
    this.#encoder = new CompressionEncoder(algorithm);
    if (role === 'client') this.#commands = new CommandFrames(this.#encoder);
    else this.#longPackets = new LongPackets();
    inner.onBytes = (chunk, start, end) => this.#received(chunk.subarray(start, end));
    inner.onDrain = () => this.onDrain();
    inner.onEnd = () => this.#innerEnded();
    inner.onClosed = (error) => this.onClosed(this.#error ?? error);
  }

  #received(chunk: Buffer): boolean {
    let frames: CompressedFrame[];
    try {
      frames = this.#decoder.frames(chunk);
    } catch (error) {
      this.#fail(error as Error);
      return false;
    }
    if (this.#decoder.sequenceId >= 0) this.#encoder.sequenceId = (this.#decoder.sequenceId + 1) & 0xff;
    let taken = false;
    for (let i = 0; i < frames.length; i++) {
      if (this.#paused || frames[i]!.plainBytes > openedAtOnceBytesMax) {
        // What waits may be views of the chunk.
        this.#waiting = frames.slice(i);
        this.#inner.pause();
        this.#giveWaiting();
        return true;
      }
      if (this.#give(frames[i]!)) taken = true;
    }
    return taken;
  }

  #give(frame: CompressedFrame): boolean {
    if (this.closed) return false;
    let piece: Buffer;
    try {
      piece = this.#decoder.open(frame);
    } catch (error) {
      this.#fail(error as Error);
      return false;
    }
    this.#commands?.renumber(piece);
    this.#longPackets?.renumber(piece);
    return this.onBytes(piece, 0, piece.length);
  }

  #fail(error: Error): void {
    this.#error ??= error;
    this.#inner.destroy();
  }

  #innerEnded(): void {
    if (this.#waiting.length === 0) this.onEnd();
    else this.#endWaits = true;
  }

  pause(): void {
    this.#paused = true;
    this.#inner.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if (this.#waiting.length === 0 && !this.#endWaits) return this.#inner.resume();
    // Never within the call, as with every channel.
    process.nextTick(() => this.#giveWaiting());
  }

  #giveWaiting(): void {
    while (!this.#paused && !this.#opening && !this.closed) {
      const frame = this.#waiting[0];
      if (frame === undefined) {
        this.#inner.resume();
        if (this.#endWaits) this.onEnd();
        this.#endWaits = false;
        return;
      }
      if (frame.plainBytes > openedAtOnceBytesMax) return this.#openLater(frame);
      this.#waiting.shift();
      this.#give(frame);
    }
  }

  /** Megabytes take their time: on another thread, while this channel waits. */
  #openLater(frame: CompressedFrame): void {
    this.#opening = true;
    this.#decoder.openLater(frame).then(
      (body) => {
        this.#opening = false;
        this.#waiting[0] = { body, plainBytes: 0 };
        this.#giveWaiting();
      },
      (error: Error) => this.#fail(error),
    );
  }

  write(chunk: Buffer): boolean {
    for (const part of this.#commands?.encode(chunk) ?? this.#encoder.encode(chunk)) this.#inner.write(part);
    return !this.#inner.full;
  }

  end(last?: Buffer): void {
    if (last !== undefined) this.write(last);
    this.#inner.end();
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

  keepAlive(keepalive: Keepalive): void {
    this.#inner.keepAlive(keepalive);
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

/** The frames of commands, which begin where a command does, and the packets of their answers, which are to be numbered as if there were no frames. */
class CommandFrames {
  readonly #written = new HeaderWalk();
  readonly #read = new HeaderWalk();
  /** Bytes of a header that is not complete: whether a command begins there is not known yet. */
  #held: Buffer = nothing;
  /** Of the packet written last. */
  #lastId = -1;
  /** What is to be added to the ids of the answer. */
  #shift = 0;

  constructor(private readonly encoder: CompressionEncoder) {}

  encode(chunk: Buffer): Buffer[] {
    const bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    this.#held = nothing;
    const frames: Buffer[] = [];
    let begin = 0;
    for (let at = this.#written.next(bytes, 0); at !== -1; at = this.#written.next(bytes, at + 1)) {
      const id = bytes[at]!;
      // Behind 255 a file of LOAD DATA LOCAL goes on with 0.
      if (id === 0 && this.#lastId !== 0xff) {
        frames.push(...this.encoder.encode(bytes.subarray(begin, at + 1 - headerBytes)));
        begin = at + 1 - headerBytes;
        this.encoder.sequenceId = 0;
      }
      this.#lastId = id;
    }
    const end = bytes.length - this.#written.headerPending;
    this.#written.rewind();
    frames.push(...this.encoder.encode(bytes.subarray(begin, end)));
    this.#held = end === bytes.length ? nothing : Buffer.from(bytes.subarray(end));
    this.#shift = (this.#lastId + 1 - this.encoder.sequenceId) & 0xff;
    return frames;
  }

  renumber(piece: Buffer): void {
    for (let at = this.#read.next(piece, 0); at !== -1; at = this.#read.next(piece, at + 1)) piece[at] = (piece[at]! + this.#shift) & 0xff;
  }
}

/** Clients number the second part of a packet over 16 MB by its frame, often 0 once more; a server without compression wants the id behind that of the first part. */
class LongPackets {
  readonly #read = new HeaderWalk();
  #lastId = 0;
  #goesOn = false;

  renumber(piece: Buffer): void {
    for (let at = this.#read.next(piece, 0); at !== -1; at = this.#read.next(piece, at + 1)) {
      if (this.#goesOn) piece[at] = (this.#lastId + 1) & 0xff;
      this.#lastId = piece[at]!;
      this.#goesOn = this.#read.payloadBytes === payloadBytesMax;
    }
  }
}
