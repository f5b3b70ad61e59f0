/** A hash range of a table's rows. */
export interface Region {
  /** `tableId * regionsPerTableMax + position in the table`: a number of its own in the whole cluster. */
  readonly id: number;
  /** The node that takes its writes and uploads them. */
  readonly writeNode: string;
  /** Grows with every assignment to a node: what is published under an older one than the manifest has is refused. */
  readonly term: number;
}

export const regionsPerTableMax = 256;

export function regionId(tableId: number, index: number): number {
  return tableId * regionsPerTableMax + index;
}

export function tableIdOfRegion(id: number): number {
  return Math.floor(id / regionsPerTableMax);
}

/** The position of the region that holds the row: hash ranges of a table are equally wide. */
export function regionIndexOf(handle: Uint8Array, regionCount: number): number {
  return Math.floor((hashOf(handle) / 2 ** 32) * regionCount);
}

/** FNV-1a, then the finalizer of MurmurHash3: FNV alone spreads ids that count up badly over its high bits. 0 to 2^32 - 1; part of the format, never changed. */
export function hashOf(handle: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of handle) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
