import { connect, type Socket } from 'node:net';
import { decodeErr, type ErrPacket } from '@binnacle/mysql-wire/err-packet';
import { decodeHandshake, type Handshake } from '@binnacle/mysql-wire/handshake';
import { headerBytes } from '@binnacle/mysql-wire/packet-header';

const waitMs = 10_000;

/** A client that says what it likes, byte by byte, and hears packets. */
export class RawSocket {
  readonly socket: Socket;
  #received = Buffer.alloc(0);
  #changed: () => void = () => {};
  #closed = false;

  constructor(port: number) {
    this.socket = connect({ host: '127.0.0.1', port, noDelay: true });
    this.socket.setTimeout(waitMs, () => this.socket.destroy());
    this.socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#changed();
    });
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.#closed = true;
      this.#changed();
    });
  }

  /** The next packet; undefined once the other end has closed. */
  async packet(): Promise<{ payload: Buffer; sequenceId: number } | undefined> {
    for (;;) {
      const length = this.#received.length < headerBytes ? Infinity : headerBytes + this.#received.readUIntLE(0, 3);
      if (this.#received.length >= length) {
        const packet = { payload: this.#received.subarray(headerBytes, length), sequenceId: this.#received[3]! };
        this.#received = this.#received.subarray(length);
        return packet;
      }
      if (this.#closed) return undefined;
      await new Promise<void>((resolve) => (this.#changed = resolve));
    }
  }

  async payload(): Promise<Buffer> {
    const packet = await this.packet();
    if (packet === undefined) throw new Error('closed');
    return packet.payload;
  }

  async handshake(): Promise<Handshake> {
    return decodeHandshake(await this.payload());
  }

  /** The error that is said, and that the connection ends behind it. */
  async refusal(): Promise<ErrPacket> {
    const error = decodeErr(await this.payload());
    if ((await this.packet()) !== undefined) throw new Error('more was said');
    return error;
  }

  write(bytes: Buffer): void {
    this.socket.write(bytes);
  }

  async byteByByte(bytes: Buffer): Promise<void> {
    for (const byte of bytes) {
      this.socket.write(Buffer.from([byte]));
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }
}
