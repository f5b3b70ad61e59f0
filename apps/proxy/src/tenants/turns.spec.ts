import { expect, test } from '@jest/globals';
import type { ErrPacket } from '@binnacle/mysql-wire/err-packet';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { type Turn, Turns, type TurnLimit, type TurnLimits } from './turns.js';

const free: TurnLimits = { perSecond: Infinity, burst: Infinity, concurrent: Infinity, queueMax: 10, queueWaitMs: 1_000 };

function turns(limits: Partial<TurnLimits>) {
  const clock = new FakeClock();
  const refused: TurnLimit[] = [];
  const under = new Turns(clock, { ...free, ...limits }, (limit) => {
    refused.push(limit);
    return { code: 1226, sqlState: '42000', message: limit };
  });
  const granted: string[] = [];
  /** 'now', 'no', or a turn whose end is written into `granted`. */
  const begin = (name: string, inTransaction = false): 'now' | 'no' | Turn => {
    const answer = under.begin(inTransaction, () => granted.push(name));
    return answer === undefined ? 'now' : 'done' in answer ? answer : 'no';
  };
  return { clock, under, refused, granted, begin };
}

const outcome = (turn: 'now' | 'no' | Turn): Promise<ErrPacket | undefined> => (turn as Turn).done;

test('so many at the same time, the rest in the order they came', async () => {
  const { under, granted, begin } = turns({ concurrent: 2 });
  expect([begin('a'), begin('b')]).toEqual(['now', 'now']);
  const waiting = [begin('c'), begin('d')];
  expect([under.running, under.waiting]).toEqual([2, 2]);
  under.end();
  expect(granted).toEqual(['c']);
  expect(await outcome(waiting[0]!)).toBeUndefined();
  under.end();
  expect(granted).toEqual(['c', 'd']);
  expect(under.running).toBe(2);
});

test('who comes last waits, however free it is just then', async () => {
  const { clock, granted, begin } = turns({ perSecond: 10, burst: 1 });
  expect(begin('a')).toBe('now');
  begin('b');
  await clock.advance(50);
  begin('c');
  expect(granted).toEqual([]);
  await clock.advance(50);
  expect(granted).toEqual(['b']);
  await clock.advance(100);
  expect(granted).toEqual(['b', 'c']);
});

test('a burst goes through at once and comes back with time, never more of it', async () => {
  const { clock, begin } = turns({ perSecond: 5, burst: 3, queueMax: 0 });
  expect(['a', 'b', 'c', 'd'].map((name) => begin(name))).toEqual(['now', 'now', 'now', 'no']);
  await clock.advance(200);
  expect([begin('e'), begin('f')]).toEqual(['now', 'no']);
  await clock.advance(3_600_000);
  expect(['g', 'h', 'i', 'j'].map((name) => begin(name))).toEqual(['now', 'now', 'now', 'no']);
});

test('a rate holds over a long time, under pressure', async () => {
  const { clock, granted, begin } = turns({ perSecond: 20, burst: 1, queueMax: 5, queueWaitMs: 10_000 });
  let atOnce = 0;
  for (let ms = 0; ms < 10_000; ms += 5) {
    if (begin(`at ${ms}`) === 'now') atOnce++;
    await clock.advance(5);
  }
  expect(atOnce + granted.length).toBeGreaterThanOrEqual(195);
  expect(atOnce + granted.length).toBeLessThanOrEqual(202);
});

test('the line has an end, and the wait in it too', async () => {
  const { clock, under, refused, begin } = turns({ concurrent: 1, queueMax: 1, queueWaitMs: 300 });
  begin('a');
  const waiting = begin('b');
  expect(begin('c')).toBe('no');
  expect(refused).toEqual(['concurrent_queries']);
  await clock.advance(299);
  expect(under.waiting).toBe(1);
  await clock.advance(1);
  expect(await outcome(waiting)).toMatchObject({ code: 1226 });
  expect([under.running, under.waiting]).toEqual([1, 0]);
});

test('a client that goes leaves the line, and those behind it move up', async () => {
  const { under, refused, granted, begin } = turns({ concurrent: 1 });
  begin('a');
  const [gone] = [begin('b') as Turn, begin('c')];
  gone.cancel();
  expect(under.waiting).toBe(1);
  expect(await gone.done).toBeDefined();
  expect(refused).toEqual([]);
  under.end();
  expect(granted).toEqual(['c']);
  gone.cancel();
  expect(under.running).toBe(1);
});

test('a transaction does not wait for those who wait for its locks, and its statements count', async () => {
  const { clock, under, granted, begin } = turns({ perSecond: 10, burst: 1, concurrent: 1, queueWaitMs: 60_000 });
  expect(begin('a')).toBe('now');
  begin('b');
  expect([begin('t', true), begin('t', true)]).toEqual(['now', 'now']);
  expect(under.running).toBe(3);
  for (let statement = 0; statement < 3; statement++) under.end();
  // One token of the burst is owed, no more, so the next comes after two.
  await clock.advance(199);
  expect(granted).toEqual([]);
  await clock.advance(1);
  expect(granted).toEqual(['b']);
});

test('new limits count for those who wait', async () => {
  const { under, granted, begin } = turns({ concurrent: 1 });
  begin('a');
  begin('b');
  under.limit({ ...free, concurrent: 2 });
  expect(granted).toEqual(['b']);
  begin('c');
  under.limit(free);
  expect(granted).toEqual(['b', 'c']);
});
