import type { Clock } from '@binnacle/cluster-state/clock';
import type { Logger } from 'pino';
import type { Workers } from './workers.js';

/** `waiting`: not ready any more, but new connections are still taken; `closing`: no new ones, and sessions end as they can. */
export type DoorState = 'shut' | 'open' | 'waiting' | 'closing';

export interface ShutdownTimes {
  /** `proxy.graceful-wait-before-shutdown`: for load balancers to hear of it. */
  readonly waitMs: number;
  /** `proxy.graceful-close-conn-timeout`: for transactions to end. */
  readonly graceMs: number;
}

/** For workers to tell that they are done, behind the deadline they keep themselves. */
const reportMs = 1_000;

/** The end of a proxy as TiProxy documents it: wait, close the port, let transactions end, cut the rest. */
export class Shutdown {
  #state: DoorState = 'shut';
  readonly #draining = new Set<number>();
  #cut = 0;
  #done: () => void = () => {};

  constructor(
    private readonly clock: Clock,
    private readonly log: Logger,
    private readonly workers: () => Workers,
  ) {}

  get state(): DoorState {
    return this.#state;
  }

  opened(): void {
    this.#state = 'open';
  }

  async run({ waitMs, graceMs }: ShutdownTimes): Promise<void> {
    if (this.#state !== 'open') return;
    this.#state = 'waiting';
    if (waitMs > 0) await new Promise<void>((resolve) => void this.clock.after(waitMs, resolve));
    this.#state = 'closing';
    const workers = this.workers();
    workers.startNoMore();
    const sessions = workers.sessions();
    const total = sessions.reduce((sum, each) => sum + each, 0);
    this.log.info({ sessions: total, graceMs }, 'the SQL port closes; sessions end at their next boundary outside a transaction');
    for (const number of workers.runningNumbers()) this.#draining.add(number);
    if (this.#draining.size === 0) return;
    const drained = new Promise<void>((resolve) => (this.#done = resolve));
    workers.order({ kind: 'shutdown', graceMs });
    const cancel = this.clock.after(graceMs + reportMs, () => this.#done());
    await drained;
    cancel();
    this.log.info({ sessions: total, cut: this.#cut }, 'the sessions of the SQL proxy have ended');
  }

  /** A worker has no session left, or is gone with those it had. */
  drained(worker: number, cut: number): void {
    if (!this.#draining.delete(worker)) return;
    this.#cut += cut;
    if (this.#draining.size === 0) this.#done();
  }
}
