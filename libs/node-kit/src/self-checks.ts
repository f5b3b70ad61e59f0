import type { Clock } from '@binnacle/cluster-state/clock';
import { CachedCheck } from './check.js';
import type { HealthConfig } from './config.js';
import type { MachineSampler } from './machine-sampler.js';
import type { ResourceMonitor } from './resource-monitor.js';

/** What every node can say of itself without asking anybody: `/healthcheck`. Nothing here depends on another process. */
export function selfChecks(resources: ResourceMonitor, machine: MachineSampler, limits: HealthConfig, clock: Clock): CachedCheck[] {
  const options = { clock, deadlineMs: limits.checkDeadlineMs, cacheMs: limits.checkCacheMs };
  return [
    new CachedCheck('event-loop', async () => eventLoop(resources, limits), options),
    new CachedCheck('memory', async () => free('memory', resources.memoryFreePercent(), limits.memoryFreePercentMin), options),
    new CachedCheck(
      'disk',
      async () => {
        const failure = machine.failure();
        if (failure !== undefined) throw new Error(failure);
        return free('disk', resources.diskFreePercent(), limits.diskFreePercentMin);
      },
      options,
    ),
  ];
}

function eventLoop(resources: ResourceMonitor, limits: HealthConfig): string {
  const delayMs = resources.eventLoopDelayMs();
  const detail = `99th percentile of its delay is ${delayMs} ms, the limit ${limits.eventLoopDelayMsMax} ms`;
  if (delayMs >= limits.eventLoopDelayMsMax) throw new Error(detail);
  return detail;
}

function free(what: string, percent: number | undefined, percentMin: number): string {
  if (percent === undefined) throw new Error(`${what} is not measured yet`);
  const detail = `${percent.toFixed(1)} % free, at least ${percentMin} % wanted`;
  if (percent < percentMin) throw new Error(detail);
  return detail;
}
