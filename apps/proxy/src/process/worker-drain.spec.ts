import { expect, test } from '@jest/globals';
import { StatusFlag } from '@binnacle/mysql-wire/status-flags';
import { FakeClock } from '@binnacle/testing/fake-clock';
import type { Session } from '../session/session.js';
import { HeldSessions } from './held-sessions.js';
import { WorkerDrain } from './worker-drain.js';

/** Sessions that say of themselves what a drain asks, and go at once when they are closed. */
function held(...statuses: { phase?: string; answered: number; loggedIn: number }[]): HeldSessions {
  const sessions = new HeldSessions();
  for (const [id, { phase = 'idle', answered, loggedIn }] of statuses.entries()) {
    const session = { id, phase, responses: { tracker: { statusFlags: answered } }, backend: { backend: { id: 'b:1' }, statusFlags: loggedIn }, close: () => sessions.remove(id) };
    sessions.add(session as unknown as Session, 'writer');
  }
  return sessions;
}

test('sessions outside a transaction end at once, those that were never answered too; the others are cut at the deadline', async () => {
  const clock = new FakeClock();
  const { autocommit, inTransaction } = StatusFlag;
  const sessions = held(
    { answered: -1, loggedIn: autocommit },
    { answered: autocommit, loggedIn: autocommit },
    { answered: -1, loggedIn: inTransaction },
    { answered: inTransaction, loggedIn: autocommit },
    { phase: 'busy', answered: autocommit, loggedIn: autocommit },
  );
  const cuts: number[] = [];
  new WorkerDrain({ clock, sessions, logins: () => 0, drained: (cut) => void cuts.push(cut) }).start(1_000);
  expect([...sessions.all()].map(({ session }) => session.id)).toEqual([2, 3, 4]);
  await clock.advance(999);
  expect([sessions.size, cuts]).toEqual([3, []]);
  await clock.advance(20);
  expect([sessions.size, cuts]).toEqual([0, [3]]);
});
