import type { Registry } from 'prom-client';
import { families, type FamilyFacts, type FamilyName, type MetricsSnapshot } from './families.js';

type Totals = Map<FamilyName, Map<string, number | number[]>>;

const facts = (name: FamilyName): FamilyFacts => families[name];

/** Numbers of several processes as those of one: sums, series by series. */
export function mergeSnapshots(snapshots: Iterable<MetricsSnapshot>): MetricsSnapshot {
  const totals: Totals = new Map();
  for (const snapshot of snapshots) addTo(totals, snapshot, () => true);
  return asSnapshot(totals);
}

/** What a process that has ended leaves behind: its counts do not go back, its gauges are gone. */
export function countsOf(snapshot: MetricsSnapshot): MetricsSnapshot {
  const totals: Totals = new Map();
  addTo(totals, snapshot, (name) => facts(name).type !== 'gauge');
  return asSnapshot(totals);
}

function addTo(totals: Totals, snapshot: MetricsSnapshot, wanted: (name: FamilyName) => boolean): void {
  for (const [name, series] of Object.entries(snapshot) as [FamilyName, NonNullable<MetricsSnapshot[FamilyName]>][]) {
    if (!wanted(name)) continue;
    const sums = totals.get(name) ?? new Map<string, number | number[]>();
    totals.set(name, sums);
    for (const [key, value] of Object.entries(series)) {
      const sum = sums.get(key);
      if (typeof value === 'number') sums.set(key, ((sum as number | undefined) ?? 0) + value);
      else if (sum === undefined) sums.set(key, [...value]);
      else value.forEach((each, index) => ((sum as number[])[index] = ((sum as number[])[index] ?? 0) + each));
    }
  }
}

function asSnapshot(totals: Totals): MetricsSnapshot {
  return Object.fromEntries([...totals].map(([name, series]) => [name, Object.fromEntries(series)]));
}

interface Sample {
  readonly metricName: string;
  readonly labels: Record<string, string | number>;
  readonly value: number;
}

function samplesOf({ name, labels, buckets }: FamilyFacts, series: NonNullable<MetricsSnapshot[FamilyName]>): Sample[] {
  return Object.entries(series).flatMap(([key, value]): Sample[] => {
    const values = key.split('\0');
    const own = Object.fromEntries(labels.map((label, index) => [label, values[index] ?? '']));
    if (typeof value === 'number' || buckets === undefined) return [{ metricName: name, labels: own, value: value as number }];
    let count = 0;
    const bounds = [...buckets, '+Inf'].map((le, index) => ({ metricName: `${name}_bucket`, labels: { ...own, le }, value: (count += value[index] ?? 0) }));
    return [...bounds, { metricName: `${name}_sum`, labels: own, value: value[buckets.length + 1] ?? 0 }, { metricName: `${name}_count`, labels: own, value: count }];
  });
}

/**
 * Puts every metric of the proxy into a node's registry. `read` is asked once for all of them at each scrape; while it fails, the last
 * numbers stay.
 */
export function exportMetrics(registry: Registry, read: () => Promise<MetricsSnapshot>): void {
  let last: MetricsSnapshot = {};
  let reading: Promise<void> | undefined;
  const readOnce = (): Promise<void> => {
    // The metrics of one scrape are asked for in one go, so they find the same promise.
    reading ??= read()
      .then((snapshot) => void (last = snapshot))
      .catch(() => undefined)
      .finally(() => (reading = undefined));
    return reading;
  };
  for (const name of Object.keys(families) as FamilyName[]) {
    const { name: metric, help, type } = facts(name);
    const exported = {
      name: metric,
      help,
      type,
      async get() {
        await readOnce();
        return { name: metric, help, type, values: samplesOf(facts(name), last[name] ?? {}), aggregator: 'sum' };
      },
      reset() {},
    };
    // A metric of prom-client's own would be fed with an object of labels for each observation; the registry asks no more of one than this.
    registry.registerMetric(exported as never);
  }
}
