import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { hashed, type HashedId, rendezvous } from '@binnacle/cluster-state/rendezvous';
import type { Series } from '../series/series.js';

/**
 * Which ingest node adds up a series: the one whose id, hashed together with the series, comes to the most. So every node that knows the same nodes
 * comes to the same owner, and one that joins or leaves moves no series but its own.
 */
export class Ownership {
  #owners: readonly HashedId[] = [];
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
    this.#owners = ids.map((id) => ({ id, hash: hashed(id) }));
    this.#epoch += 1;
  }

  isOwn(series: Series): boolean {
    return this.ownerOf(series) === this.ownId;
  }

  ownerOf(series: Series): string {
    if (this.#owners.length === 1) return this.ownId;
    if (series.ownerEpoch === this.#epoch) return series.owner;
    series.owner = rendezvous(hashOf(series), this.#owners)?.id ?? this.ownId;
    series.ownerEpoch = this.#epoch;
    return series.owner;
  }

  /** Who owns it once this node has left; undefined when nobody is left. */
  heirOf(series: Series): string | undefined {
    return rendezvous(hashOf(series), this.#owners.filter(({ id }) => id !== this.ownId))?.id;
  }
}

/** Computed once: series live for many flushes. */
function hashOf(series: Series): number {
  if (series.hash !== undefined) return series.hash;
  const { kind, name, tags, source } = series.identity;
  let hash = hashed(source, hashed(name, hashed(kind)));
  for (const tag of tags) hash = hashed(tag, hash);
  return (series.hash = hash);
}
