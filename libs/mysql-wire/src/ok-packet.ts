import { Capability, has } from './capabilities.js';
import { PacketReader } from './packet-reader.js';
import { PacketWriter } from './packet-writer.js';
import { decodeSessionChanges, type SessionChange } from './session-changes.js';
import { StatusFlag } from './status-flags.js';

export const okHeader = 0x00;
/** Begins an EOF packet (5 bytes) and, with DEPRECATE_EOF, the OK packet (7 bytes or more) that ends rows. */
export const eofHeader = 0xfe;
export const eofBytes = 5;
/** Header, two empty length-encoded integers, status, warnings. */
const okBytesMin = 7;

/** What an OK packet says, with whichever of its two headers. */
export interface OkPacket {
  readonly header: typeof okHeader | typeof eofHeader;
  readonly affectedRows: bigint;
  readonly lastInsertId: bigint;
  /** Bits of `StatusFlag`. */
  readonly statusFlags: number;
  readonly warnings: number;
  /** Human-readable; not always UTF-8, so bytes. */
  readonly info: Buffer;
  /** In the server's order; empty without `StatusFlag.sessionStateChanged`. */
  readonly changes: readonly SessionChange[];
}

/** What comes before the changes: all that can be read of a packet that was cut. Leaves the reader behind the info. */
function readHead(reader: PacketReader): Omit<OkPacket, 'changes'> {
  const header = reader.u8('header');
  if (header !== okHeader && header !== eofHeader) reader.fail('an OK header');
  const affectedRows = reader.lenenc('affected rows');
  const lastInsertId = reader.lenenc('last insert id');
  const statusFlags = reader.u16('status flags');
  const warnings = reader.u16('warnings');
  // MySQL's manual says that without SESSION_TRACK the rest of the packet is the info; every server and client puts its length before it.
  const info = reader.left > 0 ? reader.lenencBytes('info') : Buffer.alloc(0);
  return { header: header as OkPacket['header'], affectedRows, lastInsertId, statusFlags, warnings, info };
}

/** As `decodeOk`, without looking at the changes, so that the payload may end within them. */
export function decodeOkHead(payload: Buffer, start = 0, end = payload.length): Omit<OkPacket, 'changes'> {
  return readHead(new PacketReader(payload, 'OK packet', start, end));
}

/**
 * @param capabilities bits of `Capability` agreed upon: SESSION_TRACK changes the layout behind the warnings
 * @throws MalformedPacketError
 */
export function decodeOk(payload: Buffer, capabilities: number, start = 0, end = payload.length): OkPacket {
  const reader = new PacketReader(payload, 'OK packet', start, end);
  const head = readHead(reader);
  const tracked = has(capabilities, Capability.sessionTrack) && (head.statusFlags & StatusFlag.sessionStateChanged) !== 0 && reader.left > 0;
  return { ...head, changes: tracked ? decodeSessionChanges(reader.lenencBytes('session changes')) : [] };
}

/**
 * The packet for a client with these capabilities. Without SESSION_TRACK the changes are left out, and the flag that announces them.
 * With it, `rawChanges` (as `rawSessionChanges` gives them) go behind the info.
 */
export function encodeOk(ok: Partial<Omit<OkPacket, 'changes'>>, capabilities: number, rawChanges?: Buffer): Buffer {
  const tracked = has(capabilities, Capability.sessionTrack) && rawChanges !== undefined;
  const flags = (ok.statusFlags ?? StatusFlag.autocommit) & ~StatusFlag.sessionStateChanged;
  const writer = new PacketWriter()
    .u8(ok.header ?? okHeader)
    .lenenc(ok.affectedRows ?? 0)
    .lenenc(ok.lastInsertId ?? 0)
    .u16(tracked ? flags | StatusFlag.sessionStateChanged : flags)
    .u16(ok.warnings ?? 0);
  const info = ok.info ?? Buffer.alloc(0);
  if (tracked) return writer.lenencBytes(info).lenencBytes(rawChanges).finish();
  return info.length > 0 ? writer.lenencBytes(info).finish() : writer.finish();
}

/** The changes of an OK packet of a connection with SESSION_TRACK as the server wrote them, without their length; undefined if there are none. */
export function rawSessionChanges(payload: Buffer, start = 0, end = payload.length): Buffer | undefined {
  const reader = new PacketReader(payload, 'OK packet', start, end);
  const { statusFlags } = readHead(reader);
  return (statusFlags & StatusFlag.sessionStateChanged) === 0 || reader.left === 0 ? undefined : reader.lenencBytes('session changes');
}

/** The packet of clients without DEPRECATE_EOF. */
export function encodeEof(statusFlags: number, warnings: number): Buffer {
  return new PacketWriter().u8(eofHeader).u16(warnings).u16(statusFlags & ~StatusFlag.sessionStateChanged).finish();
}

function lenencBytesAt(payload: Buffer, offset: number): number {
  const first = payload[offset]!;
  return first < 0xfb ? 1 : first === 0xfc ? 3 : first === 0xfd ? 4 : first === 0xfe ? 9 : NaN;
}

/**
 * Status and warnings of an OK or EOF packet as `warnings * 65536 + status`, without making anything; NaN if the packet is malformed.
 * Which of the two it is follows from the length alone: an EOF packet has 5 bytes, an OK packet at least 7.
 */
export function statusAndWarnings(payload: Buffer, start: number, end: number): number {
  if (end - start === eofBytes && payload[start] === eofHeader) {
    return (payload[start + 1]! | (payload[start + 2]! << 8)) * 0x1_00_00 + (payload[start + 3]! | (payload[start + 4]! << 8));
  }
  if (end - start < okBytesMin) return NaN;
  let offset = start + 1 + lenencBytesAt(payload, start + 1);
  offset += offset < end ? lenencBytesAt(payload, offset) : NaN;
  if (!(offset + 4 <= end)) return NaN;
  return (payload[offset + 2]! | (payload[offset + 3]! << 8)) * 0x1_00_00 + (payload[offset]! | (payload[offset + 1]! << 8));
}
