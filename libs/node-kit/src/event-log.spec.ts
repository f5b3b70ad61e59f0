import { expect, test } from '@jest/globals';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { EventLog, type Happening, type LoggedEvent } from './event-log.js';

const back = { type: 'cluster-state-back' } as const;

async function filledLog(eventsMax: number, events: number) {
  const clock = new FakeClock();
  const log = new EventLog<Happening>(clock, eventsMax);
  const seen: LoggedEvent<Happening>[] = [];
  log.onAppend((event) => seen.push(event));
  for (let count = 0; count < events; count++) {
    await clock.advance(1_000);
    log.append(back);
  }
  return { clock, log, seen, ids: seen.map(({ id }) => id) };
}

test('ids grow with time, within one millisecond, and when the wall clock steps back', async () => {
  const { clock, log, ids, seen } = await filledLog(10, 2);
  log.append(back);
  clock.stepWallClock(-3_600_000);
  log.append(back);
  const all = seen.map(({ id }) => id);
  expect(all).toEqual(all.toSorted((a, b) => a - b));
  expect(new Set(all).size).toBe(4);
  expect(ids[0]).toBe((Date.UTC(2026, 0, 1) + 1_000) * 1_000);
  expect(Number.isSafeInteger(all.at(-1))).toBe(true);
});

test('an id of this log is continued exactly', async () => {
  const { log, ids } = await filledLog(10, 5);
  expect(log.since(ids[2] ?? 0)).toMatchObject({ gap: false, events: [{ id: ids[3] }, { id: ids[4] }] });
  expect(log.since(ids[4] ?? 0)).toEqual({ gap: false, events: [] });
});

test('of more events than it keeps the oldest go, and who asks for them hears of the gap', async () => {
  const { log, ids } = await filledLog(3, 5);
  const replay = log.since(ids[0] ?? 0);
  expect(replay.gap).toBe(true);
  expect(replay.events.map(({ id }) => id)).toEqual(ids.slice(2));
});

test('an id that another node gave out is continued with an overlap, not with a hole', async () => {
  const { log, ids } = await filledLog(10, 5);
  const foreign = (ids[3] ?? 0) + 7;
  const { gap, events } = log.since(foreign);
  expect(gap).toBe(false);
  expect(events.map(({ id }) => id)).toEqual(ids.slice(2));
});

test('an id from before this node began to look has a gap', async () => {
  const { log, ids } = await filledLog(10, 2);
  const replay = log.since(1);
  expect(replay.gap).toBe(true);
  expect(replay.events.map(({ id }) => id)).toEqual(ids);
});
