import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startRedis, type RedisServer } from '@binnacle/testing/redis-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { Candidacy } from '../src/candidacy.js';
import { systemClock } from '../src/clock.js';
import type { Tenure } from '../src/cluster-state.js';
import type { RedisClusterState } from '../src/redis-cluster-state.js';
import { candidate } from './cluster-state.contract.js';
import { openRedis } from './open-redis.js';

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

const ttlMs = 3_000;
const candidatesCount = 50;
const connectionsCount = 10;
const handOversCount = 1_000;

interface Event {
  readonly nodeId: string;
  /** Gained, or undefined: lost. */
  readonly term: number | undefined;
  /** Node ids of all who believe to own the lease, at this very moment. */
  readonly owners: readonly string[];
}

/** Throws at the first thing that must not be: two owners, a term skipped, repeated or given back by another than its holder. */
function verify(events: readonly Event[]): { handOvers: number; holders: ReadonlySet<string> } {
  let current: { nodeId: string; term: number } | undefined;
  let lastTerm = 0;
  const holders = new Set<string>();
  for (const { nodeId, term, owners } of events) {
    if (term === undefined) {
      if (current?.nodeId !== nodeId) throw new Error(`${nodeId} lost what ${current?.nodeId ?? 'nobody'} held`);
      if (owners.length > 0) throw new Error(`${owners.join()} own after term ${lastTerm} has ended`);
      current = undefined;
      continue;
    }
    if (current !== undefined) throw new Error(`${nodeId} began term ${term} while ${current.nodeId} held term ${current.term}`);
    if (term !== lastTerm + 1) throw new Error(`term ${term} follows term ${lastTerm}`);
    if (owners.join() !== nodeId) throw new Error(`in term ${term} of ${nodeId} there own: ${owners.join()}`);
    current = { nodeId, term };
    lastTerm = term;
    holders.add(nodeId);
  }
  return { handOvers: lastTerm - 1, holders };
}

/** The store's own record must tell the same story. */
function verifyHistory(history: readonly Tenure[], newestTerm: number): void {
  history.forEach((tenure, index) => {
    if (tenure.term !== newestTerm - index) throw new Error(`the history has term ${tenure.term} where ${newestTerm - index} belongs`);
    const next = history[index - 1];
    if (next !== undefined && tenure.endedAtMs! > next.acquiredAtMs) throw new Error(`terms ${tenure.term} and ${next.term} overlap`);
  });
}

test('the verifier of the next test sees what must not be', () => {
  const gain = (nodeId: string, term: number, owners = [nodeId]): Event => ({ nodeId, term, owners });
  const loss = (nodeId: string, owners: string[] = []): Event => ({ nodeId, term: undefined, owners });
  expect(verify([gain('a', 1), loss('a'), gain('b', 2)])).toEqual({ handOvers: 1, holders: new Set(['a', 'b']) });
  expect(() => verify([gain('a', 1), gain('b', 2)])).toThrow('b began term 2 while a held term 1');
  expect(() => verify([gain('a', 1), loss('a'), gain('b', 3)])).toThrow('term 3 follows term 1');
  expect(() => verify([gain('a', 1), loss('a'), gain('b', 1)])).toThrow('term 1 follows term 1');
  expect(() => verify([gain('a', 1), loss('b')])).toThrow('b lost what a held');
  expect(() => verify([gain('a', 1), loss('a'), gain('b', 2, ['a', 'b'])])).toThrow('there own: a,b');
});

test('50 candidates, 1,000 hand-overs: one holder at any time, terms without gap or overlap', async () => {
  const states: RedisClusterState[] = [];
  for (let index = 0; index < connectionsCount; index++) states.push(await openRedis(server, { timeoutMs: 2_000 }));
  const events: Event[] = [];
  const handOverMs: number[] = [];
  let resignedAtMs = 0;
  let done = false;
  const candidacies = new Map<string, Candidacy>();
  for (let index = 0; index < candidatesCount; index++) {
    const nodeId = `n${String(index).padStart(2, '0')}`;
    const options = { lease: 'leader', candidate: candidate(nodeId), ttlMs };
    const candidacy = new Candidacy(states[index % connectionsCount]!, systemClock, options);
    candidacies.set(nodeId, candidacy);
    candidacy.onChange((term) => {
      const owners = [...candidacies].filter(([, each]) => each.isOwner()).map(([id]) => id);
      events.push({ nodeId, term, owners });
      if (term === undefined || done) return;
      if (resignedAtMs > 0) handOverMs.push(performance.now() - resignedAtMs);
      done = term > handOversCount;
      if (done) return;
      // Every third hand-over is to a named successor, the others go to whoever comes first.
      const successor = term % 3 === 0 ? `n${String((index + 7) % candidatesCount).padStart(2, '0')}` : undefined;
      setImmediate(() => {
        resignedAtMs = performance.now();
        void candidacy.resign(successor === undefined ? {} : { successor, reservedMs: 2_000 });
      });
    });
  }
  for (const candidacy of candidacies.values()) candidacy.start();
  await waitUntil(async () => (await states[0]!.lease('leader'))?.waiting.length === candidatesCount - 1 || events.length > 1);
  await waitUntil(() => done, { what: `${handOversCount} hand-overs`, timeoutMs: 150_000 });

  const { handOvers, holders } = verify(events);
  expect(handOvers).toBe(handOversCount);
  expect(holders.size).toBeGreaterThan(candidatesCount / 2);
  // None had to wait until a lease expired.
  expect(Math.max(...handOverMs)).toBeLessThan(ttlMs);
  verifyHistory(await states[0]!.leaseHistory('leader', 1_000), handOversCount + 1);

  await Promise.all([...candidacies.values()].map((candidacy) => candidacy.stop()));
  expect((await states[0]!.lease('leader'))?.waiting).toEqual([]);
  await Promise.all(states.map((state) => state.close()));
});
