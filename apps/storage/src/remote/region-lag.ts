import { NodeContext } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import { Gauge } from 'prom-client';
import { Compute } from '../compute/compute.js';
import { Catalog } from '../tables/catalog.js';
import { RemoteStore } from './remote-store.js';

export interface RegionLag {
  readonly table: number;
  readonly region: number;
  /** How old the oldest acknowledged write may be that this node's replica does not show. Null: not known yet. */
  readonly lagMs: number | null;
}

export interface RegionLags {
  /** Regions this node has to have a replica of. */
  readonly regions: number;
  /** Of the one that lags most; null: there is one of which it is not known. */
  readonly lagMsMax: number | null;
  /** Those that lag most, the worst first; at most 100. */
  readonly worst: readonly RegionLag[];
}

/** Regions told of: what Prometheus keeps of a node, and what an answer of the cluster has of it, stays small with thousands of them. */
const worstMax = 100;

/** How far the replicas of this node are behind what was acknowledged. */
@Injectable()
export class RegionLagView {
  constructor(
    private readonly node: NodeContext,
    private readonly remote: RemoteStore,
    private readonly catalog: Catalog,
    private readonly compute: Compute,
  ) {
    const measured: Gauge<'table' | 'region'> = new Gauge({
      name: 'binnacle_storage_region_lag_seconds',
      help: `How old the oldest acknowledged write may be that the replica of this node does not show; of the ${worstMax} regions that lag most. +Inf: not known yet.`,
      labelNames: ['table', 'region'],
      registers: [node.metrics],
      collect: () => {
        measured.reset();
        for (const { table, region, lagMs } of this.lags()?.worst ?? []) measured.set({ table, region }, (lagMs ?? Infinity) / 1_000);
      },
    });
  }

  lagMs(regionId: number): number {
    return this.remote.isOn() ? this.compute.follower.lagMs(regionId) : Infinity;
  }

  /** Undefined: without a remote store there are no replicas. */
  lags(): RegionLags | undefined {
    if (!this.remote.isOn() || this.node.config.storage.modes.length === 0) return undefined;
    const lags = this.catalog.all().flatMap(({ id: table, regions }) => regions.map(({ id: region }) => ({ table, region, ms: this.lagMs(region) })));
    lags.sort((a, b) => (a.ms === b.ms ? a.region - b.region : b.ms - a.ms));
    const worst = lags.slice(0, worstMax).map(({ table, region, ms }) => ({ table, region, lagMs: known(ms) }));
    return { regions: lags.length, lagMsMax: known(lags[0]?.ms ?? 0), worst };
  }
}

/** JSON has no infinity. */
function known(ms: number): number | null {
  return Number.isFinite(ms) ? Math.round(ms) : null;
}
