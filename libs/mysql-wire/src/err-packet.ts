import type { ErrorCode } from './error-codes.js';
import { PacketReader } from './packet-reader.js';
import { PacketWriter } from './packet-writer.js';

export const errHeader = 0xff;

/** What an ERR packet says. */
export interface ErrPacket {
  readonly code: number;
  /** Five characters; empty where the server left it away, as for errors before the handshake. */
  readonly sqlState: string;
  readonly message: string;
}

/**
 * @param payload with its first byte 0xFF; a cut one gives a cut message
 * @throws MalformedPacketError
 */
export function decodeErr(payload: Buffer, start = 0, end = payload.length): ErrPacket {
  const reader = new PacketReader(payload, 'error packet', start, end);
  reader.expect(errHeader, 'the header');
  const code = reader.u16('error code');
  const marked = reader.left >= 6 && payload[reader.offset] === 0x23;
  if (marked) reader.offset++;
  const sqlState = marked ? reader.fixed(5, 'SQLSTATE').toString('latin1') : '';
  return { code, sqlState, message: reader.rest().toString() };
}

/** Only the number, without making anything; -1 if it is not there. */
export function errCode(payload: Buffer, start: number, end: number): number {
  return end - start < 3 ? -1 : payload[start + 1]! | (payload[start + 2]! << 8);
}

/** @param withState false before the client has sent its capabilities: an error instead of the first handshake has no SQLSTATE */
export function encodeErr(error: ErrorCode, message: string, withState = true): Buffer {
  const writer = new PacketWriter().u8(errHeader).u16(error.code);
  if (withState) writer.string('#').string(error.sqlState);
  return writer.string(message).finish();
}
