import type { SegmentColumn } from './manifest.js';
import type { DatabaseLimits } from './segment-database.js';
import type { SegmentFile } from './segment-file.js';

/** Segments of what the log has of some regions. */
export interface SliceJob {
  readonly kind: 'slice';
  readonly logFolder: string;
  /** Of the log; those after the first one up to the second one, or fewer, if that is more than one slice takes. */
  readonly afterVersion: number;
  readonly toVersion: number;
  /** Rows that a slice holds in memory, with what each of them takes besides its bytes. */
  readonly bytesMax: number;
  readonly regions: readonly SliceRegion[];
  readonly output: Output;
}

/** Rows that were read elsewhere, of one region, no handle twice. */
export interface RowsJob {
  readonly kind: 'rows';
  readonly region: SliceRegion;
  readonly rows: readonly { readonly handle: Uint8Array; readonly version: number; readonly document: Uint8Array | undefined }[];
  readonly output: Output;
}

export interface SliceRegion {
  readonly tableId: number;
  readonly regionId: number;
  /** In its table. */
  readonly index: number;
  readonly regionCount: number;
  /** Of the log: older ones are in the remote store. */
  readonly afterVersion: number;
  /** Added to a version of the log. */
  readonly versionBase: number;
  readonly schemaVersion: number;
  readonly columns: readonly SegmentColumn[];
}

/** One segment, or several that do not overlap, in place of some; the inputs are local files in the order of the manifest. */
export interface MergeJob {
  readonly kind: 'merge';
  readonly inputs: readonly { readonly path: string; readonly columns: readonly SegmentColumn[] }[];
  /** Nothing older than the inputs is left. */
  readonly dropsMarks: boolean;
  readonly schemaVersion: number;
  readonly columns: readonly SegmentColumn[];
  readonly output: Output;
}

export interface Output {
  readonly folder: string;
  readonly limits: DatabaseLimits;
}

export type SegmentJob = SliceJob | RowsJob | MergeJob;

export interface SegmentJobResult {
  /** The end of the slice, in the log. Of other jobs 0. */
  readonly toVersion: number;
  /** Of a region in the order of their handles. */
  readonly segments: readonly { readonly regionId: number; readonly file: SegmentFile }[];
}

/** What a failure begins with when the log does not go back as far as was asked. */
export const trimmedFailure = 'trimmed: ';
