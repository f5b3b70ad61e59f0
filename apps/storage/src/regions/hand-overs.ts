import type { HandOver, Manifest } from '../remote/manifest.js';

export const handOversMax = 64;

/** One stay of a region at a node. A node that loads a region a second time in one term has another version base then. */
export interface Ownership {
  readonly term: number;
  readonly versionBase: number;
}

/** The take-over that came after that owner; undefined: nobody has taken the region over entirely since. */
export function nextHandOver({ handOvers = [] }: Pick<Manifest, 'handOvers'>, owner: Ownership): HandOver | undefined {
  const own = handOvers.findIndex(({ term, versionBase }) => term === owner.term && versionBase === owner.versionBase);
  return own < 0 ? handOvers.find(({ term }) => term >= owner.term) : handOvers[own + 1];
}

/**
 * Up to which of its own versions the log objects of that owner are in segments. Infinity: all of them, because one who came after had them in its own
 * log and has uploaded that; newer rows than theirs may be in segments by then.
 */
export function loggedUploaded(manifest: Pick<Manifest, 'handOvers' | 'uploadedVersion'>, owner: Ownership): number {
  const { handOvers = [], uploadedVersion } = manifest;
  const next = nextHandOver(manifest, owner);
  if (next === undefined) return uploadedVersion;
  const first = handOvers.indexOf(next);
  const isUploaded = handOvers.some(({ loadedVersion }, index) => index >= first && (handOvers[index + 1]?.uploadedVersion ?? uploadedVersion) >= loadedVersion);
  return isUploaded ? Infinity : next.uploadedVersion;
}
