import { getHeapStatistics } from 'node:v8';
import type { MetricValueWithName, Registry } from 'prom-client';

const nsPerS = 1e9;

/**
 * `/expvar` as gostatsd (Go's expvar) shows it: `cmdline` and `memstats`. Of Go's memory statistics those are given that V8 knows, in
 * bytes and under Go's names; the others are left out. Secrets given as flags are masked in `cmdline`.
 */
export async function expvar(metrics: Registry, mask: (text: string) => string): Promise<Record<string, unknown>> {
  const heap = getHeapStatistics();
  const collections = await garbageCollections(metrics);
  return {
    cmdline: [...process.execArgv, ...process.argv].map(mask),
    memstats: {
      Alloc: heap.used_heap_size,
      Sys: process.memoryUsage.rss(),
      HeapAlloc: heap.used_heap_size,
      HeapSys: heap.total_heap_size,
      HeapIdle: heap.total_heap_size - heap.used_heap_size,
      HeapInuse: heap.used_heap_size,
      NumGC: collections.count,
      PauseTotalNs: Math.round(collections.seconds * nsPerS),
    },
  };
}

/** From prom-client's histogram, which watches the collections already. */
async function garbageCollections(metrics: Registry): Promise<{ count: number; seconds: number }> {
  const values = ((await metrics.getSingleMetric('nodejs_gc_duration_seconds')?.get())?.values ?? []) as MetricValueWithName<string>[];
  const sum = (suffix: string): number =>
    values.filter((each) => each.metricName?.endsWith(suffix)).reduce((total, each) => total + each.value, 0);
  return { count: sum('_count'), seconds: sum('_sum') };
}
