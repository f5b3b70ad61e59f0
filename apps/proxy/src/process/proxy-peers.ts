import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { BinnacleError } from '@binnacle/contracts/errors';
import { AgentClient } from '@binnacle/node-kit/agent-client';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';

/** Another proxy node asked for its sessions has them at hand; one that hangs must not hang whoever asks. */
const askTimeoutMs = 5_000;

/** The other proxy nodes, asked on paths under `/agent/v1/proxy/`. */
@Injectable()
export class ProxyPeers {
  constructor(
    private readonly node: NodeContext,
    private readonly agent: AgentClient,
  ) {}

  get ownId(): string {
    return this.node.id;
  }

  others(): readonly NodeRecord[] {
    return this.node.directory.byRole('proxy').filter(({ id }) => id !== this.node.id);
  }

  /** Another proxy node. Throws UNKNOWN_NODE. */
  named(id: string): NodeRecord {
    const peer = this.others().find((other) => other.id === id);
    if (peer === undefined) throw new BinnacleError('UNKNOWN_NODE', `there is no other proxy node "${id.slice(0, 64)}"`);
    return peer;
  }

  /** Undefined when it answers 404. Throws `BinnacleError`, with the other node's message where it refuses. */
  async ask<Body>(peer: NodeRecord, method: 'GET' | 'POST' | 'DELETE', path: string, options: { body?: unknown; timeoutMs?: number } = {}): Promise<Body | undefined> {
    const { timeoutMs = askTimeoutMs, body } = options;
    const answer = await this.agent.request(peer, { method, path: `/agent/v1/proxy/${path}`, timeoutMs, ...(body !== undefined && { body }) });
    if (answer.status === 404) return undefined;
    if (answer.status === 200) return answer.body as Body;
    throw new BinnacleError('UPSTREAM_UNREACHABLE', `proxy node ${peer.id} answered with status ${answer.status}`);
  }

  /** The answers of all others that have one, and the ids of those that could not be asked. Never rejects. */
  async askOthers<Body>(method: 'GET' | 'POST' | 'DELETE', path: string): Promise<{ answers: { node: string; body: Body }[]; away: string[] }> {
    const away: string[] = [];
    const answers = await Promise.all(
      this.others().map(async (peer) => {
        try {
          const body = await this.ask<Body>(peer, method, path);
          return body === undefined ? [] : [{ node: peer.id, body }];
        } catch {
          away.push(peer.id);
          return [];
        }
      }),
    );
    return { answers: answers.flat(), away: away.sort() };
  }
}
