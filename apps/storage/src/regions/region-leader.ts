import { NodeContext, type NodePart } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import { RemoteStore } from '../remote/remote-store.js';
import { Catalog } from '../tables/catalog.js';
import { Absences, withMoves } from './assignment.js';
import { takesRows } from './placement.js';
import { writeNodesOf } from './region.js';

/** Formula: a tenth of the lease, so that a region waits little longer than it, and no more often than the registry changes. */
const lookEveryMsMax = 1_000;
const lookEveryMsMin = 50;
/** Looks this many intervals apart are not connected. */
const gapIntervalsMax = 4;

/**
 * What the owner of the lease `leader` does about regions: those of a write node that is gone for `storage.region-lease-ms` go to live ones. Whether it
 * still leads need not be certain: the move is a compare-and-set of the catalog, decided on the catalog as it is stored then, and a second leader
 * finds nothing left to move. Without the remote tier a region stays where its rows are.
 */
@Injectable()
export class RegionLeader implements NodePart {
  readonly name = 'region leader';
  readonly #everyMs: number;
  readonly #absences: Absences;
  #cancel: () => void = () => {};
  #looking: Promise<void> | undefined;
  #isStopped = false;

  constructor(
    private readonly node: NodeContext,
    private readonly catalog: Catalog,
    private readonly remote: RemoteStore,
  ) {
    this.#everyMs = Math.max(lookEveryMsMin, Math.min(lookEveryMsMax, node.config.storage.regionLeaseMs / 10));
    this.#absences = new Absences(gapIntervalsMax * this.#everyMs);
    node.addPart(this);
  }

  async join(): Promise<void> {
    if (this.remote.isOn()) this.#schedule();
  }

  async drain(): Promise<void> {
    this.#isStopped = true;
    this.#cancel();
    await this.#looking;
  }

  async stop(): Promise<void> {
    await this.drain();
  }

  #schedule(): void {
    this.#cancel = this.node.clock.after(this.#everyMs, () => {
      this.#looking = this.#look()
        .catch((error: unknown) => {
          // What was seen before cluster state went away is stale once it is back.
          this.#absences.forget();
          this.node.log.debug({ err: error }, 'the leader could not look after the regions; it is tried again');
        })
        .finally(() => !this.#isStopped && this.#schedule());
    });
  }

  async #look(): Promise<void> {
    const { clock, state, config, candidacies, log } = this.node;
    if (candidacies.get('leader')?.isOwner() !== true) return this.#absences.forget();
    const askedAtMs = clock.monotonicMs();
    // Of the store itself: the view of this process stays as it was while the store is away.
    const nodes = await state.nodes();
    const wanted = new Set(this.catalog.all().flatMap(writeNodesOf));
    // The answer is as old as the question, also when this process slept in between.
    this.#absences.look(askedAtMs, new Set(nodes.map(({ id }) => id)), wanted);
    const gone = this.#absences.gone(askedAtMs, config.storage.regionLeaseMs);
    if (gone.size === 0) return;
    const live = nodes.filter(takesRows).map(({ id }) => id).toSorted();
    if (live.length === 0) return;
    let isMoved = false;
    await this.catalog.assign((tables) => {
      // This process may have slept since it asked.
      const isStale = clock.monotonicMs() - askedAtMs > gapIntervalsMax * this.#everyMs;
      const moved = isStale ? tables : withMoves(tables, live, gone);
      isMoved = moved !== tables;
      return moved;
    });
    if (isMoved) log.warn({ gone: [...gone], live }, 'regions of nodes that are gone were given to others');
  }
}
