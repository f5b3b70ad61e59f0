import type { Table } from '../tables/schema.js';
import type { Region } from './region.js';

/** Write nodes for the regions of a new table: one after the other, those with the fewest regions first. `nodes` are live and not empty. */
export function placedRegions(tables: readonly Table[], nodes: readonly string[], regions: number): string[] {
  const loads = loadsOf(tables);
  const order = nodes.toSorted((a, b) => (loads.get(a) ?? 0) - (loads.get(b) ?? 0) || (a < b ? -1 : 1));
  return Array.from({ length: regions }, (_, index) => order[index % order.length] as string);
}

/** Regions by write node. */
export function loadsOf(tables: readonly Table[]): Map<string, number> {
  const loads = new Map<string, number>();
  for (const { regions } of tables) for (const { writeNode } of regions) loads.set(writeNode, (loads.get(writeNode) ?? 0) + 1);
  return loads;
}

/** Regions moved at once: what is left moves at the next look. A new owner loads each from the remote store. */
export const movesMax = 64;

/**
 * The tables with regions of nodes that are gone given to live ones, each to the one with the fewest, in a new term. The same array when there is
 * nothing to move or nobody to move it to. The node that had it stays on the region's list: it may have rows that nobody else has.
 */
export function withMoves(tables: readonly Table[], live: readonly string[], gone: ReadonlySet<string>, limit = movesMax): readonly Table[] {
  const targets = live.filter((nodeId) => !gone.has(nodeId));
  if (targets.length === 0 || gone.size === 0) return tables;
  const loads = loadsOf(tables);
  const leastLoaded = (): string => targets.reduce((best, nodeId) => ((loads.get(nodeId) ?? 0) < (loads.get(best) ?? 0) ? nodeId : best));
  let moves = 0;
  const moved = (region: Region): Region => {
    if (moves === limit || !gone.has(region.writeNode)) return region;
    moves++;
    const target = leastLoaded();
    loads.set(target, (loads.get(target) ?? 0) + 1);
    return { ...region, writeNode: target, term: region.term + 1, leftAt: [...new Set([...(region.leftAt ?? []), region.writeNode])] };
  };
  const changed = tables.map((table) => (table.regions.some(({ writeNode }) => gone.has(writeNode)) ? { ...table, regions: table.regions.map(moved) } : table));
  return moves === 0 ? tables : changed;
}

/**
 * The tables with that region of that node in a term above what the remote store has of it. The same array when the region is in another term by now: then
 * it was given away, and the manifest is right. The node the manifest names may have rows of its own, so it comes on the list.
 */
export function withTermAbove(tables: readonly Table[], owner: { regionId: number; node: string; term: number }, newer: { writeNode: string; term: number }): readonly Table[] {
  const isBehind = ({ id, writeNode, term }: Region): boolean => id === owner.regionId && writeNode === owner.node && term === owner.term && term <= newer.term;
  if (!tables.some(({ regions }) => regions.some(isBehind))) return tables;
  const raised = (region: Region): Region => {
    if (!isBehind(region)) return region;
    return { ...region, term: newer.term + 1, leftAt: [...new Set([...(region.leftAt ?? []), owner.node, newer.writeNode])] };
  };
  return tables.map((table) => (table.regions.some(isBehind) ? { ...table, regions: table.regions.map(raised) } : table));
}

/** The tables without the node on the lists of who may still have rows of these regions. The same array when it is on none. */
export function withoutLeft(tables: readonly Table[], regionIds: ReadonlySet<number>, nodeId: string): readonly Table[] {
  const isLeft = ({ id, leftAt = [] }: Region): boolean => regionIds.has(id) && leftAt.includes(nodeId);
  if (!tables.some(({ regions }) => regions.some(isLeft))) return tables;
  const without = (region: Region): Region => {
    if (!isLeft(region)) return region;
    const { leftAt = [], ...kept } = region;
    const left = leftAt.filter((each) => each !== nodeId);
    return left.length === 0 ? kept : { ...kept, leftAt: left };
  };
  return tables.map((table) => (table.regions.some(isLeft) ? { ...table, regions: table.regions.map(without) } : table));
}

/**
 * Who is missing from the registry, and for how long somebody has been watching that: only time between two looks that were close to each other
 * counts. After a gap (the one who looks was paused, or cluster state was away) everything it knew is stale, and it begins anew.
 */
export class Absences {
  readonly #sinceMs = new Map<string, number>();
  #lookedAtMs: number | undefined;

  /** `gapMsMax`: looks further apart than this are not connected. */
  constructor(private readonly gapMsMax: number) {}

  /** `present`: as the registry has them now. `wanted`: nodes that matter. */
  look(nowMs: number, present: ReadonlySet<string>, wanted: ReadonlySet<string>): void {
    if (this.#lookedAtMs === undefined || nowMs - this.#lookedAtMs > this.gapMsMax) this.#sinceMs.clear();
    this.#lookedAtMs = nowMs;
    for (const nodeId of this.#sinceMs.keys()) if (present.has(nodeId) || !wanted.has(nodeId)) this.#sinceMs.delete(nodeId);
    for (const nodeId of wanted) if (!present.has(nodeId) && !this.#sinceMs.has(nodeId)) this.#sinceMs.set(nodeId, nowMs);
  }

  /** What was seen counts no more: somebody else leads, or nobody could look. */
  forget(): void {
    this.#sinceMs.clear();
    this.#lookedAtMs = undefined;
  }

  gone(nowMs: number, leaseMs: number): Set<string> {
    return new Set([...this.#sinceMs].flatMap(([nodeId, sinceMs]) => (nowMs - sinceMs >= leaseMs ? [nodeId] : [])));
  }
}
