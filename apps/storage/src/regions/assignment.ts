import type { Table } from '../tables/schema.js';

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
