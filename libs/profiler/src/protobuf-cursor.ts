import { UnreadableProfile } from './unreadable-profile.js';

/** Wire types of protobuf; pprof has no other. */
export const wireVarint = 0;
export const wireDelimited = 2;

/** A position in the bytes. Messages within messages are read by moving `end`. */
export class Cursor {
  readonly bytes: Uint8Array;
  at = 0;
  end: number;
  field = 0;
  wire = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.end = bytes.length;
  }

  /** An int64; exact up to 2^53. */
  varint(): number {
    const { bytes } = this;
    const first = bytes[this.at]!;
    if (first < 0x80 && this.at < this.end) {
      this.at++;
      return first;
    }
    let low = 0;
    let middle = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (this.at >= this.end) throw new UnreadableProfile('it is truncated');
      const byte = bytes[this.at++]!;
      const seven = byte & 0x7f;
      if (shift < 28) low |= seven << shift;
      else if (shift < 56) middle |= seven << (shift - 28);
      else high |= seven << (shift - 56);
      // The eighth bit of `high` is the sign; all of -5 but the 5 cancels out exactly, which 2^64 - 5 would not survive as a number.
      if (byte < 0x80) return ((high << 24) >> 24) * 2 ** 56 + middle * 2 ** 28 + low;
    }
    throw new UnreadableProfile('a number in it has more than ten bytes');
  }

  /** The end of the delimited message that starts here. */
  delimited(): number {
    const length = this.varint();
    const end = this.at + length;
    if (length < 0 || end > this.end) throw new UnreadableProfile('it is truncated');
    return end;
  }

  /** Reads the next field's number and wire type; false at the end of the message. */
  next(): boolean {
    if (this.at >= this.end) return false;
    const tag = this.varint();
    this.field = tag >>> 3;
    this.wire = tag & 7;
    if (this.wire !== wireVarint && this.wire !== wireDelimited) throw new UnreadableProfile(`it holds a field of wire type ${this.wire}`);
    return true;
  }

  skip(): void {
    if (this.wire === wireVarint) this.varint();
    else this.at = this.delimited();
  }

  /** For a field that must be a message of its own. */
  message(): number {
    if (this.wire !== wireDelimited) throw new UnreadableProfile(`field ${this.field} is no message`);
    return this.delimited();
  }
}

/** The values of the fields 1 to `count` of a message, 0 where absent. */
export function readNumbers(cursor: Cursor, end: number, count: number): number[] {
  const outer = cursor.end;
  const numbers = new Array<number>(count).fill(0);
  cursor.end = end;
  while (cursor.next()) {
    if (cursor.wire === wireVarint && cursor.field <= count) numbers[cursor.field - 1] = cursor.varint();
    else cursor.skip();
  }
  cursor.end = outer;
  return numbers;
}
