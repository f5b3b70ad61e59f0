import type { Clock } from '@binnacle/cluster-state/clock';
import type { ClusterState } from '@binnacle/cluster-state/cluster-state';

/** Watches are hints; this often the lease is read whatever they say. */
export const pollMs = 1_000;

/** Who owns the leases that routes follow: kept current by watch and poll, read without waiting. */
export class LeaseOwners {
  readonly #ownerIds = new Map<string, string>();
  readonly #cancels = new Map<string, () => void>();
  readonly #reading = new Set<string>();
  #unsubscribes: (() => void)[] = [];
  #stopped = false;

  constructor(
    private readonly state: Pick<ClusterState, 'lease' | 'watch'>,
    private readonly clock: Clock,
    private readonly leases: Iterable<string>,
  ) {}

  /** Resolves once every lease was read, or could not be. */
  async start(): Promise<void> {
    const leases = [...this.leases];
    this.#unsubscribes = leases.map((lease) => this.state.watch(`lease:${lease}`, () => void this.#read(lease)));
    await Promise.all(leases.map((lease) => this.#read(lease)));
  }

  /** Node id; undefined while nobody owns it. While cluster state is away, the last view stays. */
  ownerId(lease: string): string | undefined {
    return this.#ownerIds.get(lease);
  }

  stop(): void {
    this.#stopped = true;
    for (const unsubscribe of this.#unsubscribes) unsubscribe();
    for (const cancel of this.#cancels.values()) cancel();
  }

  async #read(name: string): Promise<void> {
    // A change during a read is seen by the next poll.
    if (this.#stopped || this.#reading.has(name)) return;
    this.#reading.add(name);
    try {
      const owner = (await this.state.lease(name))?.owner;
      if (owner === undefined) this.#ownerIds.delete(name);
      else this.#ownerIds.set(name, owner.nodeId);
    } catch {
      // Cluster state is away; it says so itself, in logs and in health.
    } finally {
      this.#reading.delete(name);
      this.#cancels.get(name)?.();
      if (!this.#stopped) this.#cancels.set(name, this.clock.after(pollMs, () => void this.#read(name)));
    }
  }
}
