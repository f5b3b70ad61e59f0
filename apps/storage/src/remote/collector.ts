import { BinnacleError } from '@binnacle/contracts/errors';
import { ClusterStateUnavailable } from '@binnacle/cluster-state/cluster-state';
import { NodeContext, type NodePart } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import { Catalog } from '../tables/catalog.js';
import { remoteStoreHolder } from '../tables/catalog-document.js';
import { Collection, type CollectionResult, OwnershipLost, stateOf } from './collection.js';
import { CollectorMetrics } from './collector-metrics.js';
import { findGarbage, type KnownTables } from './garbage.js';
import { LeakList, type Leaks } from './leaks.js';
import { ManifestStore } from './manifest-store.js';
import { RemoteStore } from './remote-store.js';

const everyMs = 3_600_000;
/** After the start, after a failure, and after the lease came here: ownership that moves every few minutes must not keep garbage for ever. */
const soonMs = 60_000;
const lookEveryMs = 5_000;
const leaksDeadlineMs = 55_000;

/**
 * The garbage collector of the remote store: on the node that owns the lease `remote-gc`, every hour, and when somebody wakes it. What it may delete is
 * decided by the catalog as cluster state has it at that moment: of tables it does not know nothing is deleted.
 */
@Injectable()
export class Collector implements NodePart {
  readonly name = 'collector of the remote store';
  readonly #manifests: ManifestStore;
  readonly #metrics: CollectorMetrics;
  readonly #stopping = new AbortController();
  #cancelTimer = (): void => {};
  /** On the monotonic clock. */
  #nextMs: number;
  #isWoken = false;
  #running: Promise<void> | undefined;
  #looking: Promise<Leaks> | undefined;

  constructor(
    private readonly node: NodeContext,
    private readonly remote: RemoteStore,
    private readonly catalog: Catalog,
  ) {
    this.#manifests = new ManifestStore(() => remote.store());
    this.#metrics = new CollectorMetrics(node.metrics);
    this.#nextMs = node.clock.monotonicMs() + soonMs;
    node.addPart(this);
  }

  async join(): Promise<void> {
    if (this.remote.isOn()) this.#schedule();
  }

  /** What runs is given up: the next owner goes on where it ended. */
  async drain(): Promise<void> {
    this.#stopping.abort(new Error('the node stops'));
    this.#cancelTimer();
    await Promise.allSettled([this.#running, this.#looking]);
  }

  async stop(): Promise<void> {
    await this.drain();
  }

  /** Whether this node may collect now. */
  isOwner(): boolean {
    return this.node.candidacies.get('remote-gc')?.isOwner() === true;
  }

  /** A run at once, or another one behind the one that runs. Resolves before it has begun. */
  wake(): void {
    this.#isWoken = true;
    this.#look();
  }

  /** Resolves when no run is under way. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  /** What nobody references, as it is now. Shared by those who ask at the same time. Rejects with `ObjectStoreUnavailable` and `ClusterStateUnavailable`. */
  async leaks(): Promise<Leaks> {
    this.#looking ??= this.#findLeaks().finally(() => (this.#looking = undefined));
    return this.#looking;
  }

  #schedule(): void {
    this.#cancelTimer();
    if (!this.#stopping.signal.aborted) this.#cancelTimer = this.node.clock.after(lookEveryMs, () => (this.#look(), this.#schedule()));
  }

  #look(): void {
    const isDue = this.#isWoken || this.node.clock.monotonicMs() >= this.#nextMs;
    if (!isDue || this.#running !== undefined || this.#stopping.signal.aborted || !this.remote.isOn() || !this.isOwner()) return;
    this.#isWoken = false;
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
      if (this.#isWoken) this.#look();
    });
  }

  async #run(): Promise<void> {
    const { clock, log } = this.node;
    try {
      const result = await this.#collect();
      this.#nextMs = clock.monotonicMs() + everyMs;
      this.#metrics.ended(result, clock.nowMs());
      log.info(result, 'remote store collected');
    } catch (error) {
      this.#nextMs = clock.monotonicMs() + soonMs;
      this.#metrics.ended(undefined, clock.nowMs());
      if (this.#stopping.signal.aborted) return;
      if (error instanceof OwnershipLost) log.info(error.message);
      else log.warn({ err: error }, 'the remote store could not be collected; it is tried again');
    }
  }

  async #collect(): Promise<CollectionResult> {
    const candidacy = this.node.candidacies.get('remote-gc');
    const term = candidacy?.term();
    if (candidacy === undefined || term === undefined) throw new OwnershipLost();
    const tables = await this.#tables();
    const collection = new Collection({
      store: this.remote.store(),
      manifests: this.#manifests,
      tables,
      isOwner: () => candidacy.term() === term,
      owner: { node: this.node.id, term },
      signal: this.#stopping.signal,
    });
    const result = await collection.run();
    // Only once every node has taken its own rows away, and so knows of it, nothing new comes.
    const known = new Map(this.catalog.dropped().map(({ id, nodes }) => [id, nodes]));
    const over = result.emptied.filter((id) => known.get(id)?.every((holder) => holder === remoteStoreHolder));
    if (over.length > 0) await this.catalog.forgetDropped(new Set(over), remoteStoreHolder);
    return result;
  }

  async #tables(): Promise<KnownTables> {
    const { tables, dropped } = await this.catalog.stored();
    return { live: new Set(tables.map(({ id }) => id)), dropped: new Set(dropped.map(({ id }) => id)) };
  }

  async #findLeaks(): Promise<Leaks> {
    const deadline = new AbortController();
    const cancel = this.node.clock.after(leaksDeadlineMs, () => deadline.abort(new BinnacleError('UPSTREAM_TIMEOUT', `the remote store was not gone through within ${leaksDeadlineMs} ms`)));
    const store = this.remote.store();
    try {
      const signal = AbortSignal.any([deadline.signal, this.#stopping.signal]);
      const nowMs = await store.nowMs();
      const leaks = new LeakList(nowMs);
      for await (const found of findGarbage({ store, manifests: this.#manifests, tables: await this.#tables() }, { signal })) {
        for (const each of found.garbage) leaks.add(each, stateOf(found, each, nowMs));
      }
      return leaks.view();
    } catch (error) {
      if (error instanceof ClusterStateUnavailable) throw new BinnacleError('CLUSTER_STATE_UNAVAILABLE', 'without cluster state nobody knows which tables there are', { cause: error });
      throw deadline.signal.aborted ? deadline.signal.reason : error;
    } finally {
      cancel();
    }
  }
}
