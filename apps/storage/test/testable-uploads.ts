import { join } from 'node:path';
import type { Clock } from '@binnacle/cluster-state/clock';
import { NodeConfig } from '@binnacle/node-kit/config';
import type { NodeContext } from '@binnacle/node-kit/node-context';
import { FolderStore } from '@binnacle/object-store/folder-store';
import type { ObjectStore } from '@binnacle/object-store/object-store';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { regionId } from '../src/regions/region.js';
import { ManifestStore } from '../src/remote/manifest-store.js';
import { Merger } from '../src/remote/merger.js';
import { defaultMergeLimits, type MergeLimits } from '../src/remote/merge-policy.js';
import { Uploader, type UploadedRegion, type UploadedRows } from '../src/remote/uploader.js';
import type { Manifest } from '../src/remote/manifest.js';
import type { Field, FieldType } from '../src/tables/schema.js';

export const field = (name: string, type: FieldType): Field => ({ name, type, optional: true, facet: false, index: true, sort: false });

export interface TestTable {
  readonly id: number;
  fields: readonly Field[];
  schemaVersion: number;
}

export interface UploadsOptions {
  readonly dataDir: string;
  readonly clock: Clock;
  readonly rows: UploadedRows;
  readonly store: ObjectStore;
  readonly tables: readonly TestTable[];
  readonly regionCount?: number;
  readonly nodeId?: string;
  readonly term?: number;
  readonly change?: (config: NodeConfig) => void;
  readonly mergeLimits?: MergeLimits;
  /** Of every region. */
  readonly leftAt?: readonly string[];
}

/** An uploader and a merger that own every region of some tables, with only what they need of a node. */
export class TestableUploads {
  readonly metrics = new Registry();
  readonly lines: { msg: string; [field: string]: unknown }[] = [];
  readonly fenced: number[] = [];
  readonly manifests: ManifestStore;
  readonly uploader: Uploader;
  readonly merger: Merger;
  readonly regionCount: number;
  readonly #claims = new Map<number, { term: number; versionBase: number }>();

  constructor(readonly options: UploadsOptions) {
    const config = new NodeConfig();
    config.dataDir = options.dataDir;
    options.change?.(config);
    this.regionCount = options.regionCount ?? 2;
    const log = pino({}, { write: (line: string) => void this.lines.push(JSON.parse(line) as TestableUploads['lines'][number]) });
    const node = { id: options.nodeId ?? 'n1', config, clock: options.clock, metrics: this.metrics, log, addPart: () => undefined } as unknown as NodeContext;
    const remote = { isOn: () => true, store: () => options.store };
    this.manifests = new ManifestStore(remote.store);
    const regions = {
      all: () => this.regions().filter(({ region }) => !this.fenced.includes(region.id)),
      claimed: (id: number) => this.#claims.get(id),
      fenced: (id: number) => (this.#claims.delete(id), void this.fenced.push(id)),
    };
    this.uploader = new Uploader({ node, rows: options.rows, remote, manifests: this.manifests, regions });
    this.merger = new Merger({ node, remote, uploader: this.uploader, limits: options.mergeLimits ?? defaultMergeLimits });
  }

  regions(): UploadedRegion[] {
    const { tables, leftAt } = this.options;
    const regionOf = (table: TestTable, index: number) => ({ id: regionId(table.id, index), ...(leftAt && { leftAt }) });
    return tables.flatMap((table) => Array.from({ length: this.regionCount }, (_, index) => ({ table, region: regionOf(table, index), regionCount: this.regionCount })));
  }

  /** Claims every region, in the store as it is. */
  async claim(term = this.options.term ?? 1, versionBase = 0): Promise<void> {
    const writeNode = this.options.nodeId ?? 'n1';
    for (const { table, region } of this.regions()) {
      const { manifest } = await this.manifests.claim({ tableId: table.id, regionId: region.id, term, writeNode, versionBase: () => versionBase });
      this.#claims.set(region.id, { term, versionBase: manifest.versionBase });
    }
  }

  async start(): Promise<void> {
    await this.claim();
    await this.uploader.start();
    await this.merger.start();
  }

  async stop(): Promise<void> {
    await this.merger.stop();
    await this.uploader.stop();
  }
}

export const openFolder = (folder: string): Promise<FolderStore> => FolderStore.open(join(folder, 'bucket'), { timeoutMs: 10_000 });

/** The manifests of a table, straight from the store. */
export async function manifestsOf(store: ObjectStore, tableId: number): Promise<Manifest[]> {
  const found: Manifest[] = [];
  for await (const { key } of store.list(`regions/${tableId}/`)) {
    if (key.endsWith('/manifest.json')) found.push(JSON.parse((await store.get(key))?.body.toString() ?? '') as Manifest);
  }
  return found;
}
