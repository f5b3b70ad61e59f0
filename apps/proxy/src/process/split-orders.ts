import type { MoveOrder, SessionCount } from '../balance/orders.js';

/** The counts of all workers as one, by backend and role. */
export function summedCounts(counts: readonly (readonly SessionCount[])[]): SessionCount[] {
  const sums = new Map<string, SessionCount>();
  for (const count of counts.flat()) {
    const key = `${count.role} ${count.backend}`;
    const sum = sums.get(key);
    sums.set(key, sum === undefined ? count : {
      ...sum,
      sessions: sum.sessions + count.sessions,
      leaving: sum.leaving + count.leaving,
      arriving: sum.arriving + count.arriving,
      resting: sum.resting + count.resting,
    });
  }
  return [...sums.values()];
}

/** What each worker is to move of an order, by how many sessions it has that can be: the sum is the order's count, or all there are. */
export function splitOrder(order: MoveOrder, counts: readonly (readonly SessionCount[])[]): MoveOrder[] {
  const free = counts.map((ofWorker) => {
    const count = ofWorker.find(({ backend, role }) => backend === order.from && role === order.role);
    return count === undefined ? 0 : Math.max(0, count.sessions - count.leaving - count.resting);
  });
  let freeLeft = free.reduce((sum, each) => sum + each, 0);
  let left = Math.min(order.count, freeLeft);
  return free.map((own) => {
    // The share of what is left, so that the last one gets exactly the rest.
    const count = freeLeft === 0 ? 0 : Math.min(own, Math.round((left * own) / freeLeft));
    freeLeft -= own;
    left -= count;
    return { ...order, count };
  });
}
