import { Candidacy } from '@binnacle/cluster-state/candidacy';
import { disaggMode } from '@binnacle/contracts/disagg-mode';
import { NodeContext, type NodePart } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';

/**
 * A storage node stands for the lease `leader` (it decides metadata) and, when it writes, for `remote-gc` (it collects the garbage
 * of the remote store). A compute node never owns `remote-gc`: it has nothing in the remote store to collect.
 */
@Injectable()
export class StorageCampaigns implements NodePart {
  readonly name = 'storage campaigns';
  readonly #campaigns: Candidacy[] = [];

  constructor(private readonly node: NodeContext) {
    node.labels['disagg-mode'] = disaggMode(node.config.storage.modes);
    node.addPart(this);
  }

  async join(): Promise<void> {
    const { modes, leaderLeaseTtlMs, gcLeaseTtlMs } = this.node.config.storage;
    this.#campaign('leader', leaderLeaseTtlMs);
    if (modes.includes('write')) this.#campaign('remote-gc', gcLeaseTtlMs);
  }

  /** Both leases are handed over while the others can still be told, not left to expire. */
  async drain(): Promise<void> {
    await this.#stopAll();
  }

  /** Again, for a node whose start failed before it could drain; a candidacy that has stopped does nothing. */
  async stop(): Promise<void> {
    await this.#stopAll();
  }

  #campaign(lease: string, ttlMs: number): void {
    const candidacy = new Candidacy(this.node.state, this.node.clock, { lease, candidate: this.node.candidate(), ttlMs });
    candidacy.onChange((term) => this.node.log.info({ lease, term }, term === undefined ? 'lease given up or lost' : 'lease acquired'));
    this.node.candidacies.set(lease, candidacy);
    this.#campaigns.push(candidacy);
    candidacy.start();
  }

  async #stopAll(): Promise<void> {
    const results = await Promise.allSettled(this.#campaigns.map((candidacy) => candidacy.stop()));
    for (const result of results) {
      // The lease then ends by itself, after its ttl.
      if (result.status === 'rejected') this.node.log.warn({ err: result.reason }, 'a lease could not be handed over');
    }
  }
}
