import type { Availability, Lease, NodeRecord, Tenure } from '@binnacle/cluster-state/cluster-state';
import { ClusterStateUnavailable } from '@binnacle/cluster-state/cluster-state';
import { addressOf } from '@binnacle/cluster-state/node-record';
import { BinnacleError } from '@binnacle/contracts/errors';
import { storeIdOf } from '@binnacle/contracts/store-id';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import { lagOf } from './lag.js';
import { type RegionLags, RegionLagsOfNodes } from './region-lags.js';

export interface OwnerView {
  readonly nodeId: string;
  readonly address: string;
}

export interface LeaseView {
  readonly name: string;
  readonly term: number;
  readonly owner: OwnerView | null;
  readonly remainingMs: number;
  /** Node ids of those who wait for it. */
  readonly waiting: readonly string[];
}

export interface NodeView {
  readonly id: string;
  readonly incarnation: string;
  readonly roles: readonly string[];
  readonly state: NodeRecord['state'];
  readonly version: string;
  /** host:port of the node listener. */
  readonly address: string;
  /** ISO 8601, as every time in these answers. */
  readonly startedAt: string;
  readonly appliedRevision: number;
  /** Committed revisions the node has not applied yet. */
  readonly lag: number;
  readonly outstandingRequests: number;
  readonly eventLoopDelayMs: number;
  readonly resourceError: NodeRecord['resourceError'] | null;
  readonly labels: Readonly<Record<string, string>>;
  /** Of a storage node: its number in TiFlash's dialect (`/tiflash/remote/info`). */
  readonly storeId?: number;
  /** Of a storage node that said so in time: how far its replicas of regions are behind. */
  readonly regionLag?: RegionLags;
}

export interface TenureView {
  readonly term: number;
  readonly owner: OwnerView;
  readonly acquiredAt: string;
  /** Absent while it runs, as is the reason. */
  readonly endedAt?: string;
  readonly endReason?: NonNullable<Tenure['endReason']>;
}

export interface ClusterStateView {
  readonly kind: 'redis' | 'embedded';
  readonly available: boolean;
  readonly since: string;
  readonly reason: string;
}

export interface WholeView {
  readonly clusterState: ClusterStateView;
  readonly committedRevision: number;
  /** While the cluster state is away: as last seen. */
  readonly nodes: readonly NodeView[];
  /** Empty while the cluster state is away: a lease last seen says nothing of now. */
  readonly leases: readonly LeaseView[];
}

export function nodeView(node: NodeRecord, committedRevision: number): NodeView {
  return {
    id: node.id,
    incarnation: node.incarnation,
    roles: node.roles,
    state: node.state,
    version: node.version,
    address: addressOf(node),
    startedAt: iso(node.startedAtMs),
    appliedRevision: node.appliedRevision,
    lag: lagOf(node, committedRevision),
    outstandingRequests: node.outstandingRequests,
    eventLoopDelayMs: node.eventLoopDelayMs,
    resourceError: node.resourceError ?? null,
    labels: node.labels,
    ...(node.roles.includes('storage') && { storeId: storeIdOf(node.id) }),
  };
}

export function leaseView({ name, term, owner, remainingMs, waiting }: Lease): LeaseView {
  return { name, term, owner: owner ? { nodeId: owner.nodeId, address: owner.address } : null, remainingMs, waiting };
}

export function tenureView({ term, owner, acquiredAtMs, endedAtMs, endReason }: Tenure): TenureView {
  return {
    term,
    owner: { nodeId: owner.nodeId, address: owner.address },
    acquiredAt: iso(acquiredAtMs),
    ...(endedAtMs !== undefined && { endedAt: iso(endedAtMs) }),
    ...(endReason !== undefined && { endReason }),
  };
}

export function clusterStateView(kind: 'redis' | 'embedded', { available, sinceMs, reason }: Availability): ClusterStateView {
  return { kind, available, since: iso(sinceMs), reason };
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}

const byName = (a: { name: string }, b: { name: string }): number => (a.name < b.name ? -1 : 1);
const byId = (a: { id: string }, b: { id: string }): number => (a.id < b.id ? -1 : 1);

/** What `/api/v1/cluster` and `/api/v1/leases` show. */
@Injectable()
export class ClusterView {
  constructor(
    private readonly node: NodeContext,
    private readonly lags: RegionLagsOfNodes,
  ) {}

  /** Answers while the cluster state is away, too, with what is still known. */
  async whole(): Promise<WholeView> {
    const { state, directory, settings } = this.node;
    const [known, lags] = await Promise.all([this.#committedAndLeases(), this.lags.all()]);
    const withLag = (view: NodeView): NodeView => {
      const regionLag = lags.get(view.id);
      return regionLag === undefined ? view : { ...view, regionLag };
    };
    const committedRevision = known?.revision ?? settings.appliedRevision();
    return {
      clusterState: clusterStateView(state.kind, state.availability()),
      committedRevision,
      nodes: directory.all().map((node) => withLag(nodeView(node, committedRevision))).toSorted(byId),
      leases: known?.leases ?? [],
    };
  }

  /** Rejects with `ClusterStateUnavailable`. */
  async leases(): Promise<LeaseView[]> {
    return (await this.node.state.leases()).map(leaseView).toSorted(byName);
  }

  /** Newest first. Throws NOT_FOUND for a lease that nobody ever held. */
  async history(lease: string, limit: number): Promise<TenureView[]> {
    const tenures = await this.node.state.leaseHistory(lease, limit);
    if (tenures.length === 0) {
      const names = (await this.leases()).map(({ name }) => name);
      throw new BinnacleError('NOT_FOUND', `no lease ${lease}; leases: ${names.join(', ') || 'none'}`);
    }
    return tenures.map(tenureView);
  }

  async #committedAndLeases(): Promise<{ revision: number; leases: LeaseView[] } | undefined> {
    try {
      const [{ revision }, leases] = await Promise.all([this.node.state.readDocument('settings'), this.leases()]);
      return { revision, leases };
    } catch (error) {
      if (error instanceof ClusterStateUnavailable) return undefined;
      throw error;
    }
  }
}
