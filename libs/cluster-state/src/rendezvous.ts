const { imul } = Math;

/**
 * Rendezvous hashing: of some candidates the one that comes to the most together with a text. Whoever knows the same candidates chooses the same one,
 * in whatever order it knows them, and a candidate that joins or leaves moves no text but its own.
 */
export interface HashedId {
  readonly id: string;
  /** `hashed(id)`. */
  readonly hash: number;
}

/** @param hash of the text */
export function rendezvous<Each extends HashedId>(hash: number, candidates: readonly Each[]): Each | undefined {
  let best: Each | undefined;
  let most = -1;
  for (const each of candidates) {
    const weight = mixed(hash ^ each.hash) >>> 0;
    if (weight < most || (weight === most && best !== undefined && best.id < each.id)) continue;
    best = each;
    most = weight;
  }
  return best;
}

/** FNV-1a over UTF-16 units, then mixed: texts that differ in their last letter alone differ everywhere. `seed` is the hash of what stands before. */
export function hashed(text: string, seed = 0): number {
  let hash = seed ^ 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = imul(hash ^ text.charCodeAt(at), 0x01000193);
  return mixed(hash ^ text.length);
}

/** MurmurHash3's last step: every bit of the result depends on every bit of the number. */
function mixed(number: number): number {
  let hash = number;
  hash = imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
