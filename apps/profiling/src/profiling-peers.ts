import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { AgentClient, type AgentRequest } from '@binnacle/node-kit/agent-client';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';

export interface PeerAnswers<Body> {
  readonly bodies: readonly Body[];
  /** Ids of the profiling nodes that did not answer with 200. */
  readonly away: readonly string[];
}

const peerTimeoutMs = 5_000;

/** The other profiling nodes: each keeps what it captured, and a client may ask any of them. */
@Injectable()
export class ProfilingPeers {
  constructor(
    private readonly node: NodeContext,
    private readonly agent: AgentClient,
  ) {}

  all(): readonly NodeRecord[] {
    return this.node.directory.byRole('profiling').filter(({ id }) => id !== this.node.id);
  }

  /** Asks all of them the same. Never rejects. */
  async ask<Body>(request: Pick<AgentRequest, 'method' | 'path'>): Promise<PeerAnswers<Body>> {
    const bodies: Body[] = [];
    const away: string[] = [];
    await Promise.all(
      this.all().map(async (peer) => {
        try {
          const { status, body } = await this.agent.request(peer, { ...request, timeoutMs: peerTimeoutMs });
          if (status === 200) bodies.push(body as Body);
          else away.push(peer.id);
        } catch {
          away.push(peer.id);
        }
      }),
    );
    return { bodies, away: away.sort() };
  }
}
