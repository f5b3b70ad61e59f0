import { type Backend, type BackendRole, playsRole } from '../backends/backend.js';
import type { MoveOrder, SessionCount } from '../balance/orders.js';

const groupKey = ({ cluster, group }: Backend): string => `${cluster} ${group}`;

interface Place {
  readonly backend: Backend;
  sessions: number;
}

/** Orders after which every backend of a group has its share of the sessions of each role, give or take one. */
export function redistribution(backends: readonly Backend[], counts: readonly SessionCount[]): MoveOrder[] {
  const orders: MoveOrder[] = [];
  for (const role of ['writer', 'replica', 'any'] as const) {
    for (const key of new Set(backends.map(groupKey))) orders.push(...ofGroup(backends.filter((backend) => groupKey(backend) === key), role, counts));
  }
  return orders;
}

function ofGroup(group: readonly Backend[], role: BackendRole, counts: readonly SessionCount[]): MoveOrder[] {
  const places = group
    .filter((backend) => backend.healthy && !backend.draining && playsRole(backend, role))
    .map((backend): Place => ({ backend, sessions: sessionsOn(backend.id, role, counts) }))
    .sort((a, b) => b.sessions - a.sessions);
  const total = places.reduce((sum, { sessions }) => sum + sessions, 0);
  // Those that have most keep what does not divide.
  const share = (at: number): number => Math.floor(total / places.length) + (at < total % places.length ? 1 : 0);
  const orders: MoveOrder[] = [];
  for (let from = 0, to = places.length - 1; from < to; ) {
    const [full, free] = [places[from] as Place, places[to] as Place];
    const [surplus, room] = [full.sessions - share(from), share(to) - free.sessions];
    const count = Math.min(surplus, room);
    if (count > 0) {
      orders.push({ from: full.backend.id, to: free.backend.id, role, count, reason: 'api' });
      full.sessions -= count;
      free.sessions += count;
    }
    if (surplus <= room) from++;
    else to--;
  }
  return orders;
}

function sessionsOn(id: string, role: BackendRole, counts: readonly SessionCount[]): number {
  return counts.filter((count) => count.backend === id && count.role === role).reduce((sum, { sessions, leaving, arriving }) => sum + sessions - leaving + arriving, 0);
}
