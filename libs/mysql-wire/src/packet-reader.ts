import { MalformedPacketError } from './malformed-packet-error.js';

/**
 * Reads the fields of one payload in their order. Every read checks its bounds first and throws `MalformedPacketError`, so a
 * decoder needs no checks of its own. Buffers it gives are views of the payload: copy what outlives it.
 */
export class PacketReader {
  /** Of the next field, in bytes from the beginning of `bytes`. */
  offset: number;

  /** @param what names the packet in errors */
  constructor(
    readonly bytes: Buffer,
    readonly what: string,
    start = 0,
    readonly end = bytes.length,
  ) {
    this.offset = start;
  }

  get left(): number {
    return this.end - this.offset;
  }

  fail(expected: string): never {
    throw new MalformedPacketError(this.what, this.offset, expected);
  }

  #take(bytes: number, field: string): number {
    if (this.left < bytes) this.fail(`${field} of ${bytes} bytes, not the end,`);
    const at = this.offset;
    this.offset += bytes;
    return at;
  }

  u8(field: string): number {
    return this.bytes[this.#take(1, field)]!;
  }

  u16(field: string): number {
    return this.bytes.readUInt16LE(this.#take(2, field));
  }

  u24(field: string): number {
    return this.bytes.readUIntLE(this.#take(3, field), 3);
  }

  u32(field: string): number {
    return this.bytes.readUInt32LE(this.#take(4, field));
  }

  u64(field: string): bigint {
    return this.bytes.readBigUInt64LE(this.#take(8, field));
  }

  /** A length-encoded integer; 0xFB (NULL) and 0xFF (an error) are not numbers and refused. */
  lenenc(field: string): bigint {
    const first = this.u8(field);
    if (first < 0xfb) return BigInt(first);
    if (first === 0xfc) return BigInt(this.u16(field));
    if (first === 0xfd) return BigInt(this.u24(field));
    if (first === 0xfe) return this.u64(field);
    this.offset--;
    return this.fail(`${field} as a length-encoded integer`);
  }

  /** A length-encoded length of something inside this payload: one that reaches beyond its end is refused here. */
  lenencLength(field: string): number {
    const at = this.offset;
    const length = this.lenenc(field);
    if (length <= BigInt(this.left)) return Number(length);
    this.offset = at;
    return this.fail(`a length of ${field} that fits into the packet`);
  }

  fixed(bytes: number, field: string): Buffer {
    const at = this.#take(bytes, field);
    return this.bytes.subarray(at, at + bytes);
  }

  lenencBytes(field: string): Buffer {
    return this.fixed(this.lenencLength(field), field);
  }

  lenencString(field: string): string {
    return this.lenencBytes(field).toString();
  }

  /** Up to a NUL, which is read too and not part of the result. */
  nullTerminated(field: string): Buffer {
    const nul = this.#nul();
    if (nul < 0) this.fail(`a NUL after ${field}`);
    const value = this.bytes.subarray(this.offset, nul);
    this.offset = nul + 1;
    return value;
  }

  /** As `nullTerminated`, but the end of the packet will do: some clients leave the last NUL away. */
  nullTerminatedOrRest(field: string): Buffer {
    return this.#nul() < 0 ? this.rest() : this.nullTerminated(field);
  }

  #nul(): number {
    const nul = this.bytes.indexOf(0, this.offset);
    return nul >= this.end ? -1 : nul;
  }

  rest(): Buffer {
    const value = this.bytes.subarray(this.offset, this.end);
    this.offset = this.end;
    return value;
  }

  /** The next field must be this byte. */
  expect(byte: number, field: string): void {
    if (this.left < 1 || this.bytes[this.offset] !== byte) this.fail(`${field} (0x${byte.toString(16).padStart(2, '0')})`);
    this.offset++;
  }
}
