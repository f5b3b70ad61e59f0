import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { emptyManifest, type KnownManifest } from '../remote/manifest-store.js';
import { ManifestFollower } from './manifest-follower.js';

const region = 256;
let clock: FakeClock;
let stored: KnownManifest | undefined;
let isBucketAway = false;
let pendingMs: number | undefined;
let reads = 0;
let signal: (payload: string) => void;
let follower: ManifestFollower;

const manifest = (term: number, uploadedVersion: number, etag = `${term}-${uploadedVersion}`): KnownManifest => ({ manifest: { ...emptyManifest(1, region), term, uploadedVersion }, etag });
const read = async (): Promise<KnownManifest | undefined> => {
  reads += 1;
  if (isBucketAway) throw new Error('the bucket is away');
  return stored;
};

beforeEach(async () => {
  clock = new FakeClock();
  [stored, isBucketAway, pendingMs, reads] = [manifest(1, 5), false, 0, 0];
  follower = new ManifestFollower({
    clock,
    state: { signal: async () => undefined, onSignal: (_topic, listener) => ((signal = listener), () => undefined) },
    log: { warn: () => undefined },
    isOn: () => true,
    regions: () => [{ id: region, writeNode: 'n1' }],
    read,
    readUnless: async ({ etag }) => ((await read())?.etag === etag ? undefined : stored),
    pendingMs: async (_node, questions) => {
      if (pendingMs === undefined) throw new Error('the node is away');
      return new Map(questions.map(({ regionId }) => [regionId, pendingMs as number]));
    },
    pollMs: 1_000,
  });
  await follower.start();
  await clock.advance(0);
});

afterEach(async () => {
  await follower.stop();
  expect(clock.timerCount()).toBe(0);
});

const version = (): (number | undefined)[] => [follower.current(region)?.manifest.term, follower.current(region)?.manifest.uploadedVersion];

test('a new manifest is known after the next look, or at once when a signal tells of it', async () => {
  expect(version()).toEqual([1, 5]);
  stored = manifest(1, 6);
  await clock.advance(1_000);
  expect(version()).toEqual([1, 6]);
  stored = manifest(1, 7);
  signal(String(region));
  await clock.advance(0);
  expect(version()).toEqual([1, 7]);
  expect(reads).toBe(3);
});

test('it never goes back behind a term or a version it has seen, and takes what a merge has made of the same version', async () => {
  follower.accept(manifest(2, 9));
  for (const older of [manifest(2, 8), manifest(1, 20)]) {
    stored = older;
    await follower.refresh(region);
    expect(version()).toEqual([2, 9]);
  }
  stored = manifest(2, 9, 'merged');
  await follower.refresh(region);
  expect(follower.current(region)?.etag).toBe('merged');
});

test('the lag is what the write node says, and grows from its last answer while it cannot be asked', async () => {
  expect(follower.lagMs(region)).toBe(0);
  pendingMs = 300;
  await clock.advance(1_000);
  expect(follower.lagMs(region)).toBe(300);
  pendingMs = undefined;
  await clock.advance(60_000);
  expect(follower.lagMs(region)).toBe(60_300);
  pendingMs = 0;
  await clock.advance(1_000);
  expect(follower.lagMs(region)).toBe(0);
  expect(follower.lagMs(999)).toBe(Infinity);
});

test('while the bucket is away the last manifest stays, and lag is still asked for', async () => {
  isBucketAway = true;
  pendingMs = 2_000;
  await clock.advance(1_000);
  expect([...version(), follower.lagMs(region)]).toEqual([1, 5, 2_000]);
  await expect(follower.refresh(region)).rejects.toThrow('away');
});
