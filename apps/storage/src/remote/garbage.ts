import { type ObjectFacts, type ObjectStore, ObjectStoreUnavailable, type OperationOptions } from '@binnacle/object-store/object-store';
import { markedKeyOf, markKeyOf, marksPrefix } from './delete-marks.js';
import type { KnownManifest, ManifestStore } from './manifest-store.js';
import { regionPrefix } from './manifest.js';
import { listRegions, type RegionObjects } from './region-listing.js';
import { findAbandoned, type StalledSnapshot } from './snapshot-garbage.js';

/** Why nobody references an object. */
export type GarbageReason =
  | 'unreferenced segment'
  | 'log before the manifest'
  | 'dropped table'
  | 'half-made snapshot'
  /** These are never deleted: what knew of them may have been lost. */
  | 'unknown table'
  | 'no readable manifest'
  | 'unknown object';

export interface Garbage {
  readonly key: string;
  readonly bytes: number;
  readonly lastModifiedMs: number;
  readonly reason: GarbageReason;
  /** When its delete mark was made, by the store's clock. Undefined: it has none. */
  readonly markedAtMs: number | undefined;
}

export interface RegionGarbage {
  readonly kind: 'region';
  readonly tableId: number;
  readonly regionId: number;
  /** As it was after the objects were listed. */
  readonly known: KnownManifest | undefined;
  readonly garbage: readonly Garbage[];
  /** Keys of delete marks whose object is referenced again, or gone. */
  readonly staleMarks: readonly string[];
}

/** Files of a snapshot that nobody completes any more. */
export interface SnapshotGarbage {
  readonly kind: 'snapshot';
  /** Whoever made it has not been heard of for long: it has to be made sure that it does not go on. */
  readonly stalled: StalledSnapshot | undefined;
  readonly garbage: readonly Garbage[];
}

export interface OtherGarbage {
  readonly kind: 'other';
  readonly garbage: readonly Garbage[];
}

export type FoundGarbage = RegionGarbage | SnapshotGarbage | OtherGarbage;

/** The tables of the cluster, as its state has them at this moment. */
export interface KnownTables {
  readonly live: ReadonlySet<number>;
  readonly dropped: ReadonlySet<number>;
}

export interface GarbageSource {
  readonly store: ObjectStore;
  readonly manifests: Pick<ManifestStore, 'read'>;
  readonly tables: KnownTables;
}

/** The first line of a log object is shorter. */
const headBytesMax = 512;
const othersMax = 1_000;

/** Everything in the remote store that nobody references, piece by piece: a region, or a snapshot, at a time. */
export async function* findGarbage(source: GarbageSource, options: OperationOptions): AsyncGenerator<FoundGarbage> {
  const { store } = source;
  const others: Garbage[] = [];
  const other = (facts: ObjectFacts): void => void (others.length < othersMax && others.push(garbageOf(facts, 'unknown object')));
  const marked = new Set<string>();
  for await (const { key } of store.list(marksPrefix, options)) marked.add(regionOfKey(markedKeyOf(key)));
  for await (const objects of listRegions(store, options, other)) {
    const prefix = regionPrefix(objects.tableId, objects.regionId);
    yield await regionGarbage(source, objects, marked.delete(prefix), options);
  }
  for (const prefix of marked) {
    const [, tableId, regionId] = /^regions\/(\d+)\/(\d+)\/$/.exec(prefix) ?? [];
    if (regionId === undefined) continue;
    const empty = { tableId: Number(tableId), regionId: Number(regionId), manifest: undefined, segments: [], log: [] };
    yield await regionGarbage(source, empty, true, options);
  }
  for await (const { stalled, files } of findAbandoned(store, options, other)) {
    yield { kind: 'snapshot', stalled, garbage: files.map((facts) => garbageOf(facts, 'half-made snapshot')) };
  }
  if (others.length > 0) yield { kind: 'other', garbage: others };
}

async function regionGarbage(source: GarbageSource, objects: RegionObjects, mayHaveMarks: boolean, options: OperationOptions): Promise<RegionGarbage> {
  const { tableId, regionId } = objects;
  const known = source.tables.live.has(tableId) ? await source.manifests.read(tableId, regionId, options).catch((error: unknown) => unreadable(error, options)) : undefined;
  const unreferenced = unreferencedOf(source, objects, known);
  const marks = mayHaveMarks || unreferenced.length > 0 ? await marksOf(source.store, objects, options) : new Map<string, number>();
  const garbage: Garbage[] = [];
  for (const { facts, reason } of unreferenced) {
    const markedAtMs = marks.get(facts.key);
    marks.delete(facts.key);
    // One that has a mark was looked at when it got it.
    if (reason === 'log before the manifest' && markedAtMs === undefined && (await isFence(source.store, facts, options))) continue;
    garbage.push(garbageOf(facts, reason, markedAtMs));
  }
  return { kind: 'region', tableId, regionId, known, garbage, staleMarks: [...marks.keys()].map(markKeyOf) };
}

/** One damaged object, or one of a newer version, keeps nobody from collecting the rest. */
function unreadable(error: unknown, { signal }: OperationOptions): undefined {
  if (error instanceof ObjectStoreUnavailable || signal?.aborted) throw error;
  return undefined;
}

interface Unreferenced {
  readonly facts: ObjectFacts;
  readonly reason: GarbageReason;
}

function unreferencedOf({ tables }: GarbageSource, { tableId, manifest, segments, log }: RegionObjects, known: KnownManifest | undefined): Unreferenced[] {
  const allAs = (reason: GarbageReason): Unreferenced[] =>
    // The manifest comes last: as long as it is there, so is what tells whose the rest was.
    [...segments, ...log, ...(manifest === undefined ? [] : [manifest])].map((facts) => ({ facts, reason }));
  if (tables.dropped.has(tableId)) return allAs('dropped table');
  if (!tables.live.has(tableId)) return allAs('unknown table');
  if (known === undefined) return allAs('no readable manifest');
  const referenced = new Set(known.manifest.segments.map(({ key }) => key));
  return [
    ...segments.filter(({ key }) => !referenced.has(key)).map((facts): Unreferenced => ({ facts, reason: 'unreferenced segment' })),
    ...log.filter(({ sequence }) => sequence < known.manifest.logFrom).map((facts): Unreferenced => ({ facts, reason: 'log before the manifest' })),
  ];
}

/** When each marked object of the region got its mark. */
async function marksOf(store: ObjectStore, { tableId, regionId }: RegionObjects, options: OperationOptions): Promise<Map<string, number>> {
  const marks = new Map<string, number>();
  for await (const { key, lastModifiedMs } of store.list(markKeyOf(regionPrefix(tableId, regionId)), options)) marks.set(markedKeyOf(key), lastModifiedMs);
  return marks;
}

/** Fences stay as long as their region. What cannot be read counts as one. */
async function isFence(store: ObjectStore, { key, bytes }: ObjectFacts, options: OperationOptions): Promise<boolean> {
  if (bytes === 0) return true;
  const head = await store.getRange(key, { offset: 0, length: Math.min(bytes, headBytesMax) }, options).catch((error: Error) => {
    if (error.name === 'ObjectNotFound' || error.name === 'ObjectChanged') return Buffer.alloc(0);
    throw error;
  });
  return !/^\{"format":1,"kind":"rows",[^\n]*\n/.test(head.toString('latin1'));
}

function garbageOf({ key, bytes, lastModifiedMs }: ObjectFacts, reason: GarbageReason, markedAtMs?: number): Garbage {
  return { key, bytes, lastModifiedMs, reason, markedAtMs };
}

/** `regions/1/256/` of a key below it; the key itself where it is none of a region. */
function regionOfKey(key: string): string {
  return /^regions\/\d+\/\d+\//.exec(key)?.[0] ?? key;
}
