import type { FieldType } from '../tables/schema.js';

/*
 * The remote store, by key:
 *
 *   catalog.json                                                  the catalog of tables, as the leader last knew it
 *   regions/{table}/{region}/manifest.json                        what the region is made of; replaced by compare-and-set alone
 *   regions/{table}/{region}/segments/{uuid}.parquet              immutable; ordered by `_handle`, of each handle one row
 *   regions/{table}/{region}/log/{sequence, 16 digits}            durability=remote: the region's log, one object a group commit
 *   gc/marks/{key of an object, / as =}                           delete marks of the collector
 *   snapshots/{name}/...
 *
 * Columns of a segment: `_handle` VARCHAR, `_version` BIGINT, `_deleted` BOOLEAN, the fields of the table by their names (null where a document has
 * none), `_document` VARCHAR: the document as it is kept, byte for byte; null for a delete mark.
 */

export const handleColumn = '_handle';
export const versionColumn = '_version';
export const deletedColumn = '_deleted';
export const documentColumn = '_document';

export const catalogObjectKey = 'catalog.json';
export const regionPrefix = (tableId: number, regionId: number): string => `regions/${tableId}/${regionId}/`;
export const manifestKey = (tableId: number, regionId: number): string => `${regionPrefix(tableId, regionId)}manifest.json`;
export const segmentPrefix = (tableId: number, regionId: number): string => `${regionPrefix(tableId, regionId)}segments/`;
export const logPrefix = (tableId: number, regionId: number): string => `${regionPrefix(tableId, regionId)}log/`;

/** The live state of a region in the remote store. Whoever replaces it must know the one it replaces, and have no smaller term. */
export interface Manifest {
  readonly format: 1;
  readonly tableId: number;
  readonly regionId: number;
  /** Of the region, as the catalog had it when the node `writeNode` published. */
  readonly term: number;
  readonly writeNode: string;
  /** Added to a position in the log of `writeNode` to get a version of the region: so that versions grow over all its write nodes. */
  readonly versionBase: number;
  /** Every row version up to this is in the segments. */
  readonly uploadedVersion: number;
  /** Everything acknowledged before this moment (wall clock of the write node) is in the segments. */
  readonly completeToMs: number;
  /** The first sequence of the region's log that is still needed: what is before it is in segments. */
  readonly logFrom: number;
  /** Grows when the collector is about to delete: whoever would publish a file it might have taken for abandoned then loses the compare-and-set. */
  readonly collections: number;
  /** Who took the region over, the last 64 of them: what one wrote and the next one did not find uploaded is in the region's log or with that node alone. */
  readonly handOvers?: readonly HandOver[];
  /** Oldest data first: where a handle is in several, the last one that has it counts. */
  readonly segments: readonly Segment[];
}

export interface HandOver {
  /** Of the one that took it over. */
  readonly term: number;
  readonly versionBase: number;
  /** Of the one that took it over: once everything up to this is uploaded, so is all it found in the region's log. */
  readonly loadedVersion: number;
  /** Of the manifest it found. */
  readonly uploadedVersion: number;
}

/** One Parquet file. */
export interface Segment {
  /** Key in the remote store. */
  readonly key: string;
  readonly bytes: number;
  /** Where the last column chunk ends: everything behind it (bloom filters, indexes, footer) is needed to read any of it. */
  readonly metaOffset: number;
  /** 0: as uploaded. Segments of one level above 0 do not overlap in handles. */
  readonly level: number;
  readonly rows: number;
  readonly deleteMarks: number;
  /** By their UTF-8 bytes, which is not how JavaScript compares strings: use `Buffer.compare`. */
  readonly minHandle: string;
  readonly maxHandle: string;
  readonly minVersion: number;
  readonly maxVersion: number;
  /** Of the table when it was written; a column that a table has got since is null in it. */
  readonly schemaVersion: number;
  readonly columns: readonly SegmentColumn[];
  readonly createdAtMs: number;
}

/** Where a field of the table is in the file; see `columnsOf`. */
export interface SegmentColumn {
  /** Of the field. */
  readonly name: string;
  readonly type: FieldType;
  /** Of the column: the field's name, unless that is taken, upper and lower case being the same to DuckDB. Then with a number behind: `_handle_2`. */
  readonly column: string;
}

/** Throws on text that is no manifest of this format. */
export function parseManifest(text: string): Manifest {
  const manifest = JSON.parse(text) as Partial<Manifest> | null;
  if (manifest?.format !== 1 || !Array.isArray(manifest.segments)) throw new Error('not a manifest, or of another format');
  return manifest as Manifest;
}
