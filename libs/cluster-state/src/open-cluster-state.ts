import { logAvailability, type AvailabilityLog } from './availability-log.js';
import type { Clock } from './clock.js';
import type { ClusterState } from './cluster-state.js';
import { EmbeddedClusterState } from './embedded-cluster-state.js';
import { RedisClusterState } from './redis-cluster-state.js';
import type { RedisSettings } from './redis-connection.js';

export interface ClusterStateOptions {
  /** With an empty `url` the state is embedded in this process. */
  readonly redis: RedisSettings;
  /** Where the embedded state is kept. */
  readonly dataDir: string;
  readonly clock: Clock;
  /** Hears that the store is away, once a minute at most, and that it is back. */
  readonly log?: AvailabilityLog;
}

/**
 * Throws `ClusterStateUnusable` on settings that cannot be right, and on a data folder that another process uses, that is damaged or cannot be
 * written. A Redis that is away is no error.
 */
export async function openClusterState({ redis, dataDir, clock, log }: ClusterStateOptions): Promise<ClusterState> {
  const state = redis.url === '' ? new EmbeddedClusterState(dataDir, clock) : await RedisClusterState.open(redis, clock);
  if (log !== undefined) {
    const stopLog = logAvailability(state, clock, log);
    state.onClose(stopLog);
  }
  return state;
}
