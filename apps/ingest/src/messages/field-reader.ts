import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { BadMessage } from './bad-message.js';

/**
 * Fields, elements of repeated fields and entries of maps in one message. Tiny ones are what a bomb is made of: two bytes cost a call each. What
 * is sent in one length (packed numbers) counts once.
 */
const fieldsMax = 4_000_000;

/** Walks the fields of a message and of those inside it, without making objects of them. */
export class FieldReader {
  readonly #reader: BinaryReader;
  #fields = 0;

  constructor(bytes: Uint8Array) {
    this.#reader = new BinaryReader(bytes);
  }

  /** The outermost message. Throws `BadMessage` for whatever is wrong with it. */
  readWhole(field: (number: number, type: WireType) => boolean): void {
    try {
      this.#walk(this.#reader.len, field);
    } catch (error) {
      throw error instanceof BadMessage ? error : new BadMessage(error instanceof Error ? error.message : String(error), { cause: error });
    }
  }

  /**
   * A message inside: calls back with each of its fields.
   *
   * @param field reads it and returns true; false has it skipped
   */
  readMessage(field: (number: number, type: WireType) => boolean): void {
    this.#walk(this.#endOfLength(), field);
  }

  /** The key of the entry of a map that comes next: a text, which stands before its value by custom alone. */
  peekKey(): string {
    const start = this.#reader.pos;
    const end = this.#endOfLength();
    let key = '';
    this.#walk(end, (number, type) => {
      if (number !== 1 || type !== WireType.LengthDelimited) return false;
      key = this.string();
      return true;
    });
    this.#reader.pos = start;
    return key;
  }

  string(): string {
    return this.#reader.string(true);
  }

  double(): number {
    return this.#reader.double();
  }

  enumeration(): number {
    return this.#reader.int32();
  }

  /** As the nearest double. */
  int64(): number {
    return Number(this.#reader.int64());
  }

  /** One element, or all of them in one length. */
  doubles(type: WireType, take: (value: number) => void): boolean {
    if (type === WireType.Bit64) take(this.double());
    else if (type !== WireType.LengthDelimited) return false;
    else {
      const end = this.#endOfLength();
      while (this.#reader.pos < end) take(this.double());
      if (this.#reader.pos !== end) throw new BadMessage('packed numbers do not end where they should');
    }
    return true;
  }

  #endOfLength(): number {
    const length = this.#reader.uint32();
    const end = this.#reader.pos + length;
    if (end > this.#reader.len) throw new BadMessage('a length reaches beyond the end');
    return end;
  }

  #walk(end: number, field: (number: number, type: WireType) => boolean): void {
    while (this.#reader.pos < end) {
      this.#fields += 1;
      if (this.#fields > fieldsMax) throw new BadMessage(`more than ${fieldsMax} fields`);
      const [number, type] = this.#reader.tag();
      if (!field(number, type)) this.#reader.skip(type, number);
    }
    if (this.#reader.pos !== end) throw new BadMessage('a message does not end where it should');
  }
}
