import { Candidacy } from '@binnacle/cluster-state/candidacy';
import type { Candidate } from '@binnacle/cluster-state/cluster-state';
import type { NodeContext } from '@binnacle/node-kit/node-context';

/** Held while a capture or a replay runs: one of them at a time in the cluster. */
export const trafficLease = 'proxy-traffic';

/** After the death of a node that runs a job, another one can begin this much later. */
const ttlMs = 10_000;

/** The right to run a traffic job. */
export class JobLease {
  readonly #candidacy: Candidacy;
  #isReleased = false;

  private constructor(
    private readonly node: NodeContext,
    private readonly candidate: Candidate,
  ) {
    this.#candidacy = new Candidacy(node.state, node.clock, { lease: trafficLease, candidate, ttlMs });
  }

  /** The lease, or whose it is. `lost` is called once, when it is lost before it was let go of. Throws what cluster state throws. */
  static async take(node: NodeContext, lost: () => void): Promise<JobLease | { readonly owner: string }> {
    const candidate = node.candidate();
    const answer = await node.state.campaign({ lease: trafficLease, candidate, ttlMs, termFloor: 0 });
    if (!answer.held) {
      await node.state.withdraw(trafficLease, candidate).catch(() => undefined);
      return { owner: answer.lease?.owner?.nodeId ?? 'another proxy node' };
    }
    const lease = new JobLease(node, candidate);
    lease.#candidacy.onChange((term) => {
      if (term === undefined && !lease.#isReleased) lost();
    });
    lease.#candidacy.start();
    return lease;
  }

  /** Never rejects: with the cluster state away the lease runs out by itself. */
  async release(): Promise<void> {
    this.#isReleased = true;
    await this.#candidacy.stop();
    await this.node.state.withdraw(trafficLease, this.candidate).catch(() => undefined);
  }
}
