import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { canMount, SmallDisk } from '@binnacle/testing/small-disk';
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FakeNode } from '../test/fake-node.js';
import type { CapturedProfile } from './captured-profile.js';
import { fileNameOf } from './kept-profile.js';
import { KeptProfiles } from './kept-profiles.js';

const minuteMs = 60_000;
const dayMs = 24 * 60 * minuteMs;
let node: FakeNode;
let kept: KeptProfiles;

beforeEach(async () => {
  node = new FakeNode();
  kept = await open();
});
afterEach(async () => {
  await kept.stop();
  node.remove();
});

async function open(): Promise<KeptProfiles> {
  node.metrics.clear();
  const profiles = new KeptProfiles(node.context);
  await profiles.start();
  return profiles;
}

const folder = (): string => join(node.config.dataDir, 'profiles', 'node-p0');
const everything = { limit: 1_000_000 };

function captured(more: Partial<CapturedProfile> = {}): CapturedProfile {
  return { node: 'n0', kind: 'cpu', startedAtMs: node.clock.nowMs(), durationMs: 10_000, pprof: Buffer.from('a profile'), ...more };
}

test('a kept profile is read as it was, and listed again after a restart', async () => {
  const profile = await kept.keep(captured({ node: 'db.1', kind: 'heap' }), 'requested');
  await kept.stop();
  kept = await open();
  expect(kept.list(everything)).toEqual([profile]);
  expect(await kept.read(profile.id)).toEqual(Buffer.from('a profile'));
  expect(await node.metrics.getSingleMetricAsString('binnacle_kept_profiles')).toContain('binnacle_kept_profiles 1');
});

test('what a crash left half-written is removed at the start, what is not ours is left alone', async () => {
  writeFileSync(join(folder(), '20260101T000000000Z-00000000~1~cpu~requested~9~n0.pb.gz.unfinished'), 'half');
  writeFileSync(join(folder(), 'notes.txt'), 'mine');
  kept = await open();
  expect(kept.list(everything)).toEqual([]);
  expect(readdirSync(folder())).toEqual(['notes.txt']);
});

test('a list is filtered by node, kind and time, newest first', async () => {
  const startMs = node.clock.nowMs();
  const keepAt = async (minute: number, more: Partial<CapturedProfile> = {}) => (await kept.keep(captured({ startedAtMs: startMs + minute * minuteMs, ...more }), 'requested')).id;
  const third = await keepAt(3);
  const first = await keepAt(1);
  const other = await keepAt(2, { node: 'n1' });
  const heap = await keepAt(4, { kind: 'heap' });
  const ids = (filter: object) => kept.list({ ...everything, ...filter }).map(({ id }) => id);
  expect(ids({})).toEqual([heap, third, other, first]);
  expect(ids({ node: 'n0' })).toEqual([heap, third, first]);
  expect(ids({ kind: 'cpu', limit: 2 })).toEqual([third, other]);
  expect(ids({ fromMs: startMs + 2 * minuteMs, toMs: startMs + 3 * minuteMs })).toEqual([third, other]);
});

test('a profile that was under way at a time is found by that time', async () => {
  const startMs = node.clock.nowMs();
  const long = await kept.keep(captured({ durationMs: 600_000 }), 'requested');
  await kept.keep(captured({ startedAtMs: startMs + minuteMs, durationMs: 1_000 }), 'requested');
  const atMs = startMs + 9 * minuteMs;
  expect(kept.list({ fromMs: atMs, toMs: atMs, limit: 10 })).toEqual([long]);
});

test('what is too old goes from list and disk although nothing new comes', async () => {
  await kept.keep(captured(), 'requested');
  await node.clock.advance(7 * dayMs);
  expect(kept.list(everything)).toHaveLength(1);
  await node.clock.advance(11 * minuteMs);
  expect(kept.list(everything)).toEqual([]);
  await kept.stop();
  expect(readdirSync(folder())).toEqual([]);
});

test('over the bytes the oldest go, continuous ones first', async () => {
  node.config.profiling.keepMegabytesMax = 1;
  const pprof = Buffer.alloc(400_000);
  const requested = await kept.keep(captured({ pprof }), 'requested');
  await kept.keep(captured({ pprof }), 'continuous');
  const newest = await kept.keep(captured({ pprof }), 'continuous');
  expect(kept.list(everything).map(({ id }) => id).sort()).toEqual([requested.id, newest.id].sort());
  await kept.stop();
  expect(readdirSync(folder()).sort()).toEqual([fileNameOf(requested), fileNameOf(newest)].sort());
});

test('a profile larger than all that may be kept displaces nothing', async () => {
  node.config.profiling.keepMegabytesMax = 1;
  const small = await kept.keep(captured(), 'requested');
  await expect(kept.keep(captured({ pprof: Buffer.alloc(2 ** 20 + 1) }), 'requested')).rejects.toMatchObject({ code: 'OUT_OF_DISK' });
  expect(kept.list(everything)).toEqual([small]);
});

test('a profile whose file is gone is not found, and not listed any more', async () => {
  const profile = await kept.keep(captured(), 'requested');
  rmSync(join(folder(), fileNameOf(profile)));
  await expect(kept.read(profile.id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  expect(kept.list(everything)).toEqual([]);
});

test('a folder that is gone is made again', async () => {
  rmSync(folder(), { recursive: true });
  const profile = await kept.keep(captured(), 'requested');
  expect(await kept.read(profile.id)).toEqual(Buffer.from('a profile'));
});

test('an id that nobody gave out is not found', async () => {
  for (const id of ['p0~20260101T000000000Z-00000000', '../../etc/passwd', 'x'.repeat(100_000)]) {
    await expect(kept.read(id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  }
});

const withSmallDisk = canMount ? test : test.skip;

withSmallDisk('a disk that is full keeps nothing half, is counted each time and logged once a minute', async () => {
  await kept.stop();
  const disk = new SmallDisk(folder(), 64);
  try {
    kept = await open();
    const large = captured({ pprof: Buffer.alloc(100_000) });
    await expect(kept.keep(large, 'requested')).rejects.toMatchObject({ code: 'OUT_OF_DISK' });
    await expect(kept.keep(large, 'requested')).rejects.toMatchObject({ code: 'OUT_OF_DISK' });
    expect(node.messages()).toEqual(['a profile is not kept: the disk is full']);
    expect(await node.metrics.getSingleMetricAsString('binnacle_profiles_not_kept_total')).toContain('{reason="disk_full"} 2');
    expect(readdirSync(folder())).toEqual([]);
    expect(await kept.keep(captured(), 'requested')).toMatchObject({ bytes: 9 });
    await node.clock.advance(minuteMs);
    await expect(kept.keep(large, 'requested')).rejects.toMatchObject({ code: 'OUT_OF_DISK' });
    expect(node.messages()).toHaveLength(2);
  } finally {
    disk.unmount();
  }
});

test('a hundred thousand kept profiles are listed at a restart, and filtered, in bounded time', async () => {
  const nowMs = node.clock.nowMs();
  mkdirSync(folder(), { recursive: true });
  for (let at = 0; at < 100_000; at++) {
    const id = `p0~${new Date(nowMs - at * 5_000).toISOString().replaceAll(/[-:.]/g, '')}-${at.toString(16).padStart(8, '0')}`;
    const name = fileNameOf({ id, node: `n${at % 10}`, kind: 'cpu', origin: 'continuous', startedAtMs: 0, durationMs: 10_000, bytes: 5_000 });
    writeFileSync(join(folder(), name), '');
  }
  const beganMs = performance.now();
  kept = await open();
  const openedMs = performance.now();
  expect(kept.list({ node: 'nowhere', limit: 100 })).toEqual([]);
  const filteredMs = performance.now();
  expect(kept.list(everything)).toHaveLength(100_000);
  // Reading the folder takes about half a second on a slow machine, a filter a few milliseconds; what goes through all of them for each one takes minutes.
  expect(openedMs - beganMs).toBeLessThan(20_000);
  expect(filteredMs - openedMs).toBeLessThan(2_000);
});
