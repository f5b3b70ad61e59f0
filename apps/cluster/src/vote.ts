import type { Lease, NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { ClusterStateUnavailable } from '@binnacle/cluster-state/cluster-state';
import { AgentClient } from '@binnacle/node-kit/agent-client';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import { lagOf } from './lag.js';

export const leaderLease = 'leader';

export interface VoteFacts {
  readonly nodes: readonly NodeRecord[];
  readonly leaderId: string | undefined;
  readonly committedRevision: number;
  /** Revisions a node may lag behind and still become the leader: setting `healthy-write-lag`. */
  readonly lagMax: number;
  /** Absent: the best of those that may. */
  readonly targetId: string | undefined;
}

export type VoteDecision = { readonly elect: NodeRecord } | { readonly refuse: string };

/** Who shall become the leader, or why nobody does. */
export function decideVote(facts: VoteFacts): VoteDecision {
  const storage = facts.nodes.filter((node) => node.roles.includes('storage'));
  if (facts.targetId === undefined) return chooseTarget(storage, facts);
  const target = facts.nodes.find((node) => node.id === facts.targetId);
  if (target === undefined) return { refuse: `there is no node ${facts.targetId}; storage nodes: ${idsOf(storage)}` };
  if (!target.roles.includes('storage')) return { refuse: `node ${target.id} is no storage node; storage nodes: ${idsOf(storage)}` };
  const reason = whyNot(target, facts);
  if (reason !== undefined) return { refuse: `node ${target.id} ${reason}` };
  return { elect: target };
}

function chooseTarget(storage: readonly NodeRecord[], facts: VoteFacts): VoteDecision {
  const able = storage.filter((node) => whyNot(node, facts) === undefined);
  const [best] = able.toSorted((a, b) => lagOf(a, facts.committedRevision) - lagOf(b, facts.committedRevision) || (a.id < b.id ? -1 : 1));
  if (best !== undefined) return { elect: best };
  if (storage.length === 0) return { refuse: 'there is no storage node' };
  return { refuse: `no other storage node can become the leader: ${storage.map((node) => `${node.id} ${whyNot(node, facts)}`).join('; ')}` };
}

function whyNot(node: NodeRecord, facts: VoteFacts): string | undefined {
  const single = facts.nodes.filter((each) => each.roles.includes('storage')).length === 1;
  if (node.id === facts.leaderId) return single ? 'is the leader already, and the only storage node' : 'is the leader already';
  if (node.state !== 'running') return `is ${node.state}`;
  const lag = lagOf(node, facts.committedRevision);
  if (lag > facts.lagMax) return `is not caught up: ${lag} revisions behind, at most ${facts.lagMax} allowed`;
  return undefined;
}

function idsOf(nodes: readonly NodeRecord[]): string {
  return nodes.map((node) => node.id).join(', ') || 'none';
}

export interface VoteAnswer {
  readonly success: boolean;
  readonly error?: string;
}

/** What a look at the lease says about a vote that began in `termBefore`; undefined: nothing is decided yet. */
export function voteOutcome(lease: Lease | undefined, targetId: string, termBefore: number): VoteAnswer | undefined {
  if (lease?.owner === undefined) return undefined;
  if (lease.owner.nodeId === targetId) return { success: true };
  return lease.term === termBefore ? undefined : refused(`${lease.owner.nodeId} became the leader instead, in term ${lease.term}`);
}

function refused(error: string): VoteAnswer {
  return { success: false, error };
}

const agentTimeoutMs = 2_000;
/** How long the free lease is kept for the target; two campaigns of one that waits fit in. */
const reservedMs = 2_000;
/** Over the lease's ttl: a second for the target to take it, and half a one for us to see it. */
const slackMs = 1_500;
/** Hints of a change usually come first. */
const pollMs = 100;

/**
 * `POST /operations/vote`: hands the lease `leader` to a storage node. True only once the store says that the target owns it.
 *
 * One vote at a time in a process. Votes of several processes need no lock: resigning is bound to the tenure that was current, so the
 * later one finds the leader gone or resigned, and each answers by what the store says in the end.
 */
@Injectable()
export class Vote {
  #running = false;

  constructor(
    private readonly node: NodeContext,
    private readonly agent: AgentClient,
  ) {}

  async run(targetId: string | undefined): Promise<VoteAnswer> {
    if (this.#running) return refused('another vote is under way');
    this.#running = true;
    try {
      return await this.#vote(targetId);
    } catch (error) {
      if (!(error instanceof ClusterStateUnavailable)) throw error;
      return refused(`whether the vote took effect is not known: ${error.message}`);
    } finally {
      this.#running = false;
    }
  }

  async #vote(targetId: string | undefined): Promise<VoteAnswer> {
    const { state, settings } = this.node;
    // Read afresh: the directory may be a second old, and the leader just restarted.
    const [lease, { revision }, nodes] = await Promise.all([state.lease(leaderLease), state.readDocument('settings'), state.nodes()]);
    const decision = decideVote({
      nodes,
      leaderId: lease?.owner?.nodeId,
      committedRevision: revision,
      lagMax: settings.value().healthyWriteLag,
      targetId,
    });
    if ('refuse' in decision) return refused(decision.refuse);
    const target = decision.elect;
    const leader = nodes.find((node) => node.id === lease?.owner?.nodeId && node.incarnation === lease.owner.incarnation);
    const answer = (await this.#makeWay(target, leader)) ?? (await this.#outcome(target, lease));
    this.node.log.info({ target: target.id, before: lease?.owner?.nodeId, ...answer }, 'vote');
    return answer;
  }

  /** Has the leader resign in favour of the target; of one that is gone or does not answer, waits for the end of its lease. */
  async #makeWay(target: NodeRecord, leader: NodeRecord | undefined): Promise<VoteAnswer | undefined> {
    const resigned = leader && (await this.#askToResign(leader, target.id));
    if (resigned === false) return refused('the leader changed while the vote was running');
    if (resigned === undefined) await this.node.state.reserve(leaderLease, target.id, reservedMs);
    return undefined;
  }

  /** Undefined when the leader does not answer: it may be dead, or only out of our reach. */
  async #askToResign(leader: NodeRecord, successor: string): Promise<boolean | undefined> {
    const path = `/agent/v1/leases/${leaderLease}/resign`;
    try {
      const answer = await this.agent.request(leader, { method: 'POST', path, body: { successor, reservedMs }, timeoutMs: agentTimeoutMs });
      return answer.status === 200 ? (answer.body as { resigned: boolean }).resigned : undefined;
    } catch (error) {
      this.node.log.warn({ err: error, leader: leader.id }, 'the leader does not answer; the vote waits for the end of its lease');
      return undefined;
    }
  }

  async #outcome(target: NodeRecord, before: Lease | undefined): Promise<VoteAnswer> {
    const { state, clock, config } = this.node;
    const waitMs = Math.max(config.storage.leaderLeaseTtlMs, before?.remainingMs ?? 0) + slackMs;
    const deadlineMs = clock.monotonicMs() + waitMs;
    let wake = (): void => {};
    const unsubscribe = state.watch(`lease:${leaderLease}`, () => wake());
    try {
      for (;;) {
        const lease = await state.lease(leaderLease);
        const outcome = voteOutcome(lease, target.id, before?.term ?? 0);
        if (outcome !== undefined) return outcome;
        if (clock.monotonicMs() >= deadlineMs) return refused(lateReason(lease, target.id, waitMs));
        await new Promise<void>((resolve) => {
          const cancel = clock.after(pollMs, resolve);
          wake = () => {
            cancel();
            resolve();
          };
        });
      }
    } finally {
      unsubscribe();
    }
  }
}

function lateReason(lease: Lease | undefined, targetId: string, waitMs: number): string {
  const why = lease?.owner === undefined ? `${targetId} has not taken the lease` : `${lease.owner.nodeId} does not answer and still renews its lease`;
  return `${why} after ${waitMs} ms`;
}
