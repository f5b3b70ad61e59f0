import type { Region } from '../regions/region.js';
import type { Table } from '../tables/schema.js';
import type { Manifest } from './manifest.js';

/** A region this node takes writes for. */
export interface UploadedRegion {
  readonly table: Pick<Table, 'id' | 'fields' | 'schemaVersion'>;
  readonly region: Pick<Region, 'id' | 'leftAt'>;
  /** Of the table. */
  readonly regionCount: number;
}

/** What the uploader has to know of the regions of this node. */
export interface UploadedRegions {
  /** Owned by this node and loaded. Rows of others in the log are skipped. */
  all(): readonly UploadedRegion[];
  /** What the region's manifest was claimed with; undefined: it is not claimed (any more). */
  claimed(regionId: number): { readonly term: number; readonly versionBase: number } | undefined;
  /** Another node has published in the region: it is not uploaded again before it is claimed anew. */
  fenced(regionId: number, newer: Manifest): void;
  /** The first sequence of the region's log that is needed once everything up to this version (of the region) is in segments. */
  logFrom?(regionId: number, uploadedVersion: number): number;
}
