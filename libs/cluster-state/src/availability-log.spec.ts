import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { openStore, type FlakyState } from '../test/flaky-state.js';
import { logAvailability } from './availability-log.js';

let opened: ReturnType<typeof openStore>;
let line: FlakyState;
let lines: string[];
let stop: () => void;
beforeEach(() => {
  opened = openStore();
  line = opened.line();
  lines = [];
  const write = (level: string) => (_details: object, message: string) => void lines.push(`${level} ${message}`);
  stop = logAvailability(line.state, opened.clock, { info: write('info'), warn: write('warn') });
});
afterEach(() => opened.close());

const away = 'warn cluster state is away; this node goes on with what it knows';
const back = 'info cluster state is back';

test('going away and coming back are said', async () => {
  line.goAway();
  await opened.clock.advance(5_000);
  line.comeBack();
  expect(lines).toEqual([away, back]);
});

test('a store that stays away is named once a minute', async () => {
  line.goAway();
  await opened.clock.advance(150_000);
  expect(lines).toEqual([away, away, away]);
});

test('a store that comes and goes is named once a minute too, and its last absence is not forgotten', async () => {
  for (let round = 0; round < 20; round++) {
    line.goAway();
    await opened.clock.advance(1_000);
    line.comeBack();
  }
  line.goAway();
  expect(lines).toEqual([away, back]);
  await opened.clock.advance(60_000);
  expect(lines).toEqual([away, back, away]);
});

test('stopped, it says nothing and leaves no timer', async () => {
  line.goAway();
  stop();
  line.comeBack();
  line.goAway();
  expect(lines).toEqual([away]);
  expect(opened.clock.timerCount()).toBe(0);
});
