import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import type { OutlierDetection } from './outlier-detection.js';

/** A new node takes part in a growing share of the choices for this long: its caches are cold and its code is not compiled yet. */
export const slowStartMs = 10_000;
export const slowStartShareMin = 0.1;

/** What the choice of a node looks at. */
export interface Load {
  readonly record: NodeRecord;
  /** Requests of this gateway on their way to it. */
  readonly outstanding: number;
  /** Requests of others that it reported last. */
  readonly outstandingOfOthers: number;
  /** When this gateway first saw it running; undefined while it has not. */
  readonly runningSinceMs: number | undefined;
  readonly outliers: OutlierDetection;
}

export interface ChoiceLimits {
  readonly nowMs: number;
  readonly outstandingMax: number;
  /** 0 to 1, a new one each call. */
  readonly random: () => number;
}

/** Share of the choices that a node takes part in: from a tenth to all, in a straight line over its first ten seconds. */
export function slowStartShare(runningForMs: number): number {
  return Math.min(1, Math.max(slowStartShareMin, runningForMs / slowStartMs));
}

/**
 * The node to send a request to: of those that are well the one with the fewest outstanding requests, of several such any. Nodes that are
 * ejected or short of memory or disk come after all others, stopping ones only when nobody else is left, starting ones never.
 * Undefined when no node may take one more.
 */
export function chooseLeastLoaded<T extends Load>(loads: readonly T[], tried: readonly T[], limits: ChoiceLimits): T | undefined {
  const { nowMs, outstandingMax, random } = limits;
  const ejectedBeforeMs = ejectionThresholdMs(loads, nowMs);
  let best: T | undefined;
  let bestTier = Infinity;
  let bestLoad = Infinity;
  let ties = 0;
  for (const load of loads) {
    if (load.record.state === 'starting' || load.outstanding >= outstandingMax || tried.includes(load)) continue;
    const tier = loads.length === 1 ? 0 : tierOf(load, limits, ejectedBeforeMs);
    const outstanding = load.outstanding + load.outstandingOfOthers;
    if (tier > bestTier || (tier === bestTier && outstanding > bestLoad)) continue;
    if (tier === bestTier && outstanding === bestLoad) {
      ties++;
      if (random() * ties >= 1) continue;
    } else {
      ties = 1;
    }
    best = load;
    bestTier = tier;
    bestLoad = outstanding;
  }
  return best;
}

/** The smaller, the better; a node of a higher tier is chosen only when there is none of a lower one. */
function tierOf(load: Load, { nowMs, random }: ChoiceLimits, ejectedBeforeMs: number): number {
  if (load.record.state === 'stopping') return 4;
  const untilMs = load.outliers.ejectedUntilMs();
  if (untilMs > nowMs && untilMs >= ejectedBeforeMs) return 3;
  if (load.record.resourceError !== undefined) return 2;
  const share = slowStartShare(nowMs - (load.runningSinceMs ?? nowMs));
  return share < 1 && random() >= share ? 1 : 0;
}

/**
 * An ejection counts when it lasts until this time or longer. Never more than half of the nodes are ejected: when most of them fail, the
 * fault is likely elsewhere, and the rest would break under everything. Those whose ejection ends first are let in then.
 */
function ejectionThresholdMs(loads: readonly Load[], nowMs: number): number {
  let ejected = 0;
  for (const load of loads) if (load.outliers.isEjected(nowMs)) ejected++;
  const ejectedMax = Math.floor(loads.length / 2);
  if (ejected <= ejectedMax) return -Infinity;
  const untilMs = loads.map((load) => load.outliers.ejectedUntilMs()).sort((a, b) => b - a);
  return ejectedMax === 0 ? Infinity : (untilMs[ejectedMax - 1] as number);
}
