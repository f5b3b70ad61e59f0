import { systemClock, type Clock } from '../src/clock.js';
import { RedisClusterState } from '../src/redis-cluster-state.js';
import type { RedisSettings } from '../src/redis-connection.js';

/** A client of a test's server; by default with a timeout long enough for a busy machine. */
export function openRedis(
  server: { readonly url: string; readonly caFile?: string | undefined },
  changes: Partial<RedisSettings> & { clock?: Clock } = {},
): Promise<RedisClusterState> {
  const { clock = systemClock, ...settings } = changes;
  const defaults = { url: server.url, sentinels: '', cluster: false, caFile: server.caFile ?? '', prefix: 'test', timeoutMs: 3_000 };
  return RedisClusterState.open({ ...defaults, ...settings }, clock);
}
