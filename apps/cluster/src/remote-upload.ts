import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { BinnacleError, type ErrorCode, errorCodes } from '@binnacle/contracts/errors';
import { AgentClient } from '@binnacle/node-kit/agent-client';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import { modeWithoutOwnership, type OwnerAnswer, wrongModeAnswer } from './owner.js';

const agentTimeoutMs = 5_000;

/** `/tiflash/remote/upload`: sets the flag on one write node, or on all of them. */
@Injectable()
export class RemoteUpload {
  constructor(
    private readonly node: NodeContext,
    private readonly agent: AgentClient,
  ) {}

  /** Without a subject, of every write node. Rejects with `BinnacleError` unless each of them has set its flag. */
  async request(subjectId: string | undefined): Promise<OwnerAnswer> {
    const records = subjectId === undefined ? this.#writeNodes() : [this.#record(subjectId)];
    const mode = subjectId === undefined ? undefined : modeWithoutOwnership(records[0] as NodeRecord);
    if (mode !== undefined) return wrongModeAnswer('can not sync remote store', mode);
    if (records.length === 0) throw new BinnacleError('NO_TARGET', 'There is no write node now.', { retryAfterS: 1 });
    const results = await Promise.allSettled(records.map((record) => this.#ask(record)));
    const failure = results.find((result) => result.status === 'rejected');
    if (failure !== undefined) throw failure.reason;
    return { body: { message: 'flag_set=true' } };
  }

  async #ask(record: NodeRecord): Promise<void> {
    const { status, body } = await this.agent.request(record, { method: 'POST', path: '/agent/v1/remote/upload', body: {}, timeoutMs: agentTimeoutMs });
    if (status === 200) return;
    const { code, message } = (body as { error?: { code?: string; message?: string } } | undefined)?.error ?? {};
    if (!errorCodes.includes(code as ErrorCode)) throw new BinnacleError('UPSTREAM_UNREACHABLE', `node ${record.id} answered ${status} to an upload`);
    throw new BinnacleError(code as ErrorCode, message ?? '');
  }

  #writeNodes(): NodeRecord[] {
    return this.node.directory.byRole('storage').filter((record) => modeWithoutOwnership(record) === undefined);
  }

  #record(id: string): NodeRecord {
    const record = this.node.directory.byId(id);
    if (record === undefined) throw new BinnacleError('UNKNOWN_NODE', `no node ${id}`);
    return record;
  }
}
