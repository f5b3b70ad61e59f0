import type { HeldSession } from '../process/held-sessions.js';
import type { Tenants } from '../tenants/tenants.js';
import { seriesKey } from './families.js';
import type { ProxyMetrics } from './proxy-metrics.js';

/**
 * Gauges of what a worker holds, counted when they are asked for: a count of why sessions cannot move would have to follow every statement.
 *
 * @param backends ids of those there are: what was measured of others, that have no session here either, is dropped
 */
export function gaugeWorker(metrics: ProxyMetrics, sessions: Iterable<HeldSession>, tenants: Tenants, backends: Iterable<string>): void {
  const known = new Set(backends);
  const unmovable = new Map<string, number>();
  const pending = new Map<string, number>();
  const count = (counts: Map<string, number>, ...labels: string[]): void => void counts.set(seriesKey(labels), (counts.get(seriesKey(labels)) ?? 0) + 1);
  for (const { session, leavingTo, leavingFor } of sessions) {
    known.add(session.backend.backend.id);
    // A session that two things of one kind keep is one session.
    for (const reason of new Set(session.why().map(({ code }) => code))) count(unmovable, reason);
    if (leavingTo !== undefined) count(pending, session.backend.backend.id, leavingTo, leavingFor ?? '');
  }
  metrics.keepBackends(known);
  metrics.replace('unmovable', byLabels(unmovable));
  metrics.replace('pendingMigrations', byLabels(pending));
  const namespaces = [...tenants.namespaces()];
  metrics.replace('namespaceSessions', namespaces.map(({ name, connections }) => [[name], connections]));
  metrics.replace('namespaceWaiting', namespaces.map(({ name, waiting }) => [[name], waiting]));
}

const byLabels = (counts: ReadonlyMap<string, number>): [string[], number][] => [...counts].map(([key, value]) => [key.split('\0'), value]);
