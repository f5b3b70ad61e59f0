import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NodeContext } from '@binnacle/node-kit/node-context';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { waitUntil } from '@binnacle/testing/wait-until';
import { manifestName } from './manifest.js';
import type { RemoteStore } from '../remote/remote-store.js';
import { namesToRemove, SnapshotSchedule, stampOf, timeOfStamp } from './snapshot-schedule.js';
import type { Snapshots } from './snapshots.js';

test('stamps sort as the times they stand for, and other names are none', () => {
  const ms = Date.UTC(2026, 0, 31, 9, 5, 7);
  expect(stampOf(ms + 999)).toBe('2026-01-31T09-05-07Z');
  expect(timeOfStamp('2026-01-31T09-05-07Z')).toBe(ms);
  for (const name of ['monday', '2026-01-31', '2026-01-31T09-05-07Z.partial-0123abcd', '2026-99-31T09-05-07Z']) expect(timeOfStamp(name)).toBeUndefined();
});

test('the oldest go first, never the newest, never what is not ours', () => {
  const names = ['c', 'b', 'a', 'd'].map((name) => `2026-01-0${'abcd'.indexOf(name) + 1}T00-00-00Z`);
  expect(namesToRemove([...names, 'mine'], 2, '2026-01-04T00-00-00Z')).toEqual(['2026-01-01T00-00-00Z', '2026-01-02T00-00-00Z']);
  expect(namesToRemove(names, 9, '2026-01-04T00-00-00Z')).toEqual([]);
  // The clock was set back.
  expect(namesToRemove(names, 1, '2026-01-01T00-00-00Z')).not.toContain('2026-01-01T00-00-00Z');
});

describe('the schedule', () => {
  const minuteMs = 60_000;
  let root: string;
  let clock: FakeClock;
  let failing: boolean;
  let taken: number;

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'binnacle-schedule-'));
    clock = new FakeClock();
    failing = false;
    taken = 0;
  });

  afterEach(() => rmSync(root, { recursive: true, force: true }));

  function open(snapshotIntervalMinutes: number, snapshotsKept = 3): SnapshotSchedule {
    const node = { id: 'n0', clock, config: { storage: { snapshotIntervalMinutes, snapshotsKept } }, log: { info() {}, error() {} }, addPart() {} };
    const take = async (path: string) => {
      taken += 1;
      if (failing) throw new Error('the disk is full');
      mkdirSync(path, { recursive: true });
      writeFileSync(join(path, manifestName), '{}');
      return { path };
    };
    return new SnapshotSchedule(node as unknown as NodeContext, { roots: () => [root], take } as unknown as Snapshots, {} as RemoteStore);
  }

  const kept = () => readdirSync(join(root, 'scheduled', 'n0')).sort();

  /** The clock does not wait for the disk. */
  async function pass(minutes: number, untilTaken: number): Promise<void> {
    await clock.advance(minutes * minuteMs);
    await waitUntil(() => taken === untilTaken && clock.timerCount() === 1);
  }

  test('takes the first one at once, then one an interval, and keeps as many as it shall', async () => {
    const schedule = open(60);
    await schedule.start();
    await pass(0, 1);
    for (let count = 2; count <= 5; count++) await pass(60, count);
    await waitUntil(() => kept().length === 3);
    expect(kept()).toEqual(['2026-01-01T02-00-00Z', '2026-01-01T03-00-00Z', '2026-01-01T04-00-00Z']);
    await schedule.drain();
    expect(clock.timerCount()).toBe(0);
  });

  test('goes on after a restart where it was, and is not put off by a stamp from the future', async () => {
    mkdirSync(join(root, 'scheduled', 'n0', stampOf(clock.nowMs() - 50 * minuteMs)), { recursive: true });
    const schedule = open(60);
    await schedule.start();
    await clock.advance(9 * minuteMs);
    expect(taken).toBe(0);
    await pass(1, 1);
    await schedule.drain();
    mkdirSync(join(root, 'scheduled', 'n0', stampOf(clock.nowMs() + 900 * minuteMs)));
    const second = open(60);
    await second.start();
    await pass(60, 2);
    await second.drain();
  });

  test('tries again soon after one that failed', async () => {
    const schedule = open(600);
    failing = true;
    await schedule.start();
    await pass(0, 1);
    failing = false;
    await pass(10, 2);
    expect(kept()).toHaveLength(1);
    await schedule.drain();
  });

  test('is off unless it is wanted', async () => {
    await open(0).start();
    expect(clock.timerCount()).toBe(0);
  });
});
