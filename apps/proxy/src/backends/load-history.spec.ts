import { expect, test } from '@jest/globals';
import { LoadHistory } from './load-history.js';

test('CPU usage is the growth of its seconds, smoothed, and forgotten when the server was restarted', () => {
  const history = new LoadHistory();
  history.add({ atMs: 0, cpuSeconds: 100 }, 10);
  expect(history.load(0)).toEqual({});
  history.add({ atMs: 10_000, cpuSeconds: 105 }, 20);
  expect(history.load(10_000)!.cpu).toEqual({ average: 0.5, latest: 0.5, sessions: 20 });
  history.add({ atMs: 20_000, cpuSeconds: 106 }, 20);
  expect(history.load(20_000)!.cpu!.average).toBeCloseTo(0.3);
  expect(history.load(20_000)!.cpu!.latest).toBeCloseTo(0.1);
  history.add({ atMs: 30_000, cpuSeconds: 1 }, 0);
  expect(history.load(30_000)!.cpu).toBeUndefined();
});

test('memory that grows is full at some time, memory that shrinks is not', () => {
  const history = new LoadHistory();
  history.add({ atMs: 0, memoryUsage: 0.5 }, 0);
  history.add({ atMs: 10_000, memoryUsage: 0.6 }, 0);
  expect(history.load(10_000)!.memory!.secondsToFull).toBeCloseTo(30);
  history.add({ atMs: 20_000, memoryUsage: 0.55 }, 0);
  expect(history.load(20_000)!.memory).toEqual({ usage: 0.55, secondsToFull: Infinity });
});

test('backoffs are counted by the minute', () => {
  const history = new LoadHistory();
  const level = (): unknown => history.load(60_000)!.errors;
  history.add({ atMs: 30_000, pdErrors: 0, storeErrors: 0 }, 0);
  expect(level()).toBeUndefined();
  history.add({ atMs: 45_000, pdErrors: 2, storeErrors: 20 }, 0);
  expect(level()).toBe(0);
  history.add({ atMs: 60_000, pdErrors: 10, storeErrors: 20 }, 0);
  expect(level()).toBe(1);
  history.add({ atMs: 60_000, pdErrors: 10, storeErrors: 900 }, 0);
  expect(level()).toBe(2);
});

test('old readings say nothing', () => {
  const history = new LoadHistory();
  history.add({ atMs: 0, memoryUsage: 0.5 }, 0);
  expect(history.load(60_001)).toBeUndefined();
});
