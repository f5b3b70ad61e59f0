import { crc32 } from 'node:zlib';

/*
 * The index file: `BNFC0001`, then frames of u32 length, u32 CRC32 of the payload, payload. A payload is records, little endian:
 *
 *   1 mirror   u32 id, f64 bytes of the segment, u16 length, key
 *   2 entry    u32 slot, u32 id of its mirror, f64 offset, u32 length, u8 type, u32 CRC32 of its bytes, f64 last use in ms
 *   3 removed  u32 slot
 *   4 used     u32 slot, f64 last use in ms
 *
 * It is read up to the first frame that is not whole.
 */
export const indexFileMagic = Buffer.from('BNFC0001');
export const frameHeaderBytes = 8;
/** Frames are read and applied one at a time: some 8,000 entries, 3 ms. */
export const frameBytesMax = 256 * 1024;
const keyBytesMax = 1_024;
const mirrorHeaderBytes = 15;
const recordBytes = { entry: 34, removed: 5, used: 13 } as const;
/** Of an entry and its share of its mirror, to tell how much of a file is history. */
export const liveEntryBytes = 50;

export interface EntryRecord {
  readonly slot: number;
  readonly mirrorId: number;
  readonly offset: number;
  readonly length: number;
  readonly type: number;
  readonly checksum: number;
  readonly accessedMs: number;
}

export interface RecordReader {
  mirror(id: number, bytes: number, key: string): void;
  entry(record: EntryRecord): void;
  removed(slot: number): void;
  used(slot: number, accessedMs: number): void;
}

/** Collects records as whole frames. */
export class FrameWriter {
  #frames: Buffer[] = [];
  #bytes = 0;
  #payload = Buffer.allocUnsafe(frameBytesMax);
  #length = 0;

  bytes(): number {
    return this.#bytes + (this.#length === 0 ? 0 : frameHeaderBytes + this.#length);
  }

  mirror(id: number, bytes: number, key: string): void {
    const text = Buffer.from(key);
    if (text.length > keyBytesMax) throw new Error(`the key ${key} is too long`);
    const at = this.#reserve(mirrorHeaderBytes + text.length);
    this.#payload.writeUInt8(1, at);
    this.#payload.writeUInt32LE(id, at + 1);
    this.#payload.writeDoubleLE(bytes, at + 5);
    this.#payload.writeUInt16LE(text.length, at + 13);
    text.copy(this.#payload, at + mirrorHeaderBytes);
  }

  entry({ slot, mirrorId, offset, length, type, checksum, accessedMs }: EntryRecord): void {
    const at = this.#reserve(recordBytes.entry);
    this.#payload.writeUInt8(2, at);
    this.#payload.writeUInt32LE(slot, at + 1);
    this.#payload.writeUInt32LE(mirrorId, at + 5);
    this.#payload.writeDoubleLE(offset, at + 9);
    this.#payload.writeUInt32LE(length, at + 17);
    this.#payload.writeUInt8(type, at + 21);
    this.#payload.writeUInt32LE(checksum, at + 22);
    this.#payload.writeDoubleLE(accessedMs, at + 26);
  }

  removed(slot: number): void {
    const at = this.#reserve(recordBytes.removed);
    this.#payload.writeUInt8(3, at);
    this.#payload.writeUInt32LE(slot, at + 1);
  }

  used(slot: number, accessedMs: number): void {
    const at = this.#reserve(recordBytes.used);
    this.#payload.writeUInt8(4, at);
    this.#payload.writeUInt32LE(slot, at + 1);
    this.#payload.writeDoubleLE(accessedMs, at + 5);
  }

  /** What was collected since the last time. */
  take(): Buffer[] {
    this.#seal();
    const frames = this.#frames;
    this.#frames = [];
    this.#bytes = 0;
    return frames;
  }

  #reserve(bytes: number): number {
    if (this.#length + bytes > frameBytesMax) this.#seal();
    const at = this.#length;
    this.#length += bytes;
    return at;
  }

  #seal(): void {
    if (this.#length === 0) return;
    const frame = Buffer.allocUnsafe(frameHeaderBytes + this.#length);
    this.#payload.copy(frame, frameHeaderBytes, 0, this.#length);
    frame.writeUInt32LE(this.#length, 0);
    frame.writeUInt32LE(crc32(frame.subarray(frameHeaderBytes)), 4);
    this.#frames.push(frame);
    this.#bytes += frame.length;
    this.#length = 0;
  }
}

/** Throws on a record that is none. */
export function readRecords(payload: Buffer, reader: RecordReader): void {
  for (let at = 0; at < payload.length; ) {
    const kind = payload.readUInt8(at);
    if (kind === 1) {
      const end = at + mirrorHeaderBytes + payload.readUInt16LE(at + 13);
      reader.mirror(payload.readUInt32LE(at + 1), payload.readDoubleLE(at + 5), payload.toString('utf8', at + mirrorHeaderBytes, end));
      at = end;
    } else if (kind === 2) {
      reader.entry({
        slot: payload.readUInt32LE(at + 1),
        mirrorId: payload.readUInt32LE(at + 5),
        offset: payload.readDoubleLE(at + 9),
        length: payload.readUInt32LE(at + 17),
        type: payload.readUInt8(at + 21),
        checksum: payload.readUInt32LE(at + 22),
        accessedMs: payload.readDoubleLE(at + 26),
      });
      at += recordBytes.entry;
    } else if (kind === 3) {
      reader.removed(payload.readUInt32LE(at + 1));
      at += recordBytes.removed;
    } else if (kind === 4) {
      reader.used(payload.readUInt32LE(at + 1), payload.readDoubleLE(at + 5));
      at += recordBytes.used;
    } else throw new Error(`a record of the unknown kind ${kind}`);
  }
}
