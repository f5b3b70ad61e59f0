import { createHash } from 'node:crypto';

/**
 * As much of MySQL's protocol as a scripted server needs, written independently of `@binnacle/mysql-wire`: what is tested with it must not
 * agree with itself only.
 */
export const peerCapability = { connectWithDatabase: 1 << 3, pluginAuth: 1 << 19, attributes: 1 << 20, lenencAuth: 1 << 21, deprecateEof: 1 << 24 } as const;

export interface PeerLogin {
  readonly capabilities: number;
  readonly collation: number;
  readonly user: string;
  readonly reply: Buffer;
  readonly database: string;
  readonly plugin: string;
  readonly attributes: Readonly<Record<string, string>>;
}

/** Cuts a stream into payloads; those of 16 MB and more are not joined. */
export class PeerFrames {
  #left: Buffer = Buffer.alloc(0);

  push(chunk: Buffer): { readonly sequenceId: number; readonly payload: Buffer }[] {
    this.#left = Buffer.concat([this.#left, chunk]);
    const frames: { sequenceId: number; payload: Buffer }[] = [];
    for (;;) {
      const end = this.#left.length < 4 ? Infinity : 4 + this.#left.readUIntLE(0, 3);
      if (this.#left.length < end) return frames;
      frames.push({ sequenceId: this.#left[3]!, payload: this.#left.subarray(4, end) });
      this.#left = this.#left.subarray(end);
    }
  }
}

export function frame(payload: Buffer, sequenceId: number): Buffer {
  const header = Buffer.alloc(4);
  header.writeUIntLE(payload.length, 0, 3);
  header[3] = sequenceId & 0xff;
  return Buffer.concat([header, payload]);
}

function lenenc(value: number): Buffer {
  if (value < 251) return Buffer.from([value]);
  const bytes = Buffer.alloc(value < 65_536 ? 3 : 4);
  bytes[0] = value < 65_536 ? 0xfc : 0xfd;
  bytes.writeUIntLE(value, 1, bytes.length - 1);
  return bytes;
}

function lenencText(text: string | Buffer): Buffer {
  const bytes = Buffer.from(text as string);
  return Buffer.concat([lenenc(bytes.length), bytes]);
}

export function greeting(version: string, connectionId: number, capabilities: number, scramble: Buffer): Buffer {
  const body = Buffer.alloc(13 + 2 + 1 + 2 + 2 + 1 + 10);
  body.writeUInt32LE(connectionId, 0);
  scramble.copy(body, 4, 0, 8);
  body.writeUInt16LE(capabilities & 0xffff, 13);
  body[15] = 46;
  body.writeUInt16LE(2, 16);
  body.writeUInt16LE(capabilities >>> 16, 18);
  body[20] = 21;
  return Buffer.concat([Buffer.from(`\n${version}\0`), body, scramble.subarray(8), Buffer.from('\0mysql_native_password\0')]);
}

export function parseLogin(payload: Buffer): PeerLogin {
  const capabilities = payload.readUInt32LE(0);
  let at = 32;
  const text = (): string => {
    const nul = payload.indexOf(0, at);
    const end = nul < 0 ? payload.length : nul;
    const value = payload.toString('utf8', at, end);
    at = end + 1;
    return value;
  };
  const length = (): number => {
    const first = payload[at++]!;
    const bytes = first === 0xfc ? 2 : first === 0xfd ? 3 : 0;
    const value = bytes === 0 ? first : payload.readUIntLE(at, bytes);
    at += bytes;
    return value;
  };
  const bytes = (count: number): Buffer => payload.subarray(at, (at += count));
  const user = text();
  const reply = bytes((capabilities & peerCapability.lenencAuth) === 0 ? payload[at++]! : length());
  const database = (capabilities & peerCapability.connectWithDatabase) === 0 ? '' : text();
  const plugin = (capabilities & peerCapability.pluginAuth) === 0 ? '' : text();
  const attributes: Record<string, string> = {};
  if ((capabilities & peerCapability.attributes) !== 0 && at < payload.length) {
    const end = length() + at;
    while (at < end) attributes[bytes(length()).toString()] = bytes(length()).toString();
  }
  return { capabilities, collation: payload[8]!, user, reply: Buffer.from(reply), database, plugin, attributes };
}

export function ok(status: number, { affected = 0, header = 0 } = {}): Buffer {
  return Buffer.concat([Buffer.from([header]), lenenc(affected), Buffer.from([0, status & 0xff, status >>> 8, 0, 0])]);
}

export function eof(status: number): Buffer {
  return Buffer.from([0xfe, 0, 0, status & 0xff, status >>> 8]);
}

export function err(code: number, sqlState: string, message: string): Buffer {
  return Buffer.concat([Buffer.from([0xff, code & 0xff, code >>> 8]), Buffer.from(`#${sqlState}${message}`)]);
}

/** The definition of a column of text. */
export function column(name: string): Buffer {
  const numbers = Buffer.from([0x0c, 46, 0, 0, 0, 1, 0, 0xfd, 0, 0, 0, 0, 0]);
  return Buffer.concat([...['def', '', '', '', name, name].map(lenencText), numbers]);
}

/** Payloads of a result set of text, or in the binary form of prepared statements. */
export function resultSet(names: readonly string[], rows: readonly (readonly (string | null)[])[], status: number, deprecateEof: boolean, binary = false): Buffer[] {
  const cell = (value: string | null): Buffer => (value === null ? (binary ? Buffer.alloc(0) : Buffer.from([0xfb])) : lenencText(value));
  const nulls = (row: readonly (string | null)[]): Buffer => {
    const bits = Buffer.alloc(1 + ((row.length + 9) >> 3));
    for (const [index, value] of row.entries()) if (value === null) bits[1 + ((index + 2) >> 3)]! |= 1 << ((index + 2) & 7);
    return bits;
  };
  return [
    lenenc(names.length),
    ...names.map(column),
    ...(deprecateEof ? [] : [eof(status)]),
    ...rows.map((row) => Buffer.concat([binary ? nulls(row) : Buffer.alloc(0), ...row.map(cell)])),
    deprecateEof ? ok(status, { header: 0xfe }) : eof(status),
  ];
}

/** Whether the reply of mysql_native_password is the one of this password. */
export function isNativeReply(reply: Buffer, scramble: Buffer, password: string): boolean {
  if (password === '') return reply.length === 0;
  const sha1 = (...parts: Buffer[]): Buffer => parts.reduce((hash, part) => hash.update(part), createHash('sha1')).digest();
  const stage1 = sha1(Buffer.from(password));
  const mask = sha1(scramble, sha1(stage1));
  return reply.equals(Buffer.from(stage1.map((byte, index) => byte ^ mask[index]!)));
}
