/**
 * A node's number in TiFlash's dialect, where stores have no names: 1 to 2^32 - 1, always the same for the same node id. Two ids may share one
 * (about once in a million clusters of 100 nodes); whatever is told by store is then told of both together.
 */
export function storeIdOf(nodeId: string): number {
  // FNV-1a, then the finalizer of MurmurHash3: ids that differ in their last digit only are far apart.
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(nodeId)) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0 || 1;
}
