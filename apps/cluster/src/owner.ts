import type { Candidate, Lease, NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { ClusterStateUnavailable } from '@binnacle/cluster-state/cluster-state';
import { isInMode } from '@binnacle/contracts/disagg-mode';
import { BinnacleError } from '@binnacle/contracts/errors';
import { AgentClient } from '@binnacle/node-kit/agent-client';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';

export const gcLease = 'remote-gc';

/** Body of an answer, and the mode of the named node when it is what kept the answer from being given (`X-Binnacle-Role`). */
export interface OwnerAnswer {
  readonly body: Readonly<Record<string, string>>;
  readonly wrongMode?: string;
}

const done: OwnerAnswer = { body: { message: 'Done' } };
const notTheOwner: OwnerAnswer = { body: { message: "This node is not the remote gc owner, can't be resigned." } };
const agentTimeoutMs = 5_000;

/** `disagg_mode` of a node that cannot own the remote gc lease; undefined for one that can. A node of another role has none. */
export function modeWithoutOwnership(node: NodeRecord): string | undefined {
  return isInMode(node, 'write') ? undefined : (node.labels['disagg-mode'] ?? 'None');
}

/** The original's answer in the wrong role: HTTP 200, which clients rely on. */
export function wrongModeAnswer(stem: 'can not get gc owner' | 'can not resign gc owner' | 'can not sync remote store', mode: string): OwnerAnswer {
  return { body: { message: `${stem}, disagg_mode=${mode}` }, wrongMode: mode };
}

/** What `subjectId` (absent: whoever is the owner) would say of the lease. */
export function ownerInfo(lease: Lease | undefined, subjectId: string | undefined): OwnerAnswer {
  const owner = lease?.owner;
  if (owner === undefined) return { body: { status: 'NoLeader', owner_id: '' } };
  const isOwner = subjectId === undefined || subjectId === owner.nodeId;
  return { body: { status: isOwner ? 'IsOwner' : 'NotOwner', owner_id: owner.address } };
}

/** `/tiflash/remote/owner/*`: the lease `remote-gc`, in TiFlash's words. */
@Injectable()
export class RemoteGcOwner {
  constructor(
    private readonly node: NodeContext,
    private readonly agent: AgentClient,
  ) {}

  async info(subjectId: string | undefined): Promise<OwnerAnswer> {
    const mode = this.#wrongMode(subjectId);
    if (mode !== undefined) return wrongModeAnswer('can not get gc owner', mode);
    try {
      return ownerInfo(await this.node.state.lease(gcLease), subjectId);
    } catch (error) {
      if (!(error instanceof ClusterStateUnavailable)) throw error;
      // The original's word for an election service that does not answer.
      return { body: { status: 'GrpcError', owner_id: '' } };
    }
  }

  /** `Done` only once the owner has given the lease up. Throws `BinnacleError` when the owner or the cluster state cannot be reached. */
  async resign(subjectId: string | undefined): Promise<OwnerAnswer> {
    const mode = this.#wrongMode(subjectId);
    if (mode !== undefined) return wrongModeAnswer('can not resign gc owner', mode);
    const [lease, nodes] = await Promise.all([this.node.state.lease(gcLease), this.node.state.nodes()]);
    const owner = lease?.owner;
    if (owner === undefined || (subjectId !== undefined && subjectId !== owner.nodeId)) return notTheOwner;
    const answer = await this.agent.request(recordOf(owner, nodes), {
      method: 'POST',
      path: `/agent/v1/leases/${gcLease}/resign`,
      body: {},
      timeoutMs: agentTimeoutMs,
    });
    if (answer.status !== 200) throw new BinnacleError('UPSTREAM_UNREACHABLE', `node ${owner.nodeId} answered ${answer.status} to resign`);
    return (answer.body as { resigned: boolean }).resigned ? done : notTheOwner;
  }

  #wrongMode(subjectId: string | undefined): string | undefined {
    if (subjectId === undefined) return undefined;
    const record = this.node.directory.byId(subjectId);
    if (record === undefined) throw new BinnacleError('UNKNOWN_NODE', `no node ${subjectId}`);
    return modeWithoutOwnership(record);
  }
}

/** The process that holds the lease: a restarted one has the same id and not the lease. */
function recordOf(owner: Candidate, nodes: readonly NodeRecord[]): NodeRecord {
  const record = nodes.find((node) => node.id === owner.nodeId && node.incarnation === owner.incarnation);
  if (record !== undefined) return record;
  throw new BinnacleError('UPSTREAM_UNREACHABLE', `the owner ${owner.nodeId} has left; its lease ends by itself`);
}
