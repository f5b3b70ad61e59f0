import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import type { Series } from '../series/series.js';

const { imul } = Math;

interface Owner {
  readonly id: string;
  readonly hash: number;
}

/**
 * Which ingest node adds up a series: the one whose id, hashed together with the series, comes to the most. So every node that knows the same nodes
 * comes to the same owner, and one that joins or leaves moves no series but its own.
 */
export class Ownership {
  #owners: readonly Owner[] = [];
  /** Of the owners; what a series knows of an earlier one is not asked. */
  #epoch = 0;

  constructor(
    readonly ownId: string,
    private readonly nodes: () => readonly NodeRecord[],
  ) {
    this.refresh();
  }

  /** Takes over who runs now. This node is one of them, also while the registry does not show it. */
  refresh(): void {
    const running = this.nodes().filter(({ state }) => state === 'running').map(({ id }) => id);
    const ids = [...new Set([this.ownId, ...running])].sort();
    if (ids.length === this.#owners.length && ids.every((id, at) => id === this.#owners[at]?.id)) return;
    this.#owners = ids.map((id) => ({ id, hash: hashed(id, 0) }));
    this.#epoch += 1;
  }

  isOwn(series: Series): boolean {
    return this.ownerOf(series) === this.ownId;
  }

  ownerOf(series: Series): string {
    if (series.ownerEpoch === this.#epoch) return series.owner;
    series.owner = owner(hashOf(series), this.#owners)?.id ?? this.ownId;
    series.ownerEpoch = this.#epoch;
    return series.owner;
  }

  /** Who owns it once this node has left; undefined when nobody is left. */
  heirOf(series: Series): string | undefined {
    return owner(hashOf(series), this.#owners.filter(({ id }) => id !== this.ownId))?.id;
  }
}

function owner(hash: number, owners: readonly Owner[]): Owner | undefined {
  let best: Owner | undefined;
  let most = -1;
  for (const each of owners) {
    const weight = mixed(hash ^ each.hash) >>> 0;
    // Of equals the first one, in order of their ids.
    if (weight > most) [best, most] = [each, weight];
  }
  return best;
}

/** Computed once: series live for many flushes. */
function hashOf(series: Series): number {
  if (series.hash !== undefined) return series.hash;
  const { kind, name, tags, source } = series.identity;
  let hash = hashed(source, hashed(name, hashed(kind, 0)));
  for (const tag of tags) hash = hashed(tag, hash);
  return (series.hash = hash);
}

/** FNV-1a over UTF-16 units, then mixed: names that differ in their last letter alone differ in every bit. */
function hashed(text: string, seed: number): number {
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
