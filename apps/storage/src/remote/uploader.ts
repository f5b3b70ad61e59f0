import type { NodeContext, NodePart } from '@binnacle/node-kit/node-context';
import type { ObjectStore } from '@binnacle/object-store/object-store';
import type { Region } from '../regions/region.js';
import type { RowStore } from '../row-store.js';
import type { Table } from '../tables/schema.js';
import type { Manifest } from './manifest.js';
import type { KnownManifest, ManifestStore } from './manifest-store.js';
import type { UploadStatus } from './upload-status.js';

/** A region this node takes writes for. */
export interface UploadedRegion {
  readonly table: Pick<Table, 'id' | 'fields' | 'schemaVersion'>;
  readonly region: Pick<Region, 'id'>;
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
}

export interface RemoteTier {
  isOn(): boolean;
  store(): ObjectStore;
}

export interface UploaderParts {
  readonly node: NodeContext;
  readonly rows: Pick<RowStore, 'logFolder' | 'scan' | 'durableVersion' | 'appliedVersion' | 'onDurable' | 'keepLogFor'>;
  readonly remote: RemoteTier;
  readonly manifests: ManifestStore;
  readonly regions: UploadedRegions;
}

/** Brings new row versions of the regions of this node to the remote store. */
export class Uploader implements NodePart {
  readonly name = 'uploader';

  constructor(private readonly parts: UploaderParts) {}

  /** An upload soon; the request stands until one has succeeded. */
  request(): void {}

  /** Resolves when everything acknowledged before the call is in the remote store. Rejects when that failed once; it is tried again all the same. */
  async uploadNow(): Promise<void> {}

  /** Everything in the log up to this version is in the remote store, as far as it is this node's to upload. */
  position(): number {
    return this.parts.rows.durableVersion();
  }

  status(): UploadStatus {
    return { isRequested: false, isRunning: false, lastSuccessMs: undefined, failuresInRow: 0, lastFailure: undefined, pendingRows: 0, pendingBytes: 0, oldestPendingMs: undefined };
  }

  /** The manifest as this node published it last, or read it. */
  known(_regionId: number): KnownManifest | undefined {
    return undefined;
  }

  /** Called after each manifest that this node published. Returns what ends that. */
  onPublished(_listener: (known: KnownManifest) => void): () => void {
    return () => {};
  }
}
