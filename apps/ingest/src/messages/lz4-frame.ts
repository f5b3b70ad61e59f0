import { setImmediate as nextTurn } from 'node:timers/promises';
import xxhash from 'xxhash-wasm';
import { BadMessage, MessageTooLong } from './bad-message.js';

/*
 * LZ4's frame format, for reading: https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md and lz4_Block_format.md.
 *
 * Our own because what a frame becomes has to be limited while it is read, and no library for Node.js does that: 16 MiB may say 4 GiB.
 */

const { h32Raw, create32 } = await xxhash();

const frameMagic = 0x184d2204;
const skippableMagic = 0x184d2a50;
const uncompressedFlag = 0x80000000;
/** By the code in the frame's head; from 4 on. */
const blockBytesMax = [2 ** 16, 2 ** 18, 2 ** 20, 2 ** 22];
const firstRoomBytes = 64 * 1024;
/** How much is done without letting others work, in bytes that come out; a sequence counts as some, for its own sake: about 5 ms. */
const workPerSlice = 2 * 2 ** 20;
const workOfSequence = 32;
/** Of a frame or a block, also where nothing comes out. */
const workOfHead = 256;

/** What one or more frames say together, read in slices. Rejects with `BadMessage` when they are broken, or would say more than `bytesMax`. */
export async function readLz4Frames(frames: Buffer, bytesMax: number): Promise<Buffer> {
  try {
    return await new FrameReader(frames, bytesMax).read();
  } catch (error) {
    // Reading beyond the end of a buffer throws.
    throw error instanceof BadMessage ? error : new BadMessage('an LZ4 frame is cut off', { cause: error });
  }
}

class FrameReader {
  #at = 0;
  #out: Buffer;
  #length = 0;
  /** Since others could work. */
  #work = 0;

  constructor(
    private readonly input: Buffer,
    private readonly bytesMax: number,
  ) {
    this.#out = Buffer.allocUnsafe(Math.min(firstRoomBytes, bytesMax));
  }

  async read(): Promise<Buffer> {
    while (this.#at < this.input.length) {
      const magic = this.#uint32();
      if (magic === frameMagic) await this.#readFrame();
      else if ((magic & 0xfffffff0) >>> 0 === skippableMagic) this.#take(this.#uint32());
      else throw new BadMessage('this is no LZ4 frame');
      this.#work += workOfHead;
      if (this.#work >= workPerSlice) await this.#letOthersWork();
    }
    return this.#out.subarray(0, this.#length);
  }

  async #readFrame(): Promise<void> {
    const headStart = this.#at;
    const flags = this.#byte();
    const sizeCode = (this.#byte() >> 4) & 7;
    const hasBlockChecksums = (flags & 0x10) !== 0;
    const hasContentSize = (flags & 0x08) !== 0;
    const hasContentChecksum = (flags & 0x04) !== 0;
    if (flags >> 6 !== 1 || sizeCode < 4) throw new BadMessage('an LZ4 frame of another version');
    if ((flags & 0x01) !== 0) throw new BadMessage('an LZ4 frame with a dictionary, which nobody has');
    const contentBytes = hasContentSize ? Number(this.#take(8).readBigUInt64LE()) : undefined;
    if (((h32Raw(this.input.subarray(headStart, this.#at)) >>> 8) & 0xff) !== this.#byte()) throw new BadMessage('the head of an LZ4 frame is damaged');
    if ((contentBytes ?? 0) > this.bytesMax - this.#length) throw new MessageTooLong(this.bytesMax);
    const contentStart = this.#length;
    const checksum = hasContentChecksum ? create32() : undefined;
    const isIndependent = (flags & 0x20) !== 0;
    for (let size = this.#uint32(); size !== 0; size = this.#uint32()) {
      const block = this.#take(size & ~uncompressedFlag);
      if (hasBlockChecksums && h32Raw(block) >>> 0 !== this.#uint32()) throw new BadMessage('a block of an LZ4 frame is damaged');
      const blockStart = this.#length;
      if (size >= uncompressedFlag) this.#append(block);
      else await this.#readBlock(block, isIndependent ? blockStart : contentStart);
      if (this.#length - blockStart > (blockBytesMax[sizeCode - 4] as number)) throw new BadMessage('a block of an LZ4 frame is longer than its head says');
      checksum?.update(this.#out.subarray(blockStart, this.#length));
      this.#work += this.#length - blockStart + workOfHead;
      if (this.#work >= workPerSlice) await this.#letOthersWork();
    }
    const content = this.#out.subarray(contentStart, this.#length);
    if (checksum !== undefined && checksum.digest() >>> 0 !== this.#uint32()) throw new BadMessage('what an LZ4 frame says is damaged');
    if (contentBytes !== undefined && contentBytes !== content.length) throw new BadMessage('an LZ4 frame says another length than it has');
  }

  /** @param windowStart the first byte of the output that a match may go back to */
  async #readBlock(block: Buffer, windowStart: number): Promise<void> {
    for (let at = 0; at < block.length; ) {
      const token = block[at++] as number;
      const lengthFrom = (start: number): number => {
        let length = start;
        if (start !== 15) return length;
        for (let byte = 255; byte === 255; length += byte) byte = byteOf(block, at++);
        return length;
      };
      const literals = lengthFrom(token >> 4);
      if (at + literals > block.length) throw new BadMessage('a block of an LZ4 frame is cut off');
      this.#append(block.subarray(at, at + literals));
      at += literals;
      // The last sequence has literals alone.
      if (at === block.length) return;
      const distance = byteOf(block, at) | (byteOf(block, at + 1) << 8);
      at += 2;
      this.#repeat(distance, lengthFrom(token & 15) + 4, windowStart);
      this.#work += workOfSequence;
      if (this.#work >= workPerSlice) await this.#letOthersWork();
    }
  }

  async #letOthersWork(): Promise<void> {
    this.#work = 0;
    await nextTurn();
  }

  #repeat(distance: number, length: number, windowStart: number): void {
    const from = this.#length - distance;
    if (distance === 0 || from < windowStart) throw new BadMessage('a block of an LZ4 frame repeats what is not there');
    this.#makeRoom(length);
    const out = this.#out;
    const start = this.#length;
    // A match may reach into what it writes itself: then it is copied in pieces, each as long as all that is there.
    for (let copied = 0; copied < length; ) {
      const piece = Math.min(length - copied, distance + copied);
      out.copyWithin(start + copied, from, from + piece);
      copied += piece;
    }
    this.#length += length;
  }

  #append(bytes: Buffer): void {
    this.#makeRoom(bytes.length);
    bytes.copy(this.#out, this.#length);
    this.#length += bytes.length;
  }

  #makeRoom(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed > this.bytesMax) throw new MessageTooLong(this.bytesMax);
    if (needed <= this.#out.length) return;
    const larger = Buffer.allocUnsafe(Math.min(this.bytesMax, Math.max(needed, this.#out.length * 2)));
    this.#out.copy(larger, 0, 0, this.#length);
    this.#out = larger;
  }

  #take(length: number): Buffer {
    const end = this.#at + length;
    if (length < 0 || end > this.input.length) throw new BadMessage('an LZ4 frame is cut off');
    const bytes = this.input.subarray(this.#at, end);
    this.#at = end;
    return bytes;
  }

  #byte(): number {
    return byteOf(this.input, this.#at++);
  }

  #uint32(): number {
    return this.#take(4).readUInt32LE();
  }
}

function byteOf(bytes: Buffer, at: number): number {
  if (at >= bytes.length) throw new BadMessage('an LZ4 frame is cut off');
  return bytes[at] as number;
}
