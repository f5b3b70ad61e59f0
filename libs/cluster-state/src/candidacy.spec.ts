import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { candidate } from '../test/cluster-state.contract.js';
import { openStore, type FlakyState } from '../test/flaky-state.js';
import { Candidacy } from './candidacy.js';

const ttlMs = 3_000;
const marginMs = ttlMs / 10;

let opened: ReturnType<typeof openStore>;
beforeEach(() => {
  opened = openStore();
});
afterEach(() => opened.close());

interface Runner {
  readonly line: FlakyState;
  readonly candidacy: Candidacy;
  /** What `onChange` said, in order. */
  readonly changes: (number | undefined)[];
}

function run(nodeId: string): Runner {
  const line = opened.line();
  const candidacy = new Candidacy(line.state, opened.clock, { lease: 'leader', candidate: candidate(nodeId), ttlMs });
  const changes: (number | undefined)[] = [];
  candidacy.onChange((term) => changes.push(term));
  candidacy.start();
  return { line, candidacy, changes };
}

describe('taking and keeping', () => {
  test('the only candidate owns at once and keeps the same term by renewing every third of the ttl', async () => {
    const a = run('a');
    await opened.clock.advance(0);
    expect(a.candidacy.isOwner()).toBe(true);
    expect(a.candidacy.term()).toBe(1);
    await opened.clock.advance(60_000);
    expect(a.changes).toEqual([1]);
    expect(a.line.count('campaign')).toBe(1 + 60);
  });

  test('a second candidate waits and does not own', async () => {
    const a = run('a');
    await opened.clock.advance(0);
    const b = run('b');
    await opened.clock.advance(20_000);
    expect(a.candidacy.term()).toBe(1);
    expect(b.candidacy.isOwner()).toBe(false);
    expect(b.changes).toEqual([]);
    expect((await opened.store.lease('leader'))?.waiting).toEqual(['b']);
  });

  test('steps of the wall clock move nothing', async () => {
    const a = run('a');
    await opened.clock.advance(0);
    opened.clock.stepWallClock(3_600_000);
    await opened.clock.advance(ttlMs);
    opened.clock.stepWallClock(-7_200_000);
    await opened.clock.advance(10 * ttlMs);
    expect(a.changes).toEqual([1]);
  });
});

describe('losing', () => {
  test('cut off, the owner stops at ttl minus margin after its last renewal was sent, before another can begin', async () => {
    const a = run('a');
    await opened.clock.advance(0);
    const b = run('b');
    await opened.clock.advance(0);
    a.line.goAway();
    await opened.clock.advance(ttlMs - marginMs - 1);
    expect(a.candidacy.isOwner()).toBe(true);
    await opened.clock.advance(1);
    expect(a.candidacy.isOwner()).toBe(false);
    expect(a.changes).toEqual([1, undefined]);
    expect(b.candidacy.isOwner()).toBe(false);
    await opened.clock.advance(marginMs + 1_000);
    expect(b.changes).toEqual([2]);
  });

  test('failover happens within the ttl and a second', async () => {
    const a = run('a');
    const b = run('b');
    await opened.clock.advance(10_000);
    expect(a.candidacy.isOwner()).toBe(true);
    a.line.goAway();
    let tookMs = 0;
    for (; !b.candidacy.isOwner() && tookMs < 60_000; tookMs += 10) await opened.clock.advance(10);
    expect(tookMs).toBeLessThanOrEqual(ttlMs + 1_000);
    expect(b.candidacy.term()).toBe(2);
  });

  test('a process that was stopped past its lease knows before any of its timers or answers has run', async () => {
    const a = run('a');
    await opened.clock.advance(0);
    opened.clock.freezeFor(ttlMs);
    expect(a.candidacy.isOwner()).toBe(false);
    expect(a.candidacy.term()).toBeUndefined();
    expect(await a.candidacy.resign()).toBe(false);
  });

  test('a process stopped past its lease hears of the loss before it hears of a new term', async () => {
    const a = run('a');
    await opened.clock.advance(0);
    opened.clock.freezeFor(ttlMs + 1);
    await opened.clock.advance(0);
    expect(a.changes).toEqual([1, undefined, 2]);
  });

  test('an answer that comes after the time it is good for makes nobody the owner', async () => {
    const line = opened.line();
    const candidacy = new Candidacy(line.state, opened.clock, { lease: 'leader', candidate: candidate('a'), ttlMs });
    line.holdAnswers();
    candidacy.start();
    await opened.clock.advance(ttlMs - marginMs);
    line.releaseAnswers();
    line.holdAnswers();
    await opened.clock.advance(0);
    expect(candidacy.isOwner()).toBe(false);
    line.releaseAnswers();
    await opened.clock.advance(0);
    expect(candidacy.isOwner()).toBe(true);
  });

  test('a lost answer is asked for again, and the term is the same', async () => {
    const line = opened.line();
    line.loseNextAnswer();
    const candidacy = new Candidacy(line.state, opened.clock, { lease: 'leader', candidate: candidate('a'), ttlMs });
    candidacy.start();
    await opened.clock.advance(ttlMs / 3);
    expect(candidacy.term()).toBe(1);
    line.loseNextAnswer();
    await opened.clock.advance(2 * ttlMs);
    expect(candidacy.term()).toBe(1);
    expect(await opened.store.leaseHistory('leader', 10)).toHaveLength(1);
  });

  test('when the line is back the candidate asks at once', async () => {
    const a = run('a');
    await opened.clock.advance(0);
    a.line.goAway();
    await opened.clock.advance(10 * ttlMs);
    expect(a.candidacy.isOwner()).toBe(false);
    a.line.comeBack();
    await opened.clock.advance(0);
    expect(a.candidacy.term()).toBe(2);
  });

  test('a hint that comes while a campaign fails waits for the timer, so that nothing can turn in a circle', async () => {
    const line = opened.line();
    const candidacy = new Candidacy(line.state, opened.clock, { lease: 'leader', candidate: candidate('a'), ttlMs });
    line.loseNextAnswer();
    line.holdAnswers();
    candidacy.start();
    await opened.store.reserve('leader', 'b', 1); // Tells those who watch the lease.
    await opened.clock.advance(0);
    line.releaseAnswers();
    await opened.clock.advance(ttlMs / 10 - 1);
    expect(line.count('campaign')).toBe(1);
    await opened.clock.advance(1);
    expect(line.count('campaign')).toBe(2);
  });

  test('a term that was taken back and given anew is told as a loss and a gain', async () => {
    const a = run('a');
    await opened.clock.advance(0);
    await opened.store.campaign({ lease: 'leader', candidate: candidate('b'), ttlMs, termFloor: 6 });
    await opened.clock.advance(ttlMs / 3);
    expect(a.changes).toEqual([1, undefined, 7]);
  });
});

describe('resigning', () => {
  test('the resigner stops first, the one that waits takes over at once, and the resigner waits again', async () => {
    const a = run('a');
    await opened.clock.advance(0);
    const b = run('b');
    await opened.clock.advance(0);
    a.line.holdAnswers();
    const resigned = a.candidacy.resign();
    expect(a.candidacy.isOwner()).toBe(false);
    expect(a.changes).toEqual([1, undefined]);
    a.line.releaseAnswers();
    await opened.clock.advance(0);
    expect(await resigned).toBe(true);
    expect(b.candidacy.term()).toBe(2);
    await b.candidacy.resign();
    await opened.clock.advance(0);
    expect(a.changes).toEqual([1, undefined, 3]);
  });

  test('a candidate that does not own cannot resign', async () => {
    run('a');
    await opened.clock.advance(0);
    const b = run('b');
    await opened.clock.advance(0);
    expect(await b.candidacy.resign()).toBe(false);
    expect(b.line.count('resign')).toBe(0);
  });

  test('a hand-over goes to the successor alone', async () => {
    const a = run('a');
    await opened.clock.advance(0);
    const [b, c] = [run('b'), run('c')];
    await opened.clock.advance(0);
    await a.candidacy.resign({ successor: 'c', reservedMs: 5_000 });
    await opened.clock.advance(0);
    expect(b.candidacy.isOwner()).toBe(false);
    expect(c.candidacy.term()).toBe(2);
  });

  test('the only candidate that resigns gets the lease back under the next term', async () => {
    const a = run('a');
    await opened.clock.advance(0);
    await a.candidacy.resign();
    await opened.clock.advance(0);
    expect(a.changes).toEqual([1, undefined, 2]);
  });

  test('a renewal under way when it resigns does not make it the owner again', async () => {
    const a = run('a');
    await opened.clock.advance(0);
    run('b');
    await opened.clock.advance(0);
    a.line.holdAnswers();
    await opened.clock.advance(ttlMs / 3); // The renewal has reached the store, its answer waits.
    const resigned = a.candidacy.resign();
    a.line.releaseAnswers();
    await opened.clock.advance(0);
    expect(await resigned).toBe(true);
    expect(a.candidacy.isOwner()).toBe(false);
    expect(a.changes).toEqual([1, undefined]);
  });

  test('a renewal whose answer hangs does not hold the resignation up, and its late answer changes nothing', async () => {
    const a = run('a');
    await opened.clock.advance(0);
    const b = run('b');
    await opened.clock.advance(0);
    const release = a.line.delayNextAnswer();
    await opened.clock.advance(ttlMs / 3);
    expect(await a.candidacy.resign()).toBe(true);
    await opened.clock.advance(0);
    expect(b.candidacy.term()).toBe(2);
    release();
    await opened.clock.advance(0);
    expect(a.changes).toEqual([1, undefined]);
    await opened.clock.advance(ttlMs);
    expect((await opened.store.lease('leader'))?.waiting).toEqual(['a']);
  });

  test('resigning with the store away stops acting and throws; the candidacy goes on', async () => {
    const a = run('a');
    await opened.clock.advance(0);
    a.line.goAway();
    await expect(a.candidacy.resign()).rejects.toMatchObject({ code: 'CLUSTER_STATE_UNAVAILABLE' });
    expect(a.candidacy.isOwner()).toBe(false);
    a.line.comeBack();
    await opened.clock.advance(0);
    expect(a.candidacy.isOwner()).toBe(true);
  });
});

test('without messages a waiting candidate still takes over a resigned lease within a third of the ttl', async () => {
  const a = run('a');
  await opened.clock.advance(0);
  const b = run('b');
  b.line.loseMessages();
  await opened.clock.advance(0);
  await a.candidacy.resign();
  await opened.clock.advance(0);
  expect(b.candidacy.isOwner()).toBe(false);
  await opened.clock.advance(ttlMs / 3);
  expect(b.candidacy.isOwner()).toBe(true);
});

describe('stopping', () => {
  test('an owner that stops resigns and campaigns no more', async () => {
    const a = run('a');
    await opened.clock.advance(0);
    const b = run('b');
    await opened.clock.advance(0);
    await a.candidacy.stop();
    await opened.clock.advance(0);
    expect(a.changes).toEqual([1, undefined]);
    expect(b.candidacy.term()).toBe(2);
    const sent = a.line.calls.length;
    await opened.clock.advance(10 * ttlMs);
    expect(a.line.calls).toHaveLength(sent);
  });

  test('one that waited is forgotten at once', async () => {
    run('a');
    await opened.clock.advance(0);
    const b = run('b');
    await opened.clock.advance(0);
    await b.candidacy.stop();
    expect((await opened.store.lease('leader'))?.waiting).toEqual([]);
  });

  test('a lease that arrives while stopping is given back', async () => {
    const line = opened.line();
    const candidacy = new Candidacy(line.state, opened.clock, { lease: 'leader', candidate: candidate('a'), ttlMs });
    line.holdAnswers();
    candidacy.start();
    await opened.clock.advance(0);
    const stopped = candidacy.stop();
    line.releaseAnswers();
    await stopped;
    expect(candidacy.isOwner()).toBe(false);
    expect(await opened.store.lease('leader')).toMatchObject({ term: 1, owner: undefined });
  });

  test('with the store away it stops all the same, and leaves no timer behind', async () => {
    const a = run('a');
    await opened.clock.advance(0);
    a.line.goAway();
    await a.candidacy.stop();
    expect(a.candidacy.isOwner()).toBe(false);
    expect(opened.clock.timerCount()).toBe(0);
  });
});

test('a ttl or a name that the store would refuse is refused at once', () => {
  const line = opened.line();
  const make = (lease: string, ttl: number) => () => new Candidacy(line.state, opened.clock, { lease, candidate: candidate('a'), ttlMs: ttl });
  expect(make('leader', 0)).toThrow(RangeError);
  expect(make('not a name', ttlMs)).toThrow(RangeError);
});
