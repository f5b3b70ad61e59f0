import { crc32 } from 'node:zlib';

/** One change of one row. The version of an operation is the `firstVersion` of its batch plus its position in it. */
export interface LogOperation {
  readonly tableId: number;
  /** The document id's UTF-8 bytes. Empty, with no document: the whole table is dropped. */
  readonly handle: Buffer;
  /** Undefined: a delete mark. */
  readonly document: Buffer | undefined;
}

/** Operations with consecutive versions that are there entirely or not at all. */
export interface LogBatch {
  readonly firstVersion: number;
  readonly operations: readonly LogOperation[];
}

/** A batch as it lies in a segment. One without operations says only how far the log was durable: the last one of a clean close. */
export interface Frame {
  readonly batch: LogBatch;
  /** Everything up to here was on disk before this frame was written. It tells damage (later frames vouch for what is missing) from a torn tail. */
  readonly durableVersion: number;
  readonly bytes: number;
}

/*
 * Frame, little-endian:  u32 magic | u32 crc of all that follows | u32 bytes of the frame | u32 operations | u64 first version |
 * u64 durable version | operations.  Operation:  u32 table | u32 handle bytes | u32 document bytes + 1, 0 for a delete mark |
 * handle | document.
 */
const magic = 0x52_46_4e_42;
export const frameMagic = Buffer.from('BNFR', 'latin1');
export const frameHeadBytes = 32;
const operationHeadBytes = 12;

/** More than any batch that is let in; a length beyond it is damage, not data, and nobody allocates it. */
export const frameBytesMax = 256 * 2 ** 20;

/** The frame of a batch but for what `sealFrame` adds. Throws `RangeError` on a batch beyond `frameBytesMax`. */
export function encodeFrame(firstVersion: number, operations: readonly LogOperation[]): Buffer {
  let bytes = frameHeadBytes;
  for (const { handle, document } of operations) bytes += operationHeadBytes + handle.length + (document?.length ?? 0);
  if (bytes > frameBytesMax) throw new RangeError(`a batch of ${bytes} bytes is beyond the limit of ${frameBytesMax}`);
  const frame = Buffer.allocUnsafeSlow(bytes);
  frame.writeUInt32LE(magic, 0);
  frame.writeUInt32LE(bytes, 8);
  frame.writeUInt32LE(operations.length, 12);
  frame.writeBigUInt64LE(BigInt(firstVersion), 16);
  let offset = frameHeadBytes;
  for (const { tableId, handle, document } of operations) {
    frame.writeUInt32LE(tableId, offset);
    frame.writeUInt32LE(handle.length, offset + 4);
    frame.writeUInt32LE(document === undefined ? 0 : document.length + 1, offset + 8);
    offset += operationHeadBytes;
    frame.set(handle, offset);
    offset += handle.length;
    if (document === undefined) continue;
    frame.set(document, offset);
    offset += document.length;
  }
  return frame;
}

/** Fills in what is known only when the frame is about to be written. */
export function sealFrame(frame: Buffer, durableVersion: number): void {
  frame.writeBigUInt64LE(BigInt(durableVersion), 24);
  frame.writeUInt32LE(crc32(frame.subarray(8)), 4);
}

/** The length the frame at the start of `bytes` claims to have; undefined when no frame begins there. Needs `frameHeadBytes`. */
export function claimedFrameBytes(bytes: Buffer): number | undefined {
  if (bytes.readUInt32LE(0) !== magic) return undefined;
  const claimed = bytes.readUInt32LE(8);
  return claimed < frameHeadBytes || claimed > frameBytesMax ? undefined : claimed;
}

/** The frame that `bytes` are, exactly; undefined when they are damaged. Its operations share the memory of `bytes`. */
export function decodeFrame(bytes: Buffer): Frame | undefined {
  if (bytes.readUInt32LE(4) !== crc32(bytes.subarray(8))) return undefined;
  const count = bytes.readUInt32LE(12);
  const operations: LogOperation[] = [];
  let offset = frameHeadBytes;
  while (operations.length < count) {
    const tableId = bytes.readUInt32LE(offset);
    const handleEnd = offset + operationHeadBytes + bytes.readUInt32LE(offset + 4);
    const documentBytes = bytes.readUInt32LE(offset + 8) - 1;
    const handle = bytes.subarray(offset + operationHeadBytes, handleEnd);
    offset = documentBytes < 0 ? handleEnd : handleEnd + documentBytes;
    operations.push({ tableId, handle, document: documentBytes < 0 ? undefined : bytes.subarray(handleEnd, offset) });
  }
  const firstVersion = Number(bytes.readBigUInt64LE(16));
  return { batch: { firstVersion, operations }, durableVersion: Number(bytes.readBigUInt64LE(24)), bytes: bytes.length };
}
