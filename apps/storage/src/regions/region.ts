import { BinnacleError } from '@binnacle/contracts/errors';

/** A hash range of a table's rows. */
export interface Region {
  /** `tableId * regionsPerTableMax + position in the table`: a number of its own in the whole cluster. */
  readonly id: number;
  /** The node that takes its writes and uploads them. */
  readonly writeNode: string;
  /** Grows with every assignment to a node: what is published under an older one than the manifest has is refused. */
  readonly term: number;
  /** Nodes that had it before and may have rows of it that nobody else has: each takes itself off once it has handed them over. */
  readonly leftAt?: readonly string[];
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

/** The region that holds the row. With one region nothing is hashed. */
export function regionOf(regions: readonly Region[], handle: Uint8Array): Region {
  return regions[regions.length === 1 ? 0 : regionIndexOf(handle, regions.length)] as Region;
}

/** The write nodes of the regions, each once. */
export function writeNodesOf({ regions }: { readonly regions: readonly Region[] }): string[] {
  return [...new Set(regions.map(({ writeNode }) => writeNode))];
}

/** The node that has all of the table. Throws NOT_READY where there are several: what concerns all rows then goes through the remote store. */
export function soleWriteNode(table: { readonly name: string; readonly regions: readonly Region[] }): string {
  const [node, ...others] = writeNodesOf(table);
  if (node !== undefined && others.length === 0) return node;
  throw new BinnacleError('NOT_READY', `Collection \`${table.name}\` lies on several nodes.`, { retryAfterS: 1 });
}
