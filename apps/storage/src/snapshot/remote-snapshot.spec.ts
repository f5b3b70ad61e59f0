import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NodeContext } from '@binnacle/node-kit/node-context';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { waitUntil } from '@binnacle/testing/wait-until';
import { hourMs, TestableBucket } from '../../test/testable-bucket.js';
import { openFolder } from '../../test/testable-uploads.js';
import type { RemoteStore } from '../remote/remote-store.js';
import { digestFile } from './file-digest.js';
import { manifestText } from './manifest.js';
import { downloadSnapshot, readRemoteManifest, remoteSnapshotName, RemoteSnapshotUpload, verifyRemoteSnapshot } from './remote-snapshot.js';
import { SnapshotSchedule, stampOf } from './snapshot-schedule.js';
import type { Snapshots } from './snapshots.js';

let folder: string;
let local: string;
let bucket: TestableBucket;
let count = 0;

beforeAll(() => {
  // Thousands of small objects, each synced: in memory that costs nothing.
  folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'binnacle-remote-snapshot-'));
  local = join(folder, 'local');
  mkdirSync(join(local, 'storage'), { recursive: true });
  const contents: Record<string, string> = { 'node-id': 'n1\n', 'storage/CURRENT': 'MANIFEST-000001\n', 'storage/000002.sst': 'rows'.repeat(1_000), 'storage/empty': '' };
  for (const [path, text] of Object.entries(contents)) writeFileSync(join(local, path), text);
  const files = Object.keys(contents).toSorted().map((path) => ({ path, ...digestFile(join(local, path)) }));
  writeFileSync(join(local, 'manifest.json'), manifestText({ createdAt: '2026-01-01T00:00:00.000Z', node: 'n1', roles: ['storage'], version: 7, madeBy: '0.1.0', files }));
});
afterAll(() => rmSync(folder, { recursive: true }));
beforeEach(async () => void (bucket = new TestableBucket(await openFolder(join(folder, `bucket-${count++}`)))));

function attempt(name = 'nightly', clock = new FakeClock()): RemoteSnapshotUpload {
  return new RemoteSnapshotUpload({ store: bucket.store, clock, node: 'n1', name, signal: new AbortController().signal, onBytes: () => undefined });
}

async function make(name?: string): Promise<void> {
  const upload = attempt(name);
  await upload.claim();
  try {
    await upload.upload(local);
  } catch (error) {
    await upload.giveUp();
    throw error;
  }
}

const problems = async (name = 'nightly'): Promise<readonly string[]> => (await verifyRemoteSnapshot(bucket.inner, name, () => undefined)).problems;

test('what was put there is verified and copied back, byte for byte', async () => {
  await make('2026/nightly');
  expect(await problems('2026/nightly')).toEqual([]);
  const to = join(folder, 'restored');
  mkdirSync(to);
  await downloadSnapshot(bucket.inner, await readRemoteManifest(bucket.inner, '2026/nightly'), to, () => undefined);
  for (const path of ['node-id', 'storage/CURRENT', 'storage/000002.sst', 'storage/empty']) expect(readFileSync(join(to, path))).toEqual(readFileSync(join(local, path)));
});

test('a damaged, a missing and a foreign file are found, and a damaged one is not restored', async () => {
  await make();
  const { prefix } = await readRemoteManifest(bucket.inner, 'nightly');
  await bucket.inner.put(`${prefix}storage/000002.sst`, Buffer.from('rowz'.repeat(1_000)));
  await bucket.inner.delete(`${prefix}node-id`);
  await bucket.inner.put(`${prefix}foreign`, Buffer.from('x'));
  expect((await problems()).toSorted()).toEqual([
    'foreign is not in the manifest: the snapshot was changed',
    'node-id is missing',
    'storage/000002.sst is damaged: its checksum does not match',
  ]);
  await bucket.inner.put(`${prefix}node-id`, Buffer.from('n1\n'));
  const to = join(folder, 'damaged');
  mkdirSync(to);
  await expect(downloadSnapshot(bucket.inner, await readRemoteManifest(bucket.inner, 'nightly'), to, () => undefined)).rejects.toThrow('checksum of storage/000002.sst');
});

test('a name is taken by a complete snapshot, and by one that is made, and by nothing else', async () => {
  const first = attempt();
  await first.claim();
  await expect(attempt().claim()).rejects.toMatchObject({ code: 'CONFLICT' });
  await first.upload(local);
  await expect(attempt().claim()).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  const second = attempt('other');
  await second.claim();
  await second.giveUp();
  await make('other');
  expect(await problems('other')).toEqual([]);
  await expect(readRemoteManifest(bucket.inner, 'none')).rejects.toThrow('there is no snapshot remote:none');
});

test('names', () => {
  expect(remoteSnapshotName('/snapshots/first')).toBeUndefined();
  expect(remoteSnapshotName('remote:first/w0')).toBe('first/w0');
  for (const name of ['', '..', 'a/../b', '/a', 'a/', 'a/b/c/d', 'manifest.json', 'files-0123456789abcdef', 'x'.repeat(65), 'a b']) {
    expect(() => remoteSnapshotName(`remote:${name}`)).toThrow('The name of a snapshot');
  }
});

test('one that fails leaves nothing but the word that it was given up', async () => {
  bucket.plan({ fault: ({ kind, ofKind }) => (kind === 'putFile' && ofKind === 3 ? 'before' : undefined) });
  await expect(make()).rejects.toThrow('planned');
  expect((await bucket.keys()).filter((key) => key.startsWith('snapshots/'))).toEqual(['snapshots/nightly/manifest.json']);
  await expect(readRemoteManifest(bucket.inner, 'nightly')).rejects.toThrow('half-made');
});

test('killed before or after every operation, it is whole or not there, and the collector takes what is left of it', async () => {
  await make('counted');
  const steps = bucket.store.operations.length;
  expect(steps).toBeGreaterThan(6);
  for (let step = 1; step <= steps; step++) {
    for (const when of ['before', 'after'] as const) {
      bucket = new TestableBucket(await openFolder(join(folder, `${when}-${step}`)));
      bucket.plan({ fault: ({ ofAll }) => (ofAll > step ? 'before' : ofAll === step ? when : undefined) });
      await make().catch(() => undefined);
      bucket.plan({});
      const isWhole = (await readRemoteManifest(bucket.inner, 'nightly').catch(() => undefined)) !== undefined;
      if (isWhole) expect([step, when, await problems()]).toEqual([step, when, []]);
      await bucket.pass(hourMs + 1_000);
      await bucket.collect();
      const files = (await bucket.keys()).filter((key) => key.startsWith('snapshots/') && !key.endsWith('/manifest.json'));
      expect([step, when, files.length]).toEqual([step, when, isWhole ? 4 : 0]);
      if (!isWhole) await make();
      expect([step, when, await problems()]).toEqual([step, when, []]);
    }
  }
});

test('it says every few minutes that it goes on, and the collector leaves it alone; once it was silent for an hour it cannot complete', async () => {
  const clock = new FakeClock();
  const slow = attempt('slow', clock);
  await slow.claim();
  const etag = async () => (await bucket.inner.head('snapshots/slow/manifest.json'))?.etag;
  const before = await etag();
  await clock.advance(300_000);
  await waitUntil(async () => (await clock.advance(0), (await etag()) !== before));
  await bucket.inner.put(`snapshots/slow/files-${'0'.repeat(16)}/of-another-attempt`, Buffer.from('x'));
  await bucket.pass(hourMs - 60_000);
  await bucket.collect();
  await bucket.pass(120_000);
  // Its files make it worth looking at.
  const { folder: own } = JSON.parse((await bucket.inner.get('snapshots/slow/manifest.json'))?.body.toString() ?? '') as { folder: string };
  await bucket.inner.put(`snapshots/slow/${own}/storage/started`, Buffer.from('x'));
  await bucket.pass(hourMs);
  await bucket.collect();
  await expect(slow.upload(local)).rejects.toThrow();
  await slow.giveUp();
  await expect(readRemoteManifest(bucket.inner, 'slow')).rejects.toThrow('half-made');
});

test('a word of going on that is under way when it completes does not take the completion back', async () => {
  const clock = new FakeClock();
  const upload = attempt('late', clock);
  await upload.claim();
  let release = (): void => {};
  const gate = new Promise<void>((resolve) => (release = resolve));
  bucket.plan({ before: ({ kind }) => (kind === 'put' ? gate : undefined) });
  await clock.advance(300_000);
  const uploaded = upload.upload(local);
  release();
  await uploaded;
  await clock.advance(3_600_000);
  expect(clock.timerCount()).toBe(0);
  expect(await problems('late')).toEqual([]);
});

test('scheduled ones: as many stay as are kept, and one that was not completed is none', async () => {
  const clock = new FakeClock();
  const stamps = Array.from({ length: 4 }, (_, hour) => stampOf(clock.nowMs() + hour * hourMs));
  const node = { id: 'n1', clock, config: { storage: { snapshotIntervalMinutes: 60, snapshotsKept: 2, snapshotRemote: true } }, log: { info() {}, error() {} }, addPart() {} };
  let taken = 0;
  const take = async (path: string) => {
    await make(remoteSnapshotName(path) as string);
    taken += 1;
    return { path };
  };
  await attempt('scheduled/n1/2020-01-01T00-00-00Z', clock).claim();
  const schedule = new SnapshotSchedule(node as unknown as NodeContext, { roots: () => ['/none'], take } as unknown as Snapshots, { isOn: () => true, store: () => bucket.store } as unknown as RemoteStore);
  await schedule.start();
  for (let run = 0; run < 4; run++) {
    await clock.advance(run === 0 ? 0 : hourMs);
    await waitUntil(async () => (await clock.advance(0), taken === run + 1));
  }
  const names = async () => (await bucket.keys()).flatMap((key) => /^snapshots\/scheduled\/n1\/([^/]+)\/manifest\.json$/.exec(key)?.[1] ?? []);
  await waitUntil(async () => (await names()).length === 3);
  expect(await names()).toEqual(['2020-01-01T00-00-00Z', ...stamps.slice(2)]);
  for (const stamp of stamps.slice(2)) expect(await problems(`scheduled/n1/${stamp}`)).toEqual([]);
  await schedule.drain();
});
