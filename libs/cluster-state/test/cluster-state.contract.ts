import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import type { Candidate, ClusterState, Lease, NodeRecord } from '../src/cluster-state.js';

/** One store, seen through two clients; where there can be only one client, both are the same. */
export interface OpenedState {
  readonly state: ClusterState;
  readonly other: ClusterState;
  /** Lets time pass for the store. */
  passTime(ms: number): Promise<void>;
  /** Waits until the condition holds: for messages, which arrive after the operation that sent them. */
  until(condition: () => boolean): Promise<void>;
  close(): Promise<void>;
}

export function candidate(nodeId: string, incarnation = `${nodeId}-1`): Candidate {
  return { nodeId, incarnation, address: `10.0.0.1:${nodeId.length + 7000}` };
}

export function node(id: string, changes: Partial<NodeRecord> = {}): NodeRecord {
  return {
    id,
    incarnation: `${id}-1`,
    roles: ['storage', 'gateway'],
    host: '127.0.0.1',
    port: 7400,
    state: 'running',
    version: '0.1.0',
    startedAtMs: 1_760_000_000_000,
    appliedRevision: 3,
    outstandingRequests: 2,
    eventLoopDelayMs: 1.5,
    labels: { zone: 'zürich-a', 'disagg-mode': 'Both' },
    ...changes,
  };
}

/** Ttls: long enough that nothing expires by accident on a busy machine, short enough to be waited for. */
const longMs = 60_000;
const shortMs = 1_500;

const [a, b, c] = [candidate('node-a'), candidate('node-b'), candidate('node-c')];

/** What every implementation of `ClusterState` must do. */
export function describeClusterState(name: string, open: () => Promise<OpenedState>): void {
  describe(name, () => {
    let opened: OpenedState;
    let state: ClusterState;
    let other: ClusterState;
    let lease: string;

    beforeEach(async () => {
      opened = await open();
      ({ state, other } = opened);
      lease = `lease-${randomUUID().slice(0, 8)}`;
    });
    afterEach(() => opened.close());

    const campaign = (who: Candidate, options: { ttlMs?: number; termFloor?: number } = {}) =>
      state.campaign({ lease, candidate: who, ttlMs: options.ttlMs ?? longMs, termFloor: options.termFloor ?? 0 });
    /** How often `other` hears of something while `work` runs, told by a signal that comes after all of it; earlier ones may still be on their way. */
    const heardDuring = (heard: () => number): ((work: () => Promise<unknown>) => Promise<number>) => {
      let marks = 0;
      let heardMark = '';
      other.onSignal('mark', (mark) => (heardMark = mark));
      return async (work) => {
        const before = heard();
        await work();
        const mark = String(++marks);
        await opened.until(() => heardMark === mark || (void state.signal('mark', mark), false));
        return heard() - before;
      };
    };
    const resign = (who: Candidate, term: number, options: { successor?: string; reservedMs?: number } = {}) =>
      state.resign({ lease, candidate: who, term, ...options });

    describe('leases', () => {
      test('a lease nobody ever held is unknown', async () => {
        expect(await state.lease(lease)).toBeUndefined();
        expect(await state.leaseHistory(lease, 10)).toEqual([]);
      });

      test('the first to campaign gets term 1, the next one waits and sees who holds it', async () => {
        expect(await campaign(a)).toEqual({ held: true, term: 1 });
        const answer = await other.campaign({ lease, candidate: b, ttlMs: longMs, termFloor: 0 });
        expect(answer).toMatchObject({ held: false, lease: { name: lease, term: 1, owner: a, waiting: ['node-b'] } });
        const { remainingMs } = (answer as { lease: Lease }).lease;
        expect(remainingMs).toBeGreaterThan(longMs - 5_000);
        expect(remainingMs).toBeLessThanOrEqual(longMs);
        expect(await state.leases()).toEqual([expect.objectContaining({ name: lease, term: 1, owner: a, waiting: ['node-b'] })]);
      });

      test('campaigning again renews under the same term: an answer that was lost does no harm', async () => {
        await campaign(a, { ttlMs: 1_000 });
        expect(await campaign(a, { ttlMs: longMs })).toEqual({ held: true, term: 1 });
        expect((await state.lease(lease))?.remainingMs).toBeGreaterThan(1_000);
        expect(await state.leaseHistory(lease, 10)).toHaveLength(1);
      });

      test('a restarted process does not inherit from its former incarnation', async () => {
        await campaign(a);
        expect(await campaign(candidate('node-a', 'second'))).toMatchObject({ held: false, lease: { owner: a } });
      });

      test('an expired lease goes to whoever asks, with the next term, and the history says it expired', async () => {
        await campaign(a, { ttlMs: shortMs });
        await opened.passTime(shortMs + 50);
        expect(await state.lease(lease)).toEqual({ name: lease, term: 1, owner: undefined, remainingMs: 0, waiting: [] });
        expect(await campaign(b)).toEqual({ held: true, term: 2 });
        const [running, ended] = await state.leaseHistory(lease, 10);
        expect(running).toEqual({ term: 2, owner: b, acquiredAtMs: expect.any(Number) });
        expect(ended).toEqual({ term: 1, owner: a, acquiredAtMs: expect.any(Number), endedAtMs: ended!.acquiredAtMs + shortMs, endReason: 'expired' });
        expect(running!.acquiredAtMs).toBeGreaterThanOrEqual(ended!.endedAtMs!);
      });

      test('the history shows an expired tenure as ended before anyone follows', async () => {
        await campaign(a, { ttlMs: shortMs });
        await opened.passTime(shortMs + 50);
        expect(await state.leaseHistory(lease, 10)).toEqual([expect.objectContaining({ term: 1, endReason: 'expired' })]);
      });

      test('a holder that comes back after its lease ran out begins a new term', async () => {
        await campaign(a, { ttlMs: shortMs });
        await opened.passTime(shortMs + 50);
        expect(await campaign(a)).toEqual({ held: true, term: 2 });
      });

      test('a waiting candidate is forgotten when it asks no more, and at once when it withdraws', async () => {
        await campaign(a);
        await campaign(b, { ttlMs: shortMs });
        await campaign(c);
        expect((await state.lease(lease))?.waiting).toEqual(['node-b', 'node-c']);
        await state.withdraw(lease, c);
        expect((await state.lease(lease))?.waiting).toEqual(['node-b']);
        await opened.passTime(shortMs + 50);
        expect((await state.lease(lease))?.waiting).toEqual([]);
      });

      test('resigning frees the lease; without anybody else waiting the resigner gets it back', async () => {
        await campaign(a);
        expect(await resign(a, 1)).toBe(true);
        expect(await state.lease(lease)).toMatchObject({ term: 1, owner: undefined, remainingMs: 0 });
        expect(await campaign(a)).toEqual({ held: true, term: 2 });
        expect((await state.leaseHistory(lease, 10))[1]).toMatchObject({ term: 1, owner: a, endReason: 'resigned' });
      });

      test('a resigner stays behind others who wait', async () => {
        await campaign(a);
        await campaign(b);
        await resign(a, 1);
        expect(await campaign(a)).toMatchObject({ held: false, lease: { owner: undefined, waiting: ['node-a', 'node-b'] } });
        expect(await campaign(b)).toEqual({ held: true, term: 2 });
        await resign(b, 2);
        expect(await campaign(a)).toEqual({ held: true, term: 3 });
      });

      test('a resigner gets it back once those who waited are forgotten', async () => {
        await campaign(a);
        await campaign(b, { ttlMs: shortMs });
        await resign(a, 1);
        expect(await campaign(a)).toMatchObject({ held: false });
        await opened.passTime(shortMs + 50);
        expect(await campaign(a)).toEqual({ held: true, term: 2 });
      });

      test('resigning a term that is not held does nothing', async () => {
        expect(await resign(a, 1)).toBe(false);
        await campaign(a);
        expect(await resign(b, 1)).toBe(false);
        expect(await resign(a, 2)).toBe(false);
        expect(await resign(candidate('node-a', 'second'), 1)).toBe(false);
        expect(await resign(a, 1)).toBe(true);
        expect(await resign(a, 1)).toBe(false);
        expect((await state.lease(lease))?.term).toBe(1);
      });

      test('a handed-over lease is kept for its successor', async () => {
        await campaign(a);
        await campaign(b);
        expect(await resign(a, 1, { successor: 'node-c', reservedMs: longMs })).toBe(true);
        expect(await campaign(b)).toMatchObject({ held: false, lease: { owner: undefined } });
        expect(await campaign(a)).toMatchObject({ held: false });
        expect(await campaign(c)).toEqual({ held: true, term: 2 });
        expect((await state.leaseHistory(lease, 10))[1]).toMatchObject({ term: 1, endReason: 'handed over' });
        await resign(c, 2);
        expect(await campaign(b)).toEqual({ held: true, term: 3 });
      });

      test('a successor that does not come loses its reservation', async () => {
        await campaign(a);
        await resign(a, 1, { successor: 'node-c', reservedMs: shortMs });
        expect(await campaign(b)).toMatchObject({ held: false });
        await opened.passTime(shortMs + 50);
        expect(await campaign(b)).toEqual({ held: true, term: 2 });
      });

      test('a reservation outlasts an owner that died', async () => {
        await campaign(a, { ttlMs: shortMs });
        await campaign(b);
        await state.reserve(lease, 'node-c', longMs);
        await opened.passTime(shortMs + 50);
        expect(await campaign(b)).toMatchObject({ held: false, lease: { owner: undefined } });
        expect(await campaign(c)).toEqual({ held: true, term: 2 });
      });

      test('a reservation does not touch an owner that renews', async () => {
        await campaign(a);
        await state.reserve(lease, 'node-c', longMs);
        expect(await campaign(a)).toEqual({ held: true, term: 1 });
      });

      test('a term floor above the stored term carries the term over a store that forgot', async () => {
        expect(await campaign(a, { termFloor: 41 })).toEqual({ held: true, term: 42 });
        expect(await campaign(a, { termFloor: 42 })).toEqual({ held: true, term: 42 });
      });

      test('the floor of a candidate that waits counts for whoever comes next', async () => {
        await campaign(a);
        await campaign(b, { termFloor: 7 });
        await resign(a, 1);
        expect(await campaign(c)).toEqual({ held: true, term: 8 });
      });

      test('a holder whose term has been outlived by terms the store forgot gets a new one', async () => {
        await campaign(a);
        expect(await campaign(a, { termFloor: 5 })).toEqual({ held: true, term: 6 });
        expect((await state.leaseHistory(lease, 10)).map(({ term, endReason }) => [term, endReason])).toEqual([
          [6, undefined],
          [1, 'expired'],
        ]);
        await campaign(b, { termFloor: 9 });
        expect(await campaign(a, { termFloor: 6 })).toEqual({ held: true, term: 10 });
      });

      test('of 100 simultaneous campaigns exactly one gets the lease', async () => {
        const answers = await Promise.all(
          Array.from({ length: 100 }, (_, index) =>
            (index % 2 ? state : other).campaign({ lease, candidate: candidate(`n${index}`), ttlMs: longMs, termFloor: 0 }),
          ),
        );
        expect(answers.filter(({ held }) => held)).toEqual([{ held: true, term: 1 }]);
        expect((await state.lease(lease))?.waiting).toHaveLength(99);
      });

      test('the history keeps the last 1000 tenures, newest first', async () => {
        for (let term = 1; term <= 1_005; term++) {
          expect(await campaign(a)).toEqual({ held: true, term });
          await resign(a, term);
        }
        const history = await state.leaseHistory(lease, 5_000);
        expect(history).toHaveLength(1_000);
        expect(history.map(({ term }) => term)).toEqual(Array.from({ length: 1_000 }, (_, index) => 1_005 - index));
        expect(await state.leaseHistory(lease, 2)).toEqual(history.slice(0, 2));
      });

      test('those who watch a lease hear of taking, resigning and reserving, not of renewing and waiting', async () => {
        let heard = 0;
        const unsubscribe = other.watch(`lease:${lease}`, () => heard++);
        const count = heardDuring(() => heard);
        await count(async () => {}); // What a new subscription is told about may arrive until here.
        expect(await count(() => campaign(a))).toBe(1);
        expect(await count(() => campaign(a))).toBe(0);
        expect(await count(() => campaign(b))).toBe(0);
        expect(await count(() => state.reserve(lease, 'node-b', 10))).toBe(1);
        expect(await count(() => resign(a, 1))).toBe(1);
        unsubscribe();
        expect(await count(() => campaign(b))).toBe(0);
      });
    });

    describe('nodes', () => {
      test('a node is registered as it described itself, for everyone', async () => {
        const record = node('n1', { resourceError: 'OUT_OF_DISK' });
        await state.heartbeat(record, longMs);
        await state.heartbeat(node('n0'), longMs);
        expect(await other.nodes()).toEqual([node('n0'), record]);
      });

      test('a heartbeat refreshes record and time; without one the node goes', async () => {
        await state.heartbeat(node('n1'), shortMs);
        await state.heartbeat(node('n2'), shortMs);
        await state.heartbeat(node('n2', { state: 'stopping', outstandingRequests: 9 }), longMs);
        await opened.passTime(shortMs + 50);
        expect(await state.nodes()).toEqual([node('n2', { state: 'stopping', outstandingRequests: 9 })]);
        await state.heartbeat(node('n1'), longMs);
        expect((await state.nodes()).map(({ id }) => id)).toEqual(['n1', 'n2']);
      });

      test('a heartbeat answers the committed revision, and whose place it took when another incarnation is live', async () => {
        const [first, second] = [node('n1'), node('n1', { incarnation: 'n1-2', host: '10.0.0.9' })];
        expect(await state.heartbeat(first, longMs)).toEqual({ revision: 0 });
        expect(await state.heartbeat(first, longMs)).toEqual({ revision: 0 });
        expect(await state.heartbeat(second, longMs)).toEqual({ revision: 0, replaced: first });
        expect(await state.heartbeat(first, shortMs)).toEqual({ revision: 0, replaced: second });
        await state.writeDocument({ key: 'd', value: '1', expectedVersion: 0, requestId: 'r' });
        await opened.passTime(shortMs + 50);
        expect(await state.heartbeat(second, longMs)).toEqual({ revision: 1 });
        expect(await state.heartbeat(node('n2'), longMs)).toEqual({ revision: 1 });
      });

      test('a node leaves at once, but not on behalf of its next incarnation', async () => {
        await state.heartbeat(node('n1'), longMs);
        await state.heartbeat(node('n1', { incarnation: 'second' }), longMs);
        await state.deregister('n1', 'n1-1');
        expect(await state.nodes()).toHaveLength(1);
        await state.deregister('n1', 'second');
        await state.deregister('n1', 'second');
        expect(await state.nodes()).toEqual([]);
      });

      test('those who watch the registry hear of joins, changes and leaves, not of figures', async () => {
        let heard = 0;
        other.watch('nodes', () => heard++);
        const heardAfter = heardDuring(() => heard);
        await heardAfter(async () => {});
        expect(await heardAfter(() => state.heartbeat(node('n1'), longMs))).toBe(1);
        expect(await heardAfter(() => state.heartbeat(node('n1', { outstandingRequests: 77, appliedRevision: 9 }), longMs))).toBe(0);
        expect(await heardAfter(() => state.heartbeat(node('n1', { state: 'stopping' }), longMs))).toBe(1);
        expect(await heardAfter(() => state.deregister('n1', 'n1-1'))).toBe(1);
      });
    });

    describe('documents', () => {
      const write = (value: string, expectedVersion: number, requestId: string = randomUUID()) =>
        state.writeDocument({ key: 'settings', value, expectedVersion, requestId });

      test('a document that was never written is absent', async () => {
        expect(await state.readDocument('settings')).toEqual({ document: undefined, revision: 0 });
      });

      test('a write replaces the version it was made for, and only that', async () => {
        expect(await write('{"ä":"\\n💾"}', 0)).toEqual({ written: true, version: 1, revision: 1 });
        expect(await other.readDocument('settings')).toEqual({ document: { version: 1, value: '{"ä":"\\n💾"}' }, revision: 1 });
        expect(await write('late', 0)).toEqual({ written: false, version: 1 });
        expect(await write('two', 1)).toEqual({ written: true, version: 2, revision: 2 });
        expect(await write('too far', 7)).toEqual({ written: false, version: 2 });
        expect((await state.readDocument('settings')).document?.value).toBe('two');
      });

      test('all documents can be read at once, each with its version', async () => {
        expect(await state.documents()).toEqual([]);
        await state.writeDocument({ key: 'tables/of:b', value: 'b', expectedVersion: 0, requestId: 'r' });
        await write('one', 0);
        await write('two', 1);
        await write('refused', 7);
        expect(await other.documents()).toEqual([
          { key: 'settings', version: 2, value: 'two' },
          { key: 'tables/of:b', version: 1, value: 'b' },
        ]);
      });

      test('an empty text is a document', async () => {
        await write('', 0);
        expect((await state.readDocument('settings')).document).toEqual({ version: 1, value: '' });
      });

      test('the revision counts the writes of all documents', async () => {
        await write('one', 0);
        expect(await state.writeDocument({ key: 'keys', value: 'k', expectedVersion: 0, requestId: 'r' })).toMatchObject({ version: 1, revision: 2 });
        expect((await state.readDocument('settings')).revision).toBe(2);
      });

      test('the same request again reports the first success, even after others have written', async () => {
        const first = await write('one', 0, 'request-1');
        expect(await write('one', 0, 'request-1')).toEqual(first);
        await write('two', 1);
        expect(await write('one', 0, 'request-1')).toEqual(first);
        expect((await state.readDocument('settings')).document).toEqual({ version: 2, value: 'two' });
        expect(await write('one', 0, 'request-2')).toEqual({ written: false, version: 2 });
      });

      test('of 20 simultaneous writers exactly one succeeds', async () => {
        const answers = await Promise.all(Array.from({ length: 20 }, (_, index) => write(`by ${index}`, 0)));
        expect(answers.filter(({ written }) => written)).toHaveLength(1);
      });

      test('those who watch a document hear of its writes', async () => {
        let heard = 0;
        other.watch('document:settings', () => heard++);
        let ready = false;
        other.onSignal('ready', () => {
          ready = true;
        });
        await opened.until(() => ready || (void state.signal('ready', ''), false));
        const before = heard;
        await write('one', 0);
        await opened.until(() => heard > before);
      });
    });

    describe('signals', () => {
      test('a signal reaches every listener of its topic with its text', async () => {
        const heard: string[] = [];
        other.onSignal('t', (payload) => heard.push(`first ${payload}`));
        state.onSignal('t', (payload) => heard.push(`second ${payload}`));
        other.onSignal('u', (payload) => heard.push(`wrong ${payload}`));
        await opened.until(() => heard.length >= 2 || (void state.signal('t', 'häl\nlo'), false));
        expect(new Set(heard)).toEqual(new Set(['first häl\nlo', 'second häl\nlo']));
      });

      test('a listener that throws keeps nobody else from hearing', async () => {
        const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
        let heard = false;
        other.onSignal('t', () => {
          throw new Error('listener broke');
        });
        other.onSignal('t', () => {
          heard = true;
        });
        await opened.until(() => heard || (void state.signal('t', ''), false));
        expect(warn.mock.calls[0]).toEqual([expect.stringContaining('listener broke'), 'ListenerError']);
        warn.mockRestore();
      });
    });

    describe('limits', () => {
      test('what is too long, too big or no name at all is refused as the mistake it is', async () => {
        const mistakes: (() => Promise<unknown>)[] = [
          () => state.campaign({ lease: 'no spaces', candidate: a, ttlMs: longMs, termFloor: 0 }),
          () => state.campaign({ lease: 'l', candidate: a, ttlMs: 0, termFloor: 0 }),
          () => state.campaign({ lease: 'l', candidate: a, ttlMs: longMs, termFloor: -1 }),
          () => state.campaign({ lease: 'l', candidate: candidate('x'.repeat(65)), ttlMs: longMs, termFloor: 0 }),
          () => state.reserve('l', 'node\nb', longMs),
          () => state.leaseHistory('l', 0),
          () => state.heartbeat(node('n1', { labels: { big: 'x'.repeat(17_000) } }), longMs),
          () => state.heartbeat(node('n1'), Number.NaN),
          () => state.writeDocument({ key: 'd', value: 'x'.repeat(1_048_577), expectedVersion: 0, requestId: 'r' }),
          () => state.writeDocument({ key: 'd}{', value: '', expectedVersion: 0, requestId: 'r' }),
          () => state.signal('t', 'x'.repeat(65_537)),
        ];
        for (const mistake of mistakes) await expect(mistake()).rejects.toThrow(RangeError);
        expect(state.availability().available).toBe(true);
      });

      test('the biggest document and signal allowed go through', async () => {
        const value = 'x'.repeat(1_048_576);
        await state.writeDocument({ key: 'big', value, expectedVersion: 0, requestId: 'r' });
        expect((await other.readDocument('big')).document?.value).toBe(value);
        await state.signal('t', 'x'.repeat(65_536));
      });
    });

    test('it says that it is there, and after closing that it is not', async () => {
      expect(state.availability()).toEqual({ available: true, sinceMs: expect.any(Number), reason: '' });
      expect(state.pendingOperations()).toBe(0);
      await state.close();
      await expect(state.nodes()).rejects.toMatchObject({ code: 'CLUSTER_STATE_UNAVAILABLE' });
    });
  });
}
