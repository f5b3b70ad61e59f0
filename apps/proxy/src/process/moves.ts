import type { Clock } from '@binnacle/cluster-state/clock';
import type { Logger } from 'pino';
import type { RoutingView } from '../backends/backend.js';
import type { Balancer } from '../balance/balancer.js';
import type { CloseOrder, MoveOrder } from '../balance/orders.js';
import { redistribution } from './redistribution.js';
import { splitOrder, summedCounts } from './split-orders.js';
import { waitFor } from './wait-for.js';
import type { MoveOutcome } from './worker-protocol.js';
import type { Workers } from './workers.js';

/** The balancer's speeds are sessions a second; more often than this it would only order fractions. */
const stepMs = 200;

const redistributeMsMax = 30_000;
/** By then what was ordered is in the workers' counts. */
const reportsMs = 300;

export interface MovesParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly balancer: Balancer;
  readonly workers: Workers;
  view(): RoutingView;
  /** Backends whose sessions have had their time to leave. */
  closeOrders(nowMs: number): readonly CloseOrder[];
}

/** Asks the balancer several times a second and hands its orders to the workers that have such sessions. */
export class Moves {
  #cancel: (() => void) | undefined;

  constructor(private readonly parts: MovesParts) {}

  start(): void {
    this.#cancel = this.parts.clock.after(stepMs, () => {
      this.#step();
      this.start();
    });
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #step(): void {
    const { clock, balancer, workers, view } = this.parts;
    const counts = workers.counts();
    for (const order of balancer.step(clock.monotonicMs(), view(), summedCounts(counts))) this.#order(order);
    for (const order of this.parts.closeOrders(clock.nowMs())) workers.order({ kind: 'close', order });
  }

  /** Evens out the sessions of each group of backends, at once. Resolves with how many were ordered, when none of them is on its way any more, after 30 s at the latest. */
  async redistribute(): Promise<number> {
    const { clock, workers, view } = this.parts;
    const ordered = redistribution(view().backends, summedCounts(workers.counts()));
    for (const order of ordered) this.#order(order);
    const reported = clock.monotonicMs() + reportsMs;
    const isDone = (): boolean => clock.monotonicMs() > reported && workers.counts().flat().every(({ leaving }) => leaving === 0);
    if (ordered.length > 0) await waitFor(clock, redistributeMsMax, isDone);
    return ordered.reduce((sum, { count }) => sum + count, 0);
  }

  /** Each worker gets its share. */
  #order(order: MoveOrder): void {
    const { workers } = this.parts;
    splitOrder(order, workers.counts()).forEach((share, worker) => share.count > 0 && workers.orderOne(worker, { kind: 'move', order: share }));
  }

  finished(outcome: MoveOutcome): void {
    const { result, sessionId, from, to, reason, pauseMs, why } = outcome;
    const level = result === 'failed' ? 'warn' : 'debug';
    this.parts.log[level]({ session: sessionId, from, to, reason, result, pauseMs, why: why.map(({ code }) => code) }, `session move: ${result}`);
  }
}
