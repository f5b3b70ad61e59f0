import type { Clock } from '@binnacle/cluster-state/clock';
import type { ClusterState } from '@binnacle/cluster-state/cluster-state';
import { Follower } from '@binnacle/cluster-state/follower';

/** Who owns the leases that routes follow: kept current by watch and poll, read without waiting. */
export class LeaseOwners {
  readonly #ownerIds = new Map<string, string | undefined>();
  readonly #followers: readonly Follower[];

  constructor(state: Pick<ClusterState, 'lease' | 'watch' | 'onAvailabilityChange'>, clock: Clock, leases: Iterable<string>) {
    this.#followers = [...leases].map(
      (name) => new Follower(state, clock, `lease:${name}`, async () => void this.#ownerIds.set(name, (await state.lease(name))?.owner?.nodeId)),
    );
  }

  /** Resolves once every lease was read, or could not be. */
  async start(): Promise<void> {
    await Promise.all(this.#followers.map((follower) => follower.start()));
  }

  /** Node id; undefined while nobody owns it. While cluster state is away, the last view stays. */
  ownerId(lease: string): string | undefined {
    return this.#ownerIds.get(lease);
  }

  stop(): void {
    for (const follower of this.#followers) follower.stop();
  }
}
