import { type FileHandle, open } from 'node:fs/promises';
import { claimedFrameBytes, decodeFrame, type Frame, frameHeadBytes, frameMagic } from './log-record.js';
import { segmentHeadBytes, segmentHeadFault, type SegmentName } from './log-segment.js';

const chunkBytes = 2 ** 20;
/** Who follows the log reads its end, a few new records at a time. */
const chunkBytesMin = 2 ** 16;

/** Why there is no frame at a place: the file ends before it does, or what is there is no good frame. */
export type FrameFault = 'end' | 'cut short' | 'bad';

/** Reads the frames of one segment one after another, a megabyte or one frame at a time, whichever is more. */
export class FrameReader {
  #buffer = Buffer.alloc(0);
  /** Of the first byte of `#buffer`, in the file. */
  #bufferOffset = 0;
  #aheadBytes = chunkBytesMin;

  private constructor(
    readonly segment: SegmentName,
    private readonly handle: FileHandle,
    private position: number,
  ) {}

  /** Begins at the first frame, or at `position`, where one must begin. Rejects with `ENOENT` when the segment is gone. */
  static async open(segment: SegmentName, position = segmentHeadBytes): Promise<FrameReader> {
    return new FrameReader(segment, await open(segment.path, 'r'), position);
  }

  /** Of the next frame, in the file. */
  offset(): number {
    return this.position;
  }

  async headFault(): Promise<string | undefined> {
    const { bytesRead, buffer } = await this.handle.read(Buffer.alloc(segmentHeadBytes), 0, segmentHeadBytes, 0);
    return segmentHeadFault(buffer.subarray(0, bytesRead), this.segment.firstVersion);
  }

  async fileBytes(): Promise<number> {
    return (await this.handle.stat()).size;
  }

  /** The next frame; or why there is none, and then a later call looks at the same place again. */
  async next(): Promise<Frame | FrameFault> {
    const head = await this.#bytes(frameHeadBytes);
    if (head.length === 0) return 'end';
    if (head.length < frameHeadBytes) return 'cut short';
    const claimed = claimedFrameBytes(head);
    if (claimed === undefined) return 'bad';
    const whole = await this.#bytes(claimed);
    if (whole.length < claimed) return 'cut short';
    const frame = decodeFrame(whole);
    if (frame === undefined) return 'bad';
    this.position += claimed;
    return frame;
  }

  /** Drops what was read ahead: the writer may have cut it off and written something else there. */
  forget(): void {
    this.#buffer = Buffer.alloc(0);
  }

  /** Moves on to the next place where a frame may begin, behind a damaged one. False: there is none. */
  async skip(): Promise<boolean> {
    this.position += 1;
    for (;;) {
      const bytes = await this.#bytes(chunkBytes);
      const found = bytes.indexOf(frameMagic);
      if (found >= 0) this.position += found;
      if (found >= 0 || bytes.length < chunkBytes) return found >= 0;
      this.position += bytes.length - frameMagic.length + 1;
    }
  }

  /** Up to `count` bytes from the position, fewer at the end of the file. */
  async #bytes(count: number): Promise<Buffer> {
    const start = this.position - this.#bufferOffset;
    const have = this.#buffer.subarray(Math.min(start, this.#buffer.length));
    if (have.length >= count) return have.subarray(0, count);
    // A new buffer each time: the operations of frames handed out share the memory of the old one.
    const buffer = Buffer.allocUnsafeSlow(Math.max(this.#aheadBytes, count));
    have.copy(buffer);
    let filled = have.length;
    while (filled < buffer.length) {
      const { bytesRead } = await this.handle.read(buffer, filled, buffer.length - filled, this.position + filled);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    this.#aheadBytes = filled === buffer.length ? chunkBytes : chunkBytesMin;
    this.#buffer = buffer.subarray(0, filled);
    this.#bufferOffset = this.position;
    return this.#buffer.subarray(0, count);
  }

  async close(): Promise<void> {
    await this.handle.close();
  }
}
