import type { ObjectFacts, ObjectStore, OperationOptions } from '@binnacle/object-store/object-store';

/** What of the remote store belongs to one region, by its keys. */
export interface RegionObjects {
  readonly tableId: number;
  readonly regionId: number;
  readonly manifest: ObjectFacts | undefined;
  readonly segments: readonly ObjectFacts[];
  /** With the sequence of each, ascending. */
  readonly log: readonly (ObjectFacts & { readonly sequence: number })[];
}

const keyPattern = /^regions\/(\d{1,10})\/(\d{1,13})\/(?:(manifest\.json)|segments\/[^/]+\.parquet|log\/(\d{16}))$/;

/**
 * The regions that have objects, one after the other. Everything of a region is listed before the region is yielded, so that a manifest which is read then
 * is newer than the list. `onOther` hears of objects that belong to no region.
 */
export async function* listRegions(store: ObjectStore, options: OperationOptions, onOther: (facts: ObjectFacts) => void = () => {}): AsyncGenerator<RegionObjects> {
  let current: { tableId: number; regionId: number; manifest: ObjectFacts | undefined; segments: ObjectFacts[]; log: (ObjectFacts & { sequence: number })[] } | undefined;
  for await (const facts of store.list('regions/', options)) {
    const [isOurs, table, region, manifest, sequence] = keyPattern.exec(facts.key) ?? [];
    if (isOurs === undefined) {
      onOther(facts);
      continue;
    }
    const tableId = Number(table);
    const regionId = Number(region);
    // Keys are in order: those of one region follow each other.
    if (current?.tableId !== tableId || current.regionId !== regionId) {
      if (current !== undefined) yield current;
      current = { tableId, regionId, manifest: undefined, segments: [], log: [] };
    }
    if (manifest !== undefined) current.manifest = facts;
    else if (sequence === undefined) current.segments.push(facts);
    else current.log.push({ ...facts, sequence: Number(sequence) });
  }
  if (current !== undefined) yield current;
}
