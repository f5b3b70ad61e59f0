import { promisify } from 'node:util';
import { constants, deflateSync, inflate, inflateSync, zstdCompressSync, zstdDecompress, zstdDecompressSync, type ZlibOptions, type ZstdOptions } from 'node:zlib';
import { Capability, has } from './capabilities.js';
import { MalformedPacketError } from './malformed-packet-error.js';
import { payloadBytesMax } from './packet-header.js';

/** Frames of the compressed protocol: u24 length of the body, u8 sequence id, u24 length of the plain bytes; 0 there: the body is plain. */
const frameHeaderBytes = 7;
/** Less than this is not worth compressing; the figure every server has. */
const compressBytesMin = 50;
const scratchKeptBytesMax = 1_024;
const zstdLevelMax = 22;

export type CompressionAlgorithm = 'zlib' | 'zstd';

/** What was agreed upon; servers prefer zlib where a client offers both. Begins behind the login's OK. */
export function agreedCompression(capabilities: number): CompressionAlgorithm | undefined {
  if (has(capabilities, Capability.compress)) return 'zlib';
  return has(capabilities, Capability.zstdCompression) ? 'zstd' : undefined;
}

/** One frame as it came. */
export interface CompressedFrame {
  readonly body: Buffer;
  /** How many bytes are in it; 0: the body is not compressed. */
  readonly plainBytes: number;
}

const inflateLater: (body: Buffer, options: ZlibOptions) => Promise<Buffer> = promisify(inflate);
const zstdLater: (body: Buffer, options: ZstdOptions) => Promise<Buffer> = promisify(zstdDecompress);

/** Turns the frames of one direction into the plain bytes inside, in which packets may begin and end anywhere. */
export class CompressionDecoder {
  /** Of the frame that came last; what is sent back continues from it. -1 before the first. */
  sequenceId = -1;
  #pending: Buffer = Buffer.allocUnsafe(0);
  #length = 0;

  /** @param plainBytesMax of one frame: one that promises more is malformed before anything is inflated. A frame takes at most this and itself. */
  constructor(
    readonly algorithm: CompressionAlgorithm,
    readonly plainBytesMax = payloadBytesMax,
  ) {}

  /** Whether nothing of an unfinished frame is held. */
  get empty(): boolean {
    return this.#length === 0;
  }

  /** As `frames`, opened: each frame's plain bytes, a view of the chunk where it lay in it whole and was not compressed. */
  push(chunk: Buffer): Buffer[] {
    return this.frames(chunk).map((frame) => this.open(frame));
  }

  /**
   * The frames that are complete with this chunk, empty ones left out. It may be used again afterwards unless a frame that lay in it whole is among them:
   * that one is a view of it.
   * @throws MalformedPacketError
   */
  frames(chunk: Buffer): CompressedFrame[] {
    const frames: CompressedFrame[] = [];
    for (let offset = 0; offset < chunk.length; ) {
      const whole = this.#length === 0 ? this.#frameBytes(chunk, offset, chunk.length) : Infinity;
      if (chunk.length - offset >= whole && chunk.length - offset >= frameHeaderBytes) {
        this.#ended(chunk.subarray(offset, offset + whole), frames);
        offset += whole;
        continue;
      }
      // First the rest of the header, then, its length known, the rest of the body.
      const taken = Math.min(this.#frameBytes(this.#pending, 0, this.#length) - this.#length, chunk.length - offset);
      this.#keep(chunk, offset, taken);
      offset += taken;
      if (this.#length >= frameHeaderBytes && this.#length === this.#frameBytes(this.#pending, 0, this.#length)) this.#pendingEnded(frames);
    }
    return frames;
  }

  /**
   * At once: some 5 ms for a megabyte.
   * @throws MalformedPacketError
   */
  open({ body, plainBytes }: CompressedFrame): Buffer {
    if (plainBytes === 0) return body;
    let opened: Buffer;
    try {
      opened = this.algorithm === 'zlib' ? inflateSync(body, { maxOutputLength: plainBytes }) : zstdDecompressSync(body, { maxOutputLength: plainBytes });
    } catch {
      throw this.#cannotOpen(plainBytes);
    }
    return checked(opened, plainBytes);
  }

  /** As `open`, on another thread. */
  async openLater({ body, plainBytes }: CompressedFrame): Promise<Buffer> {
    if (plainBytes === 0) return body;
    const opened = await (this.algorithm === 'zlib' ? inflateLater : zstdLater)(body, { maxOutputLength: plainBytes }).catch(() => {
      throw this.#cannotOpen(plainBytes);
    });
    return checked(opened, plainBytes);
  }

  #cannotOpen(plainBytes: number): MalformedPacketError {
    return new MalformedPacketError('compressed frame', frameHeaderBytes, `${plainBytes} bytes in ${this.algorithm}`);
  }

  /** Of the frame whose first bytes are there; of its header alone as long as that is not complete. */
  #frameBytes(bytes: Buffer, start: number, end: number): number {
    if (end - start < frameHeaderBytes) return frameHeaderBytes;
    const plainBytes = bytes.readUIntLE(start + 4, 3);
    if (plainBytes > this.plainBytesMax) throw new MalformedPacketError('compressed frame', 4, `at most ${this.plainBytesMax} plain bytes`);
    return frameHeaderBytes + bytes.readUIntLE(start, 3);
  }

  #keep(chunk: Buffer, offset: number, bytes: number): void {
    const needed = this.#length + bytes;
    if (needed > this.#pending.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.#pending.length * 2, frameHeaderBytes));
      this.#pending.copy(larger, 0, 0, this.#length);
      this.#pending = larger;
    }
    chunk.copy(this.#pending, this.#length, offset, offset + bytes);
    this.#length = needed;
  }

  #pendingEnded(frames: CompressedFrame[]): void {
    this.#ended(Buffer.from(this.#pending.subarray(0, this.#length)), frames);
    this.#length = 0;
    if (this.#pending.length > scratchKeptBytesMax) this.#pending = Buffer.allocUnsafe(0);
  }

  #ended(frame: Buffer, frames: CompressedFrame[]): void {
    this.sequenceId = frame[3]!;
    const body = frame.subarray(frameHeaderBytes);
    const plainBytes = frame.readUIntLE(4, 3);
    if (body.length > 0 || plainBytes > 0) frames.push({ body, plainBytes });
  }
}

function checked(opened: Buffer, plainBytes: number): Buffer {
  if (opened.length !== plainBytes) throw new MalformedPacketError('compressed frame', 4, `the plain length ${opened.length}, not ${plainBytes},`);
  return opened;
}

/** Wraps plain bytes of one direction into frames. */
export class CompressionEncoder {
  /** Of the next frame. Ids begin at 0 with a command; an answer's continue from the command's last frame. */
  sequenceId = 0;

  /** @param level of zstd, 1 to 22; zlib has its default */
  constructor(
    readonly algorithm: CompressionAlgorithm,
    readonly level = 3,
  ) {
    if (!(level >= 1 && level <= zstdLevelMax)) throw new RangeError(`zstd levels are 1 to ${zstdLevelMax}`);
  }

  /** Each frame as its header and its body, ready to be written in their order. */
  encode(plain: Buffer): Buffer[] {
    const frames: Buffer[] = [];
    for (let offset = 0; offset < plain.length; offset += payloadBytesMax) this.#frame(plain.subarray(offset, offset + payloadBytesMax), frames);
    return frames;
  }

  #frame(plain: Buffer, frames: Buffer[]): void {
    const packed = plain.length < compressBytesMin ? plain : this.#pack(plain);
    const smaller = packed.length < plain.length;
    const body = smaller ? packed : plain;
    const header = Buffer.allocUnsafe(frameHeaderBytes);
    header.writeUIntLE(body.length, 0, 3);
    header[3] = this.sequenceId;
    header.writeUIntLE(smaller ? plain.length : 0, 4, 3);
    this.sequenceId = (this.sequenceId + 1) & 0xff;
    frames.push(header, body);
  }

  #pack(plain: Buffer): Buffer {
    if (this.algorithm === 'zlib') return deflateSync(plain);
    return zstdCompressSync(plain, { params: { [constants.ZSTD_c_compressionLevel]: this.level } });
  }
}
