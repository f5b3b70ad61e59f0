import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { BinnacleError, errorCodes, type ErrorCode } from '@binnacle/contracts/errors';
import { AgentClient } from '@binnacle/node-kit/agent-client';
import { HeldLease } from '@binnacle/node-kit/held-lease';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';

/** Held while the snapshots of all nodes are made: one of them at a time in the cluster. */
export const snapshotLease = 'snapshot';

export interface NodeSnapshot {
  readonly success: boolean;
  /** Where it is, on that node. */
  readonly snapshot_path?: string;
  /** Newest version of a row in it. */
  readonly version?: number;
  readonly bytes?: number;
  readonly error?: string;
  readonly code?: ErrorCode;
}

export interface ClusterSnapshotAnswer {
  readonly success: boolean;
  readonly error?: string;
  /** By node id. */
  readonly nodes: Readonly<Record<string, NodeSnapshot>>;
}

/** Less than the route's deadline, so that the node's silence is told as that. */
const nodeTimeoutMs = 29 * 60_000;
const leaseTtlMs = 15_000;
const path = '/agent/v1/snapshot';

/** `POST /operations/snapshot`: of one storage node, or of all of them. The nodes write on their own disks and check the path themselves. */
@Injectable()
export class ClusterSnapshot {
  #runsHere = false;

  constructor(
    private readonly node: NodeContext,
    private readonly agent: AgentClient,
  ) {}

  /**
   * Of the named node; without a name, of the only storage node or of the one that leads. Rejects with what the node says,
   * UPSTREAM_UNREACHABLE or UPSTREAM_TIMEOUT when it does not, NO_TARGET when there is none.
   */
  async ofOne(nodeId: string | undefined, snapshotPath: unknown): Promise<void> {
    const record = nodeId === undefined ? await this.#usualNode() : this.#storageNodes().find(({ id }) => id === nodeId);
    if (record === undefined && nodeId !== undefined) throw new BinnacleError('UNKNOWN_NODE', `There is no storage node ${nodeId}.`);
    if (record === undefined) throw new BinnacleError('NO_TARGET', 'No storage node leads now: name one, or * for all of them.', { retryAfterS: 1 });
    await this.#ask(record, snapshotPath);
  }

  /**
   * Of every storage node at the same time, in a folder named after the node under the path. Rejects with CONFLICT while another one is
   * made, with BAD_REQUEST when each node refuses the path; what a single node could not do is in the answer, and the snapshots of the
   * others stay.
   */
  async ofAll(snapshotPath: unknown): Promise<ClusterSnapshotAnswer> {
    if (typeof snapshotPath !== 'string' || snapshotPath === '') throw new BinnacleError('BAD_REQUEST', 'Parameter `snapshot_path` is required.');
    return this.#underLease(async (signal) => {
      const records = (await this.node.state.nodes()).filter(({ roles }) => roles.includes('storage'));
      if (records.length === 0) throw new BinnacleError('NO_TARGET', 'There is no storage node now.');
      const answers = await Promise.all(records.map(async (record) => [record.id, await this.#outcome(record, `${snapshotPath}/${record.id}`, signal)] as const));
      const refusal = answers.every(([, { code }]) => code === 'BAD_REQUEST') ? answers[0]?.[1].error : undefined;
      if (refusal !== undefined) throw new BinnacleError('BAD_REQUEST', refusal);
      const failed = answers.filter(([, { success }]) => !success).map(([id]) => id);
      this.node.log.info({ path: snapshotPath, nodes: records.map(({ id }) => id), failed }, 'snapshot of all storage nodes');
      const nodes = Object.fromEntries(answers);
      return failed.length === 0 ? { success: true, nodes } : { success: false, error: `Copy failed on ${failed.join(', ')}.`, nodes };
    });
  }

  #storageNodes(): readonly NodeRecord[] {
    return this.node.directory.byRole('storage');
  }

  async #usualNode(): Promise<NodeRecord | undefined> {
    const records = this.#storageNodes();
    if (records.length <= 1) return records[0];
    const owner = (await this.node.state.lease('leader'))?.owner;
    return records.find(({ id }) => id === owner?.nodeId);
  }

  /** When the lease is lost, nobody waits for the nodes any more, because another snapshot may begin. */
  async #underLease<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const busy = (): BinnacleError => new BinnacleError('CONFLICT', 'Another snapshot is in progress.', { retryAfterS: 5 });
    if (this.#runsHere) throw busy();
    this.#runsHere = true;
    const lost = new AbortController();
    try {
      const lease = await HeldLease.take(this.node, snapshotLease, leaseTtlMs, () => lost.abort(new BinnacleError('CLUSTER_STATE_UNAVAILABLE', 'the lease was lost')));
      if (!(lease instanceof HeldLease)) throw busy();
      return await work(lost.signal).finally(() => lease.release());
    } finally {
      this.#runsHere = false;
    }
  }

  async #outcome(record: NodeRecord, snapshotPath: string, signal: AbortSignal): Promise<NodeSnapshot> {
    try {
      const made = await this.#ask(record, snapshotPath, signal);
      return { success: true, snapshot_path: made.path, version: made.version, bytes: made.bytes };
    } catch (error) {
      this.node.log.warn({ err: error, target: record.id }, 'a node made no snapshot');
      if (signal.aborted) return { success: false, error: 'the lease "snapshot" was lost: the snapshot may still be made' };
      return error instanceof BinnacleError ? { success: false, error: error.message, code: error.code } : { success: false, error: 'internal error' };
    }
  }

  /** Rejects with the error of the node, as it is. */
  async #ask(record: NodeRecord, snapshotPath: unknown, signal?: AbortSignal): Promise<{ path: string; version: number; bytes: number }> {
    const body = { path: snapshotPath };
    const answer = await this.agent.request(record, { method: 'POST', path, body, timeoutMs: nodeTimeoutMs, ...(signal && { signal }) });
    if (answer.status === 201) return answer.body as { path: string; version: number; bytes: number };
    const { code, message } = (answer.body as { error?: { code?: string; message?: string } } | undefined)?.error ?? {};
    if (!errorCodes.includes(code as ErrorCode)) throw new BinnacleError('UPSTREAM_UNREACHABLE', `node ${record.id} answered ${answer.status} to a snapshot`);
    throw new BinnacleError(code as ErrorCode, message ?? '');
  }
}
