import { Capability, has, type Capabilities } from './capabilities.js';
import { MalformedPacketError } from './malformed-packet-error.js';
import { PacketReader } from './packet-reader.js';
import { PacketWriter } from './packet-writer.js';

/** The server's first packet. Capabilities are what it offers. */
export interface Handshake extends Capabilities {
  /** As printed, with MariaDB's `5.5.5-` before it where the server sends that. */
  readonly serverVersion: string;
  readonly connectionId: number;
  /** What the client's reply is computed from: 20 bytes, without the NUL behind them; 32 for client_ed25519. */
  readonly scramble: Buffer;
  /** Collation number; only its low byte fits. */
  readonly collation: number;
  /** Bits of `StatusFlag`. */
  readonly statusFlags: number;
  /** Empty without PLUGIN_AUTH. */
  readonly authPlugin: string;
}

const protocolVersion = 10;
const scrambleFirstBytes = 8;
const sslRequestBytes = 32;

/** @throws MalformedPacketError, also for an ERR packet, which a server may send instead: look at the first byte before */
export function decodeHandshake(payload: Buffer): Handshake {
  const reader = new PacketReader(payload, 'handshake');
  reader.expect(protocolVersion, 'protocol version 10');
  const serverVersion = reader.nullTerminated('server version').toString();
  const connectionId = reader.u32('connection id');
  const scrambleFirst = reader.fixed(scrambleFirstBytes, 'scramble');
  reader.expect(0, 'filler');
  const low = reader.u16('capabilities');
  const collation = reader.u8('collation');
  const statusFlags = reader.u16('status flags');
  const capabilities = (low | (reader.u16('capabilities') << 16)) >>> 0;
  const scrambleBytes = reader.u8('scramble length');
  reader.fixed(6, 'filler');
  const extended = reader.u32('capabilities');
  const mariadbCapabilities = has(capabilities, Capability.mysql) ? 0 : extended;
  const rest = reader.fixed(Math.max(13, scrambleBytes - scrambleFirstBytes), 'scramble');
  const authPlugin = has(capabilities, Capability.pluginAuth) ? reader.nullTerminatedOrRest('plugin').toString('latin1') : '';
  const scramble = Buffer.concat([scrambleFirst, rest.at(-1) === 0 ? rest.subarray(0, -1) : rest]);
  return { serverVersion, connectionId, scramble, collation, statusFlags, authPlugin, capabilities, mariadbCapabilities };
}

export function encodeHandshake(handshake: Handshake): Buffer {
  const { capabilities, scramble } = handshake;
  const writer = new PacketWriter()
    .u8(protocolVersion)
    .nullTerminated(handshake.serverVersion)
    .u32(handshake.connectionId)
    .bytes(scramble.subarray(0, scrambleFirstBytes))
    .u8(0)
    .u16(capabilities & 0xff_ff)
    .u8(handshake.collation & 0xff)
    .u16(handshake.statusFlags)
    .u16(capabilities >>> 16)
    .u8(has(capabilities, Capability.pluginAuth) ? scramble.length + 1 : 0)
    .zeros(6)
    .u32(has(capabilities, Capability.mysql) ? 0 : handshake.mariadbCapabilities)
    .bytes(scramble.subarray(scrambleFirstBytes))
    .u8(0);
  return has(capabilities, Capability.pluginAuth) ? writer.nullTerminated(handshake.authPlugin).finish() : writer.finish();
}

/** What the client asks for before it goes on in TLS: the beginning of its response. */
export interface SslRequest extends Capabilities {
  /** The largest packet the client takes, in bytes. */
  readonly packetBytesMax: number;
  readonly collation: number;
}

/** What the client answers. Capabilities are what it wants of what was offered; everything depends on them. */
export interface HandshakeResponse extends SslRequest {
  readonly user: string;
  readonly authResponse: Buffer;
  /** Undefined without CONNECT_WITH_DB. */
  readonly database: string | undefined;
  /** Undefined without PLUGIN_AUTH. */
  readonly authPlugin: string | undefined;
  /** In the client's order; undefined without CONNECT_ATTRS. */
  readonly attributes: readonly (readonly [name: string, value: string])[] | undefined;
  /** 1 to 22; undefined without ZSTD_COMPRESSION. */
  readonly zstdLevel: number | undefined;
}

/** Whether the client wants TLS now: the packet is then to be read by `decodeSslRequest`, and the response comes encrypted. */
export function isSslRequest(payload: Buffer): boolean {
  return payload.length === sslRequestBytes && (payload.readUInt32LE(0) & Capability.ssl) !== 0;
}

function readSslRequest(reader: PacketReader): SslRequest {
  const capabilities = reader.u32('capabilities');
  if (!has(capabilities, Capability.protocol41)) {
    throw new MalformedPacketError(reader.what, 0, 'the protocol of MySQL 4.1 or later');
  }
  const packetBytesMax = reader.u32('largest packet');
  const collation = reader.u8('collation');
  reader.fixed(19, 'filler');
  const extended = reader.u32('capabilities');
  return { capabilities, mariadbCapabilities: has(capabilities, Capability.mysql) ? 0 : extended, packetBytesMax, collation };
}

/** @throws MalformedPacketError */
export function decodeSslRequest(payload: Buffer): SslRequest {
  return readSslRequest(new PacketReader(payload, 'TLS request'));
}

function writeSslRequest(writer: PacketWriter, request: SslRequest): PacketWriter {
  return writer
    .u32(request.capabilities)
    .u32(request.packetBytesMax)
    .u8(request.collation & 0xff)
    .zeros(19)
    .u32(has(request.capabilities, Capability.mysql) ? 0 : request.mariadbCapabilities);
}

export function encodeSslRequest(request: SslRequest): Buffer {
  return writeSslRequest(new PacketWriter(), request).finish();
}

/** Names are UTF-8; others are refused, since a name that cannot be read cannot be sent on either. */
function readName(reader: PacketReader, field: string): string {
  const at = reader.offset;
  const bytes = reader.nullTerminatedOrRest(field);
  const text = bytes.toString();
  if (!Buffer.from(text).equals(bytes)) throw new MalformedPacketError(reader.what, at, `${field} in UTF-8`);
  return text;
}

function readAttributes(reader: PacketReader): [string, string][] {
  const attributes: [string, string][] = [];
  const inner = new PacketReader(reader.lenencBytes('attributes'), 'connection attributes');
  while (inner.left > 0) attributes.push([inner.lenencString('name'), inner.lenencString('value')]);
  return attributes;
}

function writeAttributes(writer: PacketWriter, attributes: HandshakeResponse['attributes'] = []): void {
  const inner = new PacketWriter();
  for (const [name, value] of attributes) inner.lenencString(name).lenencString(value);
  writer.lenencBytes(inner.finish());
}

/** @throws MalformedPacketError, also for clients older than 4.1 */
export function decodeHandshakeResponse(payload: Buffer): HandshakeResponse {
  const reader = new PacketReader(payload, 'handshake response');
  const request = readSslRequest(reader);
  const can = (bits: number): boolean => has(request.capabilities, bits);
  const user = readName(reader, 'user');
  let authResponse: Buffer;
  if (can(Capability.pluginAuthLenenc)) authResponse = reader.lenencBytes('reply');
  else if (can(Capability.secureConnection)) authResponse = reader.fixed(reader.u8('length of the reply'), 'reply');
  else authResponse = reader.nullTerminatedOrRest('reply');
  const database = can(Capability.connectWithDatabase) ? readName(reader, 'database') : undefined;
  const authPlugin = can(Capability.pluginAuth) ? reader.nullTerminatedOrRest('plugin').toString('latin1') : undefined;
  // Some clients set the bit and send nothing.
  const attributes = can(Capability.connectAttributes) ? (reader.left > 0 ? readAttributes(reader) : []) : undefined;
  const zstdLevel = can(Capability.zstdCompression) && reader.left > 0 ? reader.u8('zstd level') : undefined;
  return { ...request, user, authResponse, database, authPlugin, attributes, zstdLevel };
}

export function encodeHandshakeResponse(response: HandshakeResponse): Buffer {
  const can = (bits: number): boolean => has(response.capabilities, bits);
  const writer = writeSslRequest(new PacketWriter(), response).nullTerminated(response.user);
  const { authResponse } = response;
  if (can(Capability.pluginAuthLenenc)) writer.lenencBytes(authResponse);
  else if (can(Capability.secureConnection)) {
    if (authResponse.length > 0xff) throw new RangeError('a reply over 255 bytes needs PLUGIN_AUTH_LENENC_CLIENT_DATA');
    writer.u8(authResponse.length).bytes(authResponse);
  } else writer.nullTerminated(authResponse);
  if (can(Capability.connectWithDatabase)) writer.nullTerminated(response.database ?? '');
  if (can(Capability.pluginAuth)) writer.nullTerminated(response.authPlugin ?? '');
  if (can(Capability.connectAttributes)) writeAttributes(writer, response.attributes);
  if (can(Capability.zstdCompression)) writer.u8(response.zstdLevel ?? 3);
  return writer.finish();
}

/** COM_CHANGE_USER: as a login on a connection that has one. */
export interface ChangeUser {
  readonly user: string;
  readonly authResponse: Buffer;
  readonly database: string;
  /** Undefined if the client left it away. */
  readonly collation: number | undefined;
  readonly authPlugin: string | undefined;
  readonly attributes: HandshakeResponse['attributes'];
}

const changeUserCommand = 0x11;

/**
 * @param payload with the command code
 * @throws MalformedPacketError
 */
export function decodeChangeUser(payload: Buffer, capabilities: number): ChangeUser {
  const reader = new PacketReader(payload, 'COM_CHANGE_USER');
  reader.expect(changeUserCommand, 'the command code');
  const user = readName(reader, 'user');
  const authResponse = reader.fixed(reader.u8('length of the reply'), 'reply');
  const database = readName(reader, 'database');
  const collation = reader.left > 1 ? reader.u16('collation') : undefined;
  const authPlugin = has(capabilities, Capability.pluginAuth) && reader.left > 0 ? reader.nullTerminatedOrRest('plugin').toString('latin1') : undefined;
  const attributes = has(capabilities, Capability.connectAttributes) && reader.left > 0 ? readAttributes(reader) : undefined;
  return { user, authResponse, database, collation, authPlugin, attributes };
}

export function encodeChangeUser(change: ChangeUser, capabilities: number): Buffer {
  if (change.authResponse.length > 0xff) throw new RangeError('COM_CHANGE_USER takes a reply of at most 255 bytes');
  const writer = new PacketWriter()
    .u8(changeUserCommand)
    .nullTerminated(change.user)
    .u8(change.authResponse.length)
    .bytes(change.authResponse)
    .nullTerminated(change.database);
  if (change.collation === undefined) return writer.finish();
  writer.u16(change.collation);
  if (!has(capabilities, Capability.pluginAuth) || change.authPlugin === undefined) return writer.finish();
  writer.nullTerminated(change.authPlugin);
  if (has(capabilities, Capability.connectAttributes) && change.attributes !== undefined) writeAttributes(writer, change.attributes);
  return writer.finish();
}
