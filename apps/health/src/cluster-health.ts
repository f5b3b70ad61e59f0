import type { NodeRecord, ResourceError } from '@binnacle/cluster-state/cluster-state';
import { BinnacleError } from '@binnacle/contracts/errors';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';

export interface HealthAnswer {
  readonly status: 200 | 503;
  readonly body: { readonly ok: boolean; readonly resource_error?: ResourceError };
}

/**
 * Whether one of these nodes can answer requests: it runs and is at most `lagMax` revisions behind. A shortage of disk or memory on
 * any of them is told, and is no reason for 503: reads still work.
 */
export function healthAnswer(nodes: readonly NodeRecord[], committedRevision: number, lagMax: number): HealthAnswer {
  const ok = nodes.some((node) => node.state === 'running' && committedRevision - node.appliedRevision <= lagMax);
  const short = nodes.map((node) => node.resourceError);
  // Disk first: it does not heal by itself.
  const resourceError = short.find((error) => error === 'OUT_OF_DISK') ?? short.find((error) => error !== undefined);
  return { status: ok ? 200 : 503, body: { ok, ...(resourceError && { resource_error: resourceError }) } };
}

/** `/health`, as Typesense answers it: from what the registry says, without asking anybody. */
@Injectable()
export class ClusterHealth {
  constructor(private readonly node: NodeContext) {}

  /**
   * Of the named node, else of the storage nodes together. While the cluster state is away the last view counts; a node that never
   * had one knows of no storage node and answers 503.
   */
  answer(subjectId: string | undefined): HealthAnswer {
    const { directory, settings } = this.node;
    const nodes = subjectId === undefined ? directory.byRole('storage') : [this.#subject(subjectId)];
    // This node may itself be behind; whatever anybody has applied was committed.
    const committedRevision = Math.max(settings.appliedRevision(), ...directory.all().map((node) => node.appliedRevision));
    return healthAnswer(nodes, committedRevision, settings.value().healthyReadLag);
  }

  #subject(id: string): NodeRecord {
    const record = this.node.directory.byId(id);
    if (record === undefined) throw new BinnacleError('UNKNOWN_NODE', `no node ${id.slice(0, 64)}`);
    return record;
  }
}
