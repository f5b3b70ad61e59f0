import { claimedFrameBytes, decodeFrame, encodeFrame, frameHeadBytes, sealFrame } from '../log/log-record.js';
import { logPrefix } from '../remote/manifest.js';

/** A row version as the region's log has it; without a document it is a delete mark. */
export interface LoggedRow {
  readonly handle: Buffer;
  /** Of the region. */
  readonly version: number;
  readonly document: Buffer | undefined;
}

/** Who wrote an object of a region's log, and whether it ends what nodes of earlier terms may write. */
export interface LogHead {
  readonly kind: 'rows' | 'fence';
  readonly term: number;
  readonly node: string;
  /** That the versions of the rows are made with. */
  readonly versionBase: number;
  /** Of this object: the writer knows its own again. */
  readonly id: string;
}

export interface LogObject {
  readonly head: LogHead;
  readonly rows: readonly LoggedRow[];
}

export function logObjectKey(tableId: number, regionId: number, sequence: number): string {
  return `${logPrefix(tableId, regionId)}${String(sequence).padStart(16, '0')}`;
}

export function sequenceOf(key: string): number {
  return Number(key.slice(key.lastIndexOf('/') + 1));
}

/** A line of JSON that says what it is, then the rows as frames of the commit log, each with its checksum. */
export function encodeLogObject(tableId: number, head: LogHead, rows: readonly LoggedRow[]): Buffer {
  const frames = rows.map(({ handle, version, document }) => {
    const frame = encodeFrame(version, [{ tableId, handle, document }]);
    sealFrame(frame, 0);
    return frame;
  });
  return Buffer.concat([Buffer.from(`${JSON.stringify({ format: 1, ...head })}\n`), ...frames]);
}

/** Throws on anything that is no whole object of a region's log: acknowledged rows may be in it. */
export function decodeLogObject(body: Buffer, key: string): LogObject {
  const headEnd = body.indexOf('\n');
  const head = JSON.parse(body.toString('utf8', 0, Math.max(0, headEnd)) || 'null') as (LogHead & { format?: number }) | null;
  if (head?.format !== 1) throw new Error(`${key} is no part of a region's log, or of another version`);
  return { head, rows: decodeRows(body.subarray(headEnd + 1), key) };
}

/** Frames, one row each. Throws on damage. */
export function decodeRows(bytes: Buffer, where: string): LoggedRow[] {
  const rows: LoggedRow[] = [];
  for (let offset = 0; offset < bytes.length; ) {
    const length = bytes.length - offset < frameHeadBytes ? undefined : claimedFrameBytes(bytes.subarray(offset));
    const frame = length === undefined ? undefined : decodeFrame(bytes.subarray(offset, offset + length));
    if (length === undefined || frame === undefined) throw new Error(`${where} is damaged at byte ${offset}`);
    for (const { handle, document } of frame.batch.operations) rows.push({ handle, version: frame.batch.firstVersion, document });
    offset += length;
  }
  return rows;
}
