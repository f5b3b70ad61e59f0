/** What statsd's types come to: histograms and distributions are timers, as in gostatsd. */
export const metricKinds = ['counter', 'gauge', 'timer', 'set'] as const;
export type MetricKind = (typeof metricKinds)[number];
