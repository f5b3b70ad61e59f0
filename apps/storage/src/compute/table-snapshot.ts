import { BinnacleError } from '@binnacle/contracts/errors';
import type { Segment } from '../remote/manifest.js';
import { quoted } from '../remote/document-sql.js';
import type { Table } from '../tables/schema.js';
import type { FreshRows, RegionView } from './fresh-rows.js';
import { innerSchema, loadFreshSql, type RegionSource, viewSql } from './table-view.js';

/** A table as it is at one moment: of each region what one manifest shows, and the rows after it up to one version. */
interface SnappedTable {
  readonly table: Table;
  readonly regions: readonly RegionView[];
}

/** A table and what the query calls it: its name, an alias, or either in other letters. */
export interface NamedTable {
  readonly name: string;
  readonly table: Table;
}

export interface SnapshotOptions {
  /** Rows that are not in the bucket yet are left out, and write nodes not asked. */
  readonly stale: boolean;
  readonly signal: AbortSignal;
}

/** Tables at one moment; nothing that is written later, uploaded, merged or collected changes what is read of them. */
export class TableSnapshot {
  private constructor(
    private readonly names: readonly NamedTable[],
    private readonly tables: readonly SnappedTable[],
  ) {}

  /** With every write that was acknowledged before the call, unless `stale`. Rejects with NOT_READY. */
  static async take(names: readonly NamedTable[], fresh: FreshRows, { stale, signal }: SnapshotOptions): Promise<TableSnapshot> {
    const tables = [...new Map(names.map(({ table }) => [table.id, table])).values()];
    const taken = await Promise.allSettled(
      tables.flatMap((table) => table.regions.map(async (region) => (stale ? fresh.staleView(region) : fresh.view(region, signal)))),
    );
    const views = taken.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    const failed = taken.find((result) => result.status === 'rejected');
    if (failed !== undefined) {
      for (const { pin } of views) pin.release();
      throw failed.reason;
    }
    const byRegion = new Map(views.map((view) => [view.regionId, view]));
    return new TableSnapshot(names, tables.map((table) => ({ table, regions: table.regions.map(({ id }) => byRegion.get(id) as RegionView) })));
  }

  segments(): Segment[] {
    return this.tables.flatMap(({ regions }) => regions.flatMap(({ known }) => known?.manifest.segments ?? []));
  }

  /** Files with rows that are not in the bucket, which stay until `release`. */
  freshPaths(): string[] {
    return this.tables.flatMap(({ regions }) => regions.flatMap(({ pin }) => pin.parts.map(({ path }) => path)));
  }

  /** The same for two snapshots between which nothing of these tables was written, nor their fields changed. */
  versions(): string {
    return JSON.stringify(this.tables.map(({ table, regions }) => [table.id, table.schemaVersion, regions.map(({ regionId, version }) => [regionId, version])]));
  }

  /** Makes the views, under the names of the query. `paths`: of the segments' local files, by their keys. */
  statements(paths: ReadonlyMap<string, string>, isInner: boolean): string[] {
    const statements = [`CREATE SCHEMA ${innerSchema}`];
    for (const { table, regions } of this.tables) {
      const sources = regions.map((region) => sourceOf(region, paths));
      statements.push(...loadFreshSql(table, sources));
      for (const { name } of this.names.filter((named) => named.table.id === table.id)) statements.push(viewSql(table, sources, { name: quoted(name), isInner }));
    }
    return statements;
  }

  release(): void {
    for (const { regions } of this.tables) for (const { pin } of regions) pin.release();
  }
}

function sourceOf({ known, from, to, version, pin }: RegionView, paths: ReadonlyMap<string, string>): RegionSource {
  const segments = (known?.manifest.segments ?? []).map((segment) => {
    const path = paths.get(segment.key);
    if (path === undefined) throw new BinnacleError('INTERNAL', `no local file of ${segment.key}`);
    return { segment, path };
  });
  return { segments, fresh: { paths: pin.parts.map(({ path }) => path), lineBytes: Math.max(0, ...pin.parts.map((part) => part.lineBytes)), from, to, versionBase: version - to } };
}

