import { PacketReader } from './packet-reader.js';
import { PacketWriter } from './packet-writer.js';

export const authSwitchHeader = 0xfe;
export const authMoreDataHeader = 0x01;
export const authNextFactorHeader = 0x02;

/** The server wants another plugin's reply; the client answers with the reply alone, as a payload of its own. */
export interface AuthSwitchRequest {
  readonly plugin: string;
  /** The scramble, without the NUL that most plugins end it with. */
  readonly data: Buffer;
}

/**
 * A payload of the header alone is the request for the password hash of MySQL 3.23, which nothing here speaks: it is refused.
 * @throws MalformedPacketError
 */
export function decodeAuthSwitch(payload: Buffer): AuthSwitchRequest {
  const reader = new PacketReader(payload, 'authentication switch');
  reader.expect(authSwitchHeader, 'the header');
  const plugin = reader.nullTerminated('plugin').toString('latin1');
  const data = reader.rest();
  return { plugin, data: data.at(-1) === 0 ? data.subarray(0, -1) : data };
}

export function encodeAuthSwitch({ plugin, data }: AuthSwitchRequest): Buffer {
  return new PacketWriter().u8(authSwitchHeader).nullTerminated(plugin).bytes(data).u8(0).finish();
}

/** What a plugin says between its first packet and the OK, without the header. */
export function decodeAuthMoreData(payload: Buffer): Buffer {
  const reader = new PacketReader(payload, 'authentication data');
  reader.expect(authMoreDataHeader, 'the header');
  return reader.rest();
}

export function encodeAuthMoreData(data: Uint8Array): Buffer {
  return new PacketWriter().u8(authMoreDataHeader).bytes(data).finish();
}
