import { crc32 } from 'node:zlib';
import { bodyEncodings, type BodyEncoding } from '../messages/body-encoding.js';

/**
 * `first-raw`: metrics of the protocol's version 1; its events are those of version 2. `handed`: from another node of the cluster, whose filters it has
 * been through. Their order is their number on the disk.
 */
export const recordKinds = ['raw', 'event', 'first-raw', 'handed'] as const;

/** One request that was taken in, as it was sent. */
export interface JournalRecord {
  readonly kind: (typeof recordKinds)[number];
  readonly encoding: BodyEncoding;
  /** What its sender calls it, so that a retry is recognised; empty where it says nothing. */
  readonly idempotencyKey: string;
  readonly body: Buffer;
}

/** Length and checksum of what follows, kind, encoding, length of the key. */
const headBytes = 4 + 4 + 1 + 1 + 2;

export function encodeRecord({ kind, encoding, idempotencyKey, body }: JournalRecord): Buffer[] {
  const key = Buffer.from(idempotencyKey);
  const head = Buffer.alloc(headBytes);
  head.writeUInt8(recordKinds.indexOf(kind), 8);
  head.writeUInt8(bodyEncodings.indexOf(encoding), 9);
  head.writeUInt16LE(key.length, 10);
  head.writeUInt32LE(headBytes - 8 + key.length + body.length, 0);
  head.writeUInt32LE(crc32(body, crc32(key, crc32(head.subarray(8)))), 4);
  return [head, key, body];
}

/** The records of a segment up to the first one that is cut off or damaged: what follows it was never acknowledged. */
export function* decodeRecords(segment: Buffer): Generator<JournalRecord> {
  for (let at = 0; at + headBytes <= segment.length; ) {
    const length = segment.readUInt32LE(at);
    const content = segment.subarray(at + 8, at + 8 + length);
    if (length < headBytes - 8 || content.length < length || crc32(content) !== segment.readUInt32LE(at + 4)) return;
    const kind = recordKinds[content.readUInt8(0)];
    const encoding = bodyEncodings[content.readUInt8(1)];
    const keyEnd = 4 + content.readUInt16LE(2);
    if (kind === undefined || encoding === undefined || keyEnd > length) return;
    yield { kind, encoding, idempotencyKey: content.toString('utf8', 4, keyEnd), body: content.subarray(keyEnd) };
    at += 8 + length;
  }
}
