const firstBytes = 128;

/** Builds one payload field by field, the counterpart of `PacketReader`. Grows as needed; `finish` gives what was written. */
export class PacketWriter {
  #bytes = Buffer.allocUnsafe(firstBytes);
  #length = 0;

  #room(bytes: number): number {
    const at = this.#length;
    this.#length += bytes;
    if (this.#length > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.#length, this.#bytes.length * 2));
      this.#bytes.copy(larger, 0, 0, at);
      this.#bytes = larger;
    }
    return at;
  }

  u8(value: number): this {
    const at = this.#room(1);
    this.#bytes[at] = value;
    return this;
  }

  u16(value: number): this {
    const at = this.#room(2);
    this.#bytes.writeUInt16LE(value, at);
    return this;
  }

  u24(value: number): this {
    const at = this.#room(3);
    this.#bytes.writeUIntLE(value, at, 3);
    return this;
  }

  u32(value: number): this {
    const at = this.#room(4);
    this.#bytes.writeUInt32LE(value, at);
    return this;
  }

  u64(value: bigint): this {
    const at = this.#room(8);
    this.#bytes.writeBigUInt64LE(value, at);
    return this;
  }

  /** In its shortest form, as servers write it. */
  lenenc(value: bigint | number): this {
    if (value < 0xfb) return this.u8(Number(value));
    if (value < 0x1_00_00) return this.u8(0xfc).u16(Number(value));
    if (value < 0x1_00_00_00) return this.u8(0xfd).u24(Number(value));
    return this.u8(0xfe).u64(BigInt(value));
  }

  bytes(value: Uint8Array): this {
    const at = this.#room(value.length);
    this.#bytes.set(value, at);
    return this;
  }

  string(value: string): this {
    const at = this.#room(Buffer.byteLength(value));
    this.#bytes.write(value, at);
    return this;
  }

  zeros(count: number): this {
    const at = this.#room(count);
    this.#bytes.fill(0, at, at + count);
    return this;
  }

  lenencBytes(value: Uint8Array): this {
    return this.lenenc(value.length).bytes(value);
  }

  lenencString(value: string): this {
    return this.lenenc(Buffer.byteLength(value)).string(value);
  }

  /** A NUL inside would end the field early and make the rest another field, so it is refused. */
  nullTerminated(value: Uint8Array | string): this {
    const bytes = typeof value === 'string' ? Buffer.from(value) : value;
    if (bytes.includes(0)) throw new RangeError('a NUL-terminated field cannot hold a NUL');
    return this.bytes(bytes).u8(0);
  }

  finish(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }
}
