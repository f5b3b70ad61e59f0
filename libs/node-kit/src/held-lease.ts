import { Candidacy } from '@binnacle/cluster-state/candidacy';
import type { Candidate } from '@binnacle/cluster-state/cluster-state';
import type { NodeContext } from './node-context.js';

/** A right that one node of the cluster has while it does something, and nobody waits for. */
export class HeldLease {
  readonly #candidacy: Candidacy;
  /** Lost or let go of; the candidacy may have it again after a loss, until the release. */
  #isOver = false;

  private constructor(
    private readonly node: NodeContext,
    private readonly name: string,
    private readonly candidate: Candidate,
    ttlMs: number,
    private readonly lost: () => void,
  ) {
    this.#candidacy = new Candidacy(node.state, node.clock, { lease: name, candidate, ttlMs });
  }

  /**
   * The lease, or whose it is. `lost` is called once, when it is lost before it was let go of: already before this resolves, if the answer came
   * too late to be good for anything. Throws what cluster state throws.
   *
   * @param ttlMs after the death of a node that has it, another one can have it this much later
   */
  static async take(node: NodeContext, name: string, ttlMs: number, lost: () => void): Promise<HeldLease | { readonly owner: string | undefined }> {
    const candidate = node.candidate();
    const sentAtMs = node.clock.monotonicMs();
    const answer = await node.state.campaign({ lease: name, candidate, ttlMs, termFloor: 0 });
    if (!answer.held) {
      await node.state.withdraw(name, candidate).catch(() => undefined);
      return { owner: answer.lease?.owner?.nodeId };
    }
    const lease = new HeldLease(node, name, candidate, ttlMs, lost);
    lease.#candidacy.onChange((term) => term === undefined && lease.#lose());
    lease.#candidacy.start({ answer, sentAtMs });
    if (!lease.#candidacy.isOwner()) lease.#lose();
    return lease;
  }

  /** Never rejects: with the cluster state away the lease runs out by itself. */
  async release(): Promise<void> {
    this.#isOver = true;
    await this.#candidacy.stop();
    await this.node.state.withdraw(this.name, this.candidate).catch(() => undefined);
  }

  #lose(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.lost();
  }
}
