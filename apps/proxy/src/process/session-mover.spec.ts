import { expect, test } from '@jest/globals';
import { FakeClock } from '@binnacle/testing/fake-clock';
import type { ScoredBackend } from '../backends/backend.js';
import { Router } from '../balance/router.js';
import type { MoveResult } from '../migration/migrate.js';
import { moveBlocker, type MoveBlocker } from '../migration/move-blocker.js';
import type { Session } from '../session/session.js';
import { type HeldSession, HeldSessions } from './held-sessions.js';
import { SessionMover } from './session-mover.js';
import type { MoveOutcome } from './worker-protocol.js';

const backend = (id: string, more: Partial<ScoredBackend> = {}): ScoredBackend => ({
  id, host: id, port: 1, cluster: 'default', kind: 'mariadb', healthy: true, reason: '', draining: false, readOnly: false, group: 'g', labels: {}, score: 0, scoreBeforeSessions: 0, ...more,
});
const backends = [backend('a'), backend('b'), backend('elsewhere', { group: 'other' }), backend('sick', { healthy: false, reason: 'refused' })];
const moved: MoveResult = { result: 'moved', why: [], pauseMs: 4 };

function described(result: MoveResult = moved) {
  const clock = new FakeClock();
  const router = new Router();
  router.update({ version: 1, routingPolicy: 'prefer-idle', backends });
  const sessions = new HeldSessions();
  const attempts: number[] = [];
  const outcomes: MoveOutcome[] = [];
  const pending: (() => void)[] = [];
  const mover = new SessionMover({
    clock,
    sessions,
    router,
    attempt: (held: HeldSession) => {
      attempts.push(held.session.id);
      return new Promise((resolve) => pending.push(() => resolve(result)));
    },
    measured: () => {},
    report: (outcome) => void outcomes.push(outcome),
  });
  const add = (id: number, phase = 'idle', why: readonly MoveBlocker[] = []): void =>
    void sessions.add({ id, phase, why: () => why, backend: { backend: backends[0] } } as unknown as Session, 'writer');
  const finish = async (): Promise<void> => {
    while (pending.length > 0) {
      pending.shift()!();
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return { clock, sessions, attempts, outcomes, mover, add, finish };
}

const order = { from: 'a', to: 'b', role: 'writer', reason: 'drain' } as const;

test('idle sessions go before busy ones, and those that cannot move rest instead of being picked again', async () => {
  const { clock, sessions, attempts, outcomes, mover, add, finish } = described();
  add(1, 'busy');
  add(2, 'idle', [moveBlocker('temporary-table')]);
  add(3);
  add(4);
  mover.order({ ...order, count: 2 });
  expect(attempts).toEqual([3, 4]);
  expect(sessions.counts(clock.monotonicMs())).toEqual(
    expect.arrayContaining([expect.objectContaining({ backend: 'a', sessions: 4, leaving: 2, resting: 1 }), expect.objectContaining({ backend: 'b', arriving: 2 })]),
  );
  await finish();
  expect(outcomes.map(({ sessionId, result, reason }) => [sessionId, result, reason])).toEqual([[3, 'moved', 'drain'], [4, 'moved', 'drain']]);
});

test('one that failed rests for three seconds', async () => {
  const { clock, attempts, mover, add, finish } = described({ result: 'failed', why: [{ code: 'login', text: 'error 1045' }], pauseMs: 0 });
  add(1);
  mover.order({ ...order, count: 1 });
  await finish();
  mover.order({ ...order, count: 1 });
  await clock.advance(2_999);
  mover.order({ ...order, count: 1 });
  expect(attempts).toEqual([1]);
  await clock.advance(1);
  mover.order({ ...order, count: 1 });
  expect(attempts).toEqual([1, 1]);
  await finish();
});

test('only so many move at a time; the others wait, and one that ended meanwhile is lost', async () => {
  const { sessions, attempts, outcomes, mover, add, finish } = described();
  for (let id = 1; id <= 40; id++) add(id);
  mover.order({ ...order, count: 40 });
  expect(attempts).toHaveLength(32);
  sessions.remove(40);
  await finish();
  expect(attempts).toHaveLength(39);
  expect(outcomes.filter(({ result }) => result === 'lost').map(({ sessionId }) => sessionId)).toEqual([40]);
});

test('what a person wishes is refused with exactly why', async () => {
  const { attempts, mover, add, finish } = described();
  add(1);
  const why = async (to: string): Promise<unknown> => (await mover.one(1, to, 'api'))?.why[0]?.code;
  expect(await Promise.all(['nowhere', 'a', 'sick', 'elsewhere'].map(why))).toEqual(['unknown-backend', 'same-backend', 'unhealthy', 'not-equivalent']);
  expect(await mover.one(2, undefined, 'api')).toBeUndefined();
  const best = mover.one(1, undefined, 'api');
  expect((await mover.one(1, 'b', 'api'))?.why).toEqual([{ code: 'moving', text: 'the session is on its way to b already' }]);
  await finish();
  expect(await best).toMatchObject({ result: 'moved', from: 'a', to: 'b', pauseMs: 4 });
  expect(attempts).toEqual([1]);
});
