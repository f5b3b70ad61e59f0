import type { Lease, NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { ClusterStateUnavailable } from '@binnacle/cluster-state/cluster-state';
import { EventLog } from '@binnacle/node-kit/event-log';
import { NodeContext, type NodePart } from '@binnacle/node-kit/node-context';
import type { Settings } from '@binnacle/node-kit/settings';
import { Injectable } from '@nestjs/common';
import { type ClusterChange, leaseChanges, nodeChanges, settingsChange } from './change.js';

/** Hints come at once; the poll catches those that were lost. One operation a second, however many clients watch. */
const leasePollMs = 1_000;

/** Compares the cluster with what it was at the last look, and writes the differences into the event log. */
@Injectable()
export class ClusterWatch implements NodePart {
  readonly name = 'cluster watch';
  readonly #watchedLeases = new Set<string>();
  readonly #unsubscribe: (() => void)[] = [];
  #nodes: readonly NodeRecord[] = [];
  #leases: readonly Lease[] | undefined;
  #settings: Settings | undefined;
  #cancelPoll = (): void => {};
  #looking: Promise<void> | undefined;
  #lookAgain = false;
  #stopped = false;

  constructor(
    private readonly node: NodeContext,
    private readonly log: EventLog<ClusterChange>,
  ) {
    node.addPart(this);
  }

  async start(): Promise<void> {
    const { directory, settings, state } = this.node;
    this.#nodes = directory.all();
    this.#settings = settings.value();
    this.#unsubscribe.push(
      directory.onChange(() => this.#lookAtNodes()),
      settings.onChange((value) => this.#lookAtSettings(value)),
      state.onAvailabilityChange(({ available, reason }) => {
        this.log.append(available ? { type: 'cluster-state-back' } : { type: 'cluster-state-lost', reason });
      }),
    );
    // Not waited for: with the cluster state away the node starts all the same.
    void this.#lookAtLeases();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelPoll();
    for (const unsubscribe of this.#unsubscribe.splice(0)) unsubscribe();
    await this.#looking;
  }

  #lookAtNodes(): void {
    const nodes = this.node.directory.all();
    for (const change of nodeChanges(this.#nodes, nodes)) this.log.append(change);
    this.#nodes = nodes;
  }

  #lookAtSettings(value: Settings): void {
    if (this.#settings) this.log.append(settingsChange(this.#settings, value, this.node.settings.version()));
    this.#settings = value;
  }

  /** One look at a time; a hint during a look means one more. */
  #lookAtLeases(): Promise<void> {
    this.#lookAgain = this.#looking !== undefined;
    this.#looking ??= this.#readLeases().finally(() => {
      this.#looking = undefined;
      if (this.#stopped) return;
      if (this.#lookAgain) void this.#lookAtLeases();
      else this.#pollLater();
    });
    return this.#looking;
  }

  #pollLater(): void {
    this.#cancelPoll();
    this.#cancelPoll = this.node.clock.after(leasePollMs, () => void this.#lookAtLeases());
  }

  async #readLeases(): Promise<void> {
    try {
      const leases = await this.node.state.leases();
      // What was there when we began to look is no change.
      if (this.#leases) for (const change of leaseChanges(this.#leases, leases)) this.log.append(change);
      this.#leases = leases;
      if (!this.#stopped) for (const { name } of leases) this.#watchLease(name);
    } catch (error) {
      // That it is away has its own event; the next poll looks again.
      if (!(error instanceof ClusterStateUnavailable)) this.node.log.error({ err: error }, 'leases could not be read');
    }
  }

  #watchLease(name: string): void {
    if (this.#watchedLeases.has(name)) return;
    this.#watchedLeases.add(name);
    this.#unsubscribe.push(this.node.state.watch(`lease:${name}`, () => void this.#lookAtLeases()));
  }
}
