import { getHeapStatistics } from 'node:v8';
import type { Counter, MetricValueWithName, Registry } from 'prom-client';
import type { NodePart } from './node-context.js';

const nsPerS = 1e9;

/**
 * `/expvar` as gostatsd (Go's expvar) shows it: `cmdline` and `memstats`. Of Go's memory statistics those are given that V8 knows, in
 * bytes and under Go's names; the others are left out. Secrets given as flags are masked in `cmdline`. Parts of the node add their own variables.
 */
export async function expvar(metrics: Registry, mask: (text: string) => string, parts: readonly NodePart[]): Promise<Record<string, unknown>> {
  const heap = getHeapStatistics();
  const collections = await garbageCollections(metrics);
  const added = await Promise.all(parts.map((part) => part.variables?.()));
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
    ...Object.assign({}, ...added),
  };
}

/**
 * The counters and gauges whose names begin so, as variables: by what follows, without `_total`. One with labels is an object of numbers, by their
 * values joined with commas.
 */
export async function variablesOf(metrics: Registry, prefix: string): Promise<Record<string, unknown>> {
  const own = metrics.getMetricsAsArray().filter(({ name }) => name.startsWith(prefix));
  const read = own.map(async (metric): Promise<[string, unknown]> => {
    const { values } = await (metrics.getSingleMetric(metric.name) as Counter).get();
    const byLabels = values.map(({ labels, value }): [string, number] => [Object.values(labels).join(','), value]);
    const [first] = byLabels;
    return [metric.name.slice(prefix.length).replace(/_total$/, ''), first?.[0] === '' ? first[1] : Object.fromEntries(byLabels)];
  });
  return Object.fromEntries(await Promise.all(read));
}

/** From prom-client's histogram, which watches the collections already. */
async function garbageCollections(metrics: Registry): Promise<{ count: number; seconds: number }> {
  const values = ((await metrics.getSingleMetric('nodejs_gc_duration_seconds')?.get())?.values ?? []) as MetricValueWithName<string>[];
  const sum = (suffix: string): number =>
    values.filter((each) => each.metricName?.endsWith(suffix)).reduce((total, each) => total + each.value, 0);
  return { count: sum('_count'), seconds: sum('_sum') };
}
