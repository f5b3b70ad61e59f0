import type { Clock } from './clock.js';
import type { ClusterState, Unsubscribe } from './cluster-state.js';

/** The part of pino that is used. */
export interface AvailabilityLog {
  info(details: object, message: string): void;
  warn(details: object, message: string): void;
}

/** A store that comes and goes must not fill the disk. */
const linesIntervalMs = 60_000;

/** Says when the store goes away and when it is back, and while it is away again once a minute; never more than that. */
export function logAvailability(state: ClusterState, clock: Clock, log: AvailabilityLog): Unsubscribe {
  let lastAwayMs = -Infinity;
  let saidAway = false;
  let cancelTimer = (): void => {};
  const look = (): void => {
    cancelTimer();
    const { available, reason, sinceMs } = state.availability();
    if (available) {
      if (saidAway) log.info({}, 'cluster state is back');
      saidAway = false;
      return;
    }
    const nowMs = clock.monotonicMs();
    if (nowMs - lastAwayMs >= linesIntervalMs) {
      lastAwayMs = nowMs;
      saidAway = true;
      log.warn({ reason, awayMs: Math.max(0, Math.round(clock.nowMs() - sinceMs)) }, 'cluster state is away; this node goes on with what it knows');
    }
    cancelTimer = clock.after(lastAwayMs + linesIntervalMs - nowMs, look);
  };
  const unsubscribe = state.onAvailabilityChange(look);
  look();
  return () => {
    unsubscribe();
    cancelTimer();
  };
}
