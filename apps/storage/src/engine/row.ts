/** A row as it is kept. */
export interface Row {
  readonly handle: Buffer;
  readonly version: number;
  /** The document as JSON text. */
  readonly document: Buffer;
}

/** A row or, without a document, the mark that it was deleted. */
export type RowVersion = Omit<Row, 'document'> & { readonly document: Buffer | undefined };

/*
 * Key: u32 big-endian table | handle, so that a table's rows lie together in the order of their handles.
 * Value, little-endian: u64 version | u8 flags | document.
 */
export const keyHeadBytes = 4;
export const valueHeadBytes = 9;
const deleteMark = 1;
/** No table has the id 0: its rows are what the engine keeps of itself. */
export const appliedVersionKey = Buffer.from('\0\0\0\0applied', 'latin1');
const countKeyHead = Buffer.from('\0\0\0\0count', 'latin1');
export const countKeys = { gte: countKeyHead, lt: Buffer.from('\0\0\0\0counu', 'latin1') };
export const tableIdMax = 2 ** 32 - 2;

/** What the engine keeps of a table. */
export interface TableFigures {
  readonly rows: number;
  /** Of the largest document it ever had. */
  readonly largestBytes: number;
}

/** Where the engine keeps the figures of a table: u64 rows | u32 largest document. */
export function countKey(tableId: number): Buffer {
  const key = Buffer.concat([countKeyHead, Buffer.alloc(4)]);
  key.writeUInt32BE(tableId, countKeyHead.length);
  return key;
}

export function tableIdOfCountKey(key: Buffer): number {
  return key.readUInt32BE(countKeyHead.length);
}

export function encodeFigures({ rows, largestBytes }: TableFigures): Buffer {
  const value = Buffer.alloc(12);
  writeVersion(value, 0, rows);
  value.writeUInt32LE(largestBytes, 8);
  return value;
}

export function decodeFigures(value: Buffer): TableFigures {
  return { rows: readVersion(value), largestBytes: value.readUInt32LE(8) };
}

const markKeyHead = Buffer.from('\0\0\0\0mark', 'latin1');

/** The list of delete marks, in the order of their versions; a value is the key of the row. What it lists may be no mark any more. */
export function markKey(version: number): Buffer {
  const key = Buffer.allocUnsafe(markKeyHead.length + 8);
  markKeyHead.copy(key);
  key.writeUInt32BE(Math.floor(version / 2 ** 32), markKeyHead.length);
  key.writeUInt32BE(version % 2 ** 32, markKeyHead.length + 4);
  return key;
}

export function versionOfMarkKey(key: Buffer): number {
  return key.readUInt32BE(markKeyHead.length) * 2 ** 32 + key.readUInt32BE(markKeyHead.length + 4);
}

/** Whether it is the value of the mark that was written with this version. */
export function isMarkOf(version: number, value: Buffer | null): boolean {
  return value !== null && value[8] === deleteMark && readVersion(value) === version;
}

export function encodeKey(tableId: number, handle: Uint8Array): Buffer {
  const key = Buffer.allocUnsafe(keyHeadBytes + handle.length);
  writeKey(key, 0, tableId, handle);
  return key;
}

/** Returns the offset behind the key. */
export function writeKey(into: Buffer, offset: number, tableId: number, handle: Uint8Array): number {
  into.writeUInt32BE(tableId, offset);
  into.set(handle, offset + keyHeadBytes);
  return offset + keyHeadBytes + handle.length;
}

/** Returns the offset behind the value. Without a document it is a delete mark. */
export function writeValue(into: Buffer, offset: number, version: number, document: Uint8Array | undefined): number {
  writeVersion(into, offset, version);
  into[offset + 8] = document === undefined ? deleteMark : 0;
  if (document === undefined) return offset + valueHeadBytes;
  into.set(document, offset + valueHeadBytes);
  return offset + valueHeadBytes + document.length;
}

/** Undefined for no value and for a delete mark. The document shares the memory of the value. */
export function decodeRow(handle: Buffer, value: Buffer | null): Row | undefined {
  if (value === null || value[8] === deleteMark) return undefined;
  return { handle, version: readVersion(value), document: value.subarray(valueHeadBytes) };
}

export function decodeVersion(handle: Buffer, value: Buffer): RowVersion {
  return decodeRow(handle, value) ?? { handle, version: readVersion(value), document: undefined };
}

/** What the engine has of a handle: a row, or the version of its delete mark, or nothing (version 0). */
export interface FoundRow {
  readonly row: Row | undefined;
  readonly version: number;
}

export function decodeFound(handle: Buffer, value: Buffer | null): FoundRow {
  return { row: decodeRow(handle, value), version: value === null ? 0 : readVersion(value) };
}

/** Two halves, because BigInt would cost more than all the rest of a row. */
export function writeVersion(into: Buffer, offset: number, version: number): void {
  into.writeUInt32LE(version % 2 ** 32, offset);
  into.writeUInt32LE(Math.floor(version / 2 ** 32), offset + 4);
}

export function readVersion(value: Buffer): number {
  return value.readUInt32LE(0) + value.readUInt32LE(4) * 2 ** 32;
}
