import { FakeClock } from '@binnacle/testing/fake-clock';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ClusterStateUnavailable, type Availability, type ClusterState, type WatchTopic } from '../src/cluster-state.js';
import { EmbeddedClusterState } from '../src/embedded-cluster-state.js';
import { Listeners } from '../src/listeners.js';

const operations = new Set([
  'campaign', 'resign', 'withdraw', 'reserve', 'lease', 'leases', 'leaseHistory', 'heartbeat', 'deregister', 'nodes', 'readDocument', 'documents', 'writeDocument', 'signal',
]);

/** A view of a store for one node: its line to the store can be cut, and answers can be held back or lost. The store itself goes on. */
export class FlakyState {
  readonly state: ClusterState;
  /** Every operation sent by this node, in order. */
  readonly calls: string[] = [];
  #availability: Availability = { available: true, sinceMs: 0, reason: '' };
  readonly #availabilityListeners = new Listeners<Availability>();
  #gate: Promise<void> | undefined;
  #openGate: () => void = () => {};
  #answersToLose = 0;
  #delayed: { readonly what: 'operation' | 'answer'; readonly until: Promise<void> } | undefined;
  #deaf = false;

  constructor(store: ClusterState) {
    this.state = new Proxy(store, {
      get: (target, name: string) => {
        if (name === 'availability') return () => this.#availability;
        if (name === 'onAvailabilityChange') return (listener: (a: Availability) => void) => this.#availabilityListeners.add(listener);
        if (name === 'watch') return (topic: WatchTopic, listener: () => void) => target.watch(topic, () => this.#deaf || listener());
        const member = target[name as keyof ClusterState] as unknown as (...args: unknown[]) => unknown;
        if (!operations.has(name)) return typeof member === 'function' ? member.bind(target) : member;
        return (...args: unknown[]) => this.#run(name, () => member.apply(target, args));
      },
    });
  }

  goAway(): void {
    this.#setAvailable(false);
  }

  comeBack(): void {
    this.#setAvailable(true);
  }

  /** Operations are carried out, their answers wait. */
  holdAnswers(): void {
    this.#gate = new Promise((resolve) => {
      this.#openGate = resolve;
    });
  }

  releaseAnswers(): void {
    this.#gate = undefined;
    this.#openGate();
  }

  /** The answer of the next operation alone waits until the returned function is called; later ones overtake it. */
  delayNextAnswer(): () => void {
    return this.#delayNext('answer');
  }

  /** The same for the operation itself: later ones reach the store before it. */
  delayNextOperation(): () => void {
    return this.#delayNext('operation');
  }

  /** The next operation is carried out and its answer never seen: the line was cut in between. */
  loseNextAnswer(): void {
    this.#answersToLose++;
  }

  /** Messages to this node are lost from now on. */
  loseMessages(): void {
    this.#deaf = true;
  }

  count(name: string): number {
    return this.calls.filter((call) => call === name).length;
  }

  async #run(name: string, operation: () => unknown): Promise<unknown> {
    this.calls.push(name);
    if (!this.#availability.available) throw new ClusterStateUnavailable('cut off by the test');
    const delayed = this.#delayed;
    this.#delayed = undefined;
    if (delayed?.what === 'operation') await delayed.until;
    const answer = await operation();
    if (delayed?.what === 'answer') await delayed.until;
    await this.#gate;
    if (this.#answersToLose === 0) return answer;
    this.#answersToLose--;
    throw new ClusterStateUnavailable('cut off by the test before the answer');
  }

  #delayNext(what: 'operation' | 'answer'): () => void {
    let release = (): void => {};
    const until = new Promise<void>((resolve) => {
      release = resolve;
    });
    this.#delayed = { what, until };
    return release;
  }

  #setAvailable(available: boolean): void {
    if (this.#availability.available === available) return;
    this.#availability = { available, sinceMs: 0, reason: available ? '' : 'cut off by the test' };
    this.#availabilityListeners.notify(this.#availability);
  }
}

/** An embedded store on a fake clock in a folder of its own, with as many lines to it as a test needs. */
export function openStore(): { clock: FakeClock; store: EmbeddedClusterState; line(): FlakyState; close(): Promise<void> } {
  const folder = mkdtempSync(join(tmpdir(), 'binnacle-state-'));
  const clock = new FakeClock();
  const store = new EmbeddedClusterState(folder, clock);
  return {
    clock,
    store,
    line: () => new FlakyState(store),
    async close() {
      await store.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
