import { randomInt } from 'node:crypto';

/** Thread ids of servers are below this; what the proxy gives out is not. */
export const sessionIdMin = 2 ** 31;
const sessionIdMax = 2 ** 32 - 1;

/**
 * Ids for the sessions of one worker: 2^31 to 2^32 - 1, at random, so that nobody kills by counting, and so that a KILL meant for one proxy node hits
 * nobody at another; modulo `workersTotal` they are `number`, so that no two workers of a node give out the same. `isTaken` is asked about this worker's own.
 */
export function newSessionId(number: number, workersTotal: number, isTaken: (id: number) => boolean): number {
  const first = sessionIdMin + ((number - (sessionIdMin % workersTotal) + workersTotal) % workersTotal);
  const count = Math.floor((sessionIdMax - first) / workersTotal) + 1;
  for (;;) {
    const id = first + workersTotal * randomInt(count);
    if (!isTaken(id)) return id;
  }
}
