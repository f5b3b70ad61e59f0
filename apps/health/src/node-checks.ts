import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import type { AgentClient } from '@binnacle/node-kit/agent-client';
import { CachedCheck } from '@binnacle/node-kit/check';
import type { NodeContext } from '@binnacle/node-kit/node-context';

/**
 * One check for every node in the registry: its own `/healthcheck`, which covers that it answers, its event loop, memory and disk, and what its
 * parts depend on.
 * Checks come and go with their nodes. A node that is stopping goes on purpose and is no failure.
 */
export class NodeChecks {
  /** By node id and incarnation: what a node said before its restart says nothing of it now. */
  #checks = new Map<string, CachedCheck>();

  constructor(
    private readonly node: NodeContext,
    private readonly agent: AgentClient,
  ) {}

  current(): CachedCheck[] {
    const records = this.node.directory.all().filter((record) => record.state !== 'stopping');
    const known = this.#checks;
    this.#checks = new Map(
      records.map((record) => {
        const key = `${record.id} ${record.incarnation}`;
        return [key, known.get(key) ?? this.#checkOf(record)];
      }),
    );
    return [...this.#checks.values()];
  }

  #checkOf(record: NodeRecord): CachedCheck {
    const { clock, config } = this.node;
    const { checkDeadlineMs: deadlineMs, checkCacheMs: cacheMs } = config.health;
    const ask = async (signal: AbortSignal): Promise<string> => {
      // The check itself keeps the deadline; the client's is there so that nothing outlives it.
      const answer = await this.agent.request(record, { method: 'GET', path: '/healthcheck?dependencies=true', timeoutMs: deadlineMs + 1_000, signal });
      if (answer.status === 200) return 'healthy in itself';
      throw new Error(failureText(answer));
    };
    return new CachedCheck(`node ${record.id}`, ask, { clock, deadlineMs, cacheMs });
  }
}

/** What the node says is wrong with it, or that it says nothing of use. */
export function failureText({ status, body }: { status: number; body: unknown }): string {
  const failed = typeof body === 'object' && body !== null && 'failed' in body ? body.failed : undefined;
  if (Array.isArray(failed) && failed.length > 0) return failed.map(String).join('; ').slice(0, 500);
  return `answered ${status} to /healthcheck`;
}
