import type { Operation, Route } from '@binnacle/contracts/route';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Inject, Injectable } from '@nestjs/common';
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';

/** Typesense's window. Windows follow each other; `/stats.json` shows the last one that is complete. */
export const windowMs = 10_000;
/** An hour: what takes longer is counted as that. */
const latencyUsMax = 3_600_000_000;
const operations: readonly Operation[] = ['search', 'import', 'write', 'delete'];
const percentiles = [70, 95, 99] as const;

/** Requests of one label in one window. */
interface Tally {
  count: number;
  totalMs: number;
}

/** The requests of one window. Two are enough for good: the current one and the last complete one change places. */
class Window {
  /** By the route's row: a lookup by object is cheaper than making its label for every request. At most one for each row. */
  readonly byRoute = new Map<Route, Tally>();
  readonly byOperation = new Map(operations.map((operation) => [operation, new OperationTally()]));
  overloaded = 0;
  /** Searches that asked for a cached answer, and those that got one. */
  cacheLookups = 0;
  cacheHits = 0;

  clear(): void {
    for (const tally of this.byRoute.values()) {
      tally.count = 0;
      tally.totalMs = 0;
    }
    for (const tally of this.byOperation.values()) tally.clear();
    this.overloaded = 0;
    this.cacheLookups = 0;
    this.cacheHits = 0;
  }
}

class OperationTally implements Tally {
  count = 0;
  totalMs = 0;
  /** HDR, in microseconds, three figures; about 180 kB. Recycled, since making one costs more than a window of requests. */
  readonly latencyUs: RecordableHistogram = createHistogram({ lowest: 1, highest: latencyUsMax, figures: 3 });

  clear(): void {
    if (this.count === 0) return;
    this.count = 0;
    this.totalMs = 0;
    this.latencyUs.reset();
  }
}

/** Counts the requests of this gateway for `/stats.json`. */
@Injectable()
export class ApiStatistics {
  #current = new Window();
  #complete = new Window();
  #currentEndsMs: number;

  constructor(@Inject(NodeContext) private readonly node: Pick<NodeContext, 'clock' | 'state'>) {
    this.#currentEndsMs = node.clock.monotonicMs() + windowMs;
  }

  /** A request that was answered, with the time from its head to the end of its answer. Typesense counts refused ones as well. */
  record(route: Route, latencyMs: number): void {
    this.#turn();
    let tally = this.#current.byRoute.get(route);
    if (tally === undefined) this.#current.byRoute.set(route, (tally = { count: 0, totalMs: 0 }));
    tally.count++;
    tally.totalMs += latencyMs;
    if (route.operation === undefined) return;
    const operation = this.#current.byOperation.get(route.operation) as OperationTally;
    operation.count++;
    operation.totalMs += latencyMs;
    operation.latencyUs.record(Math.min(latencyUsMax, Math.max(1, Math.round(latencyMs * 1_000))));
  }

  /** What a storage node said of its result cache (`searchCacheHeader`). */
  recordCache(results: string): void {
    this.#turn();
    for (const result of results.split(', ')) {
      this.#current.cacheLookups++;
      if (result === 'hit') this.#current.cacheHits++;
    }
  }

  /** A request that was turned away because a limit was reached. */
  overloaded(): void {
    this.#turn();
    this.#current.overloaded++;
  }

  /** The body of `/stats.json`. */
  snapshot(): Record<string, number | Record<string, number>> {
    this.#turn();
    const window = this.#complete;
    const body: Record<string, number | Record<string, number>> = {};
    for (const [operation, tally] of window.byOperation) Object.assign(body, operationFields(operation, tally));
    const { requestsPerSecond, latencyMs, total } = labelFields(window);
    return {
      ...body,
      latency_ms: latencyMs,
      requests_per_second: requestsPerSecond,
      overloaded_requests_per_second: perSecond(window.overloaded),
      total_requests_per_second: perSecond(total),
      cache_hit_ratio: window.cacheLookups === 0 ? 0 : window.cacheHits / window.cacheLookups,
      pending_write_batches: this.node.state.pendingOperations(),
    };
  }

  /** Windows turn when somebody looks or counts, not by a timer. A window without a look or a request in it was empty. */
  #turn(): void {
    const nowMs = this.node.clock.monotonicMs();
    if (nowMs < this.#currentEndsMs) return;
    [this.#current, this.#complete] = [this.#complete, this.#current];
    this.#current.clear();
    const windowsGone = Math.floor((nowMs - this.#currentEndsMs) / windowMs);
    if (windowsGone > 0) this.#complete.clear();
    this.#currentEndsMs += (windowsGone + 1) * windowMs;
  }
}

function operationFields(operation: Operation, tally: OperationTally): Record<string, number> {
  const fields: Record<string, number> = {
    [`${operation}_requests_per_second`]: perSecond(tally.count),
    [`${operation}_latency_ms`]: meanMs(tally),
  };
  if (tally.count === 0) return fields;
  fields[`${operation}_min_latency_ms`] = toMs(tally.latencyUs.min);
  fields[`${operation}_max_latency_ms`] = toMs(tally.latencyUs.max);
  for (const percentile of percentiles) {
    fields[`${operation}_${percentile}Percentile_latency_ms`] = toMs(tally.latencyUs.percentile(percentile));
  }
  return fields;
}

interface LabelFields {
  readonly requestsPerSecond: Record<string, number>;
  readonly latencyMs: Record<string, number>;
  readonly total: number;
}

/** By `METHOD template`, which several rows may share: a path that answers differently in two dialects has a row for each. */
function labelFields(window: Window): LabelFields {
  const byLabel = new Map<string, Tally>();
  let total = 0;
  for (const [route, { count, totalMs }] of window.byRoute) {
    if (count === 0) continue;
    total += count;
    const label = `${route.method} ${route.path}`;
    const sum = byLabel.get(label);
    byLabel.set(label, { count: count + (sum?.count ?? 0), totalMs: totalMs + (sum?.totalMs ?? 0) });
  }
  return {
    requestsPerSecond: Object.fromEntries([...byLabel].map(([label, tally]) => [label, perSecond(tally.count)])),
    latencyMs: Object.fromEntries([...byLabel].map(([label, tally]) => [label, meanMs(tally)])),
    total,
  };
}

function perSecond(count: number): number {
  return count / (windowMs / 1_000);
}

function meanMs(tally: Tally): number {
  return tally.count === 0 ? 0 : rounded(tally.totalMs / tally.count);
}

function toMs(us: number): number {
  return rounded(us / 1_000);
}

/** To microseconds, all that the clock tells. */
function rounded(ms: number): number {
  return Math.round(ms * 1_000) / 1_000;
}
