import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { FakeClock } from '@binnacle/testing/fake-clock';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Candidacy } from '../src/candidacy.js';
import { ClusterStateUnusable } from '../src/cluster-state.js';
import { EmbeddedClusterState } from '../src/embedded-cluster-state.js';
import { EmbeddedStore } from '../src/embedded-store.js';
import { NodeDirectory } from '../src/node-directory.js';
import { openClusterState } from '../src/open-cluster-state.js';
import { nextMessage, startChild } from './child.js';
import { candidate } from './cluster-state.contract.js';

const longMs = 60_000;

let folder: string;
let clock: FakeClock;
const children: ChildProcess[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'binnacle-embedded-'));
  clock = new FakeClock();
});
afterEach(async () => {
  for (const child of children.splice(0)) {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  }
  rmSync(folder, { recursive: true, force: true });
});

interface Progress {
  readonly term: number;
  readonly version: number;
}

function startWriter(): ChildProcess {
  const child = startChild('./embedded-writer.child.ts', [folder]);
  children.push(child);
  return child;
}

test('terms, history, documents and the revision survive a restart; leases do not, and nodes do not', async () => {
  const before = new EmbeddedClusterState(folder, clock);
  await before.campaign({ lease: 'leader', candidate: candidate('a'), ttlMs: longMs, termFloor: 10 });
  await before.resign({ lease: 'leader', candidate: candidate('a'), term: 11 });
  await before.campaign({ lease: 'leader', candidate: candidate('a'), ttlMs: longMs, termFloor: 0 });
  await before.writeDocument({ key: 'd', value: 'kept', expectedVersion: 0, requestId: 'r' });
  await clock.advance(1_000);
  await before.close();

  const after = new EmbeddedClusterState(folder, clock);
  expect(await after.lease('leader')).toEqual({ name: 'leader', term: 12, owner: undefined, remainingMs: 0, waiting: [] });
  expect((await after.leaseHistory('leader', 10)).map(({ term, endReason }) => [term, endReason])).toEqual([
    [12, 'expired'],
    [11, 'resigned'],
  ]);
  expect(await after.readDocument('d')).toEqual({ document: { version: 1, value: 'kept' }, revision: 1 });
  expect(await after.writeDocument({ key: 'd', value: 'kept', expectedVersion: 0, requestId: 'r' })).toMatchObject({ written: true, version: 1 });
  expect(await after.campaign({ lease: 'leader', candidate: candidate('b'), ttlMs: longMs, termFloor: 0 })).toEqual({ held: true, term: 13 });
  await after.close();
});

test('kill -9 at any moment loses nothing that was answered, five times in a row', async () => {
  let last: Progress = { term: 0, version: 0 };
  for (let round = 0; round < 5; round++) {
    const child = startWriter();
    const started = last.term;
    await nextMessage<Progress>(child, (message) => {
      last = message;
      return message.term >= started + 20 + round;
    });
    child.on('message', (message: Progress) => (last = message));
    // What it had sent may be read after its end.
    const ended = Promise.all([once(child, 'exit'), once(child, 'disconnect')]);
    child.kill('SIGKILL');
    await ended;
    const state = new EmbeddedClusterState(folder, clock);
    const { term } = (await state.lease('leader'))!;
    const { document } = await state.readDocument('d');
    // What was under way may have been done too; what was answered must be there.
    expect(term).toBeGreaterThanOrEqual(last.term);
    expect(term).toBeLessThanOrEqual(last.term + 2);
    expect(document!.version).toBeGreaterThanOrEqual(last.version);
    expect(document!.value).toBe(`version ${document!.version}`);
    const terms = (await state.leaseHistory('leader', 1_000)).map((tenure) => tenure.term);
    expect(terms).toEqual(Array.from({ length: term }, (_, index) => term - index));
    await state.close();
  }
});

describe('one folder, one process', () => {
  test('a second process is refused and told which folder it is, and what to do', async () => {
    const first = startWriter();
    await nextMessage(first);
    expect(() => new EmbeddedClusterState(folder, clock)).toThrow(`another process uses the data folder ${folder}`);
    expect(() => new EmbeddedClusterState(folder, clock)).toThrow('BINNACLE_DATA_DIR');
    const second = startWriter();
    const { failed } = await nextMessage<{ failed: string }>(second);
    expect(failed).toContain(folder);
  });

  test('so is a second opening in the same process', async () => {
    const state = new EmbeddedClusterState(folder, clock);
    expect(() => new EmbeddedClusterState(folder, clock)).toThrow('another process uses the data folder');
    await state.close();
    await new EmbeddedClusterState(folder, clock).close();
  });

  test('the lock of a process that was killed blocks nobody', async () => {
    const first = startWriter();
    await nextMessage(first);
    first.kill('SIGKILL');
    await once(first, 'exit');
    await new EmbeddedClusterState(folder, clock).close();
  });
});

describe('a folder that cannot be used is refused with a message for its operator', () => {
  const file = (): string => join(folder, 'cluster-state.db');
  const refusal = async (dataDir = folder): Promise<Error> => {
    const redis = { url: '', sentinels: '', cluster: false, caFile: '', prefix: 'test', timeoutMs: 1_000 };
    return openClusterState({ redis, dataDir, clock }).then(
      (state) => state.close().then(() => new Error('it was opened')),
      (error: Error) => error,
    );
  };
  const refused = (message: RegExp) => ({ constructor: ClusterStateUnusable, name: 'ClusterStateUnusable', message: expect.stringMatching(message) });

  test('another process has it', async () => {
    const state = new EmbeddedClusterState(folder, clock);
    expect(await refusal()).toMatchObject(refused(/^another process uses the data folder .*BINNACLE_DATA_DIR[^\n]*$/));
    await state.close();
  });

  test('the file is damaged', async () => {
    writeFileSync(file(), 'this is no database, but it is long enough to be read as one '.repeat(100));
    expect(await refusal()).toMatchObject(refused(/^cannot use \/.*cluster-state.db: file is not a database$/));
  });

  test('the file is damaged further in', async () => {
    const state = new EmbeddedClusterState(folder, clock);
    await state.campaign({ lease: 'leader', candidate: candidate('a'), ttlMs: longMs, termFloor: 0 });
    await state.close();
    const bytes = readFileSync(file());
    for (let page = 4_096; page < bytes.length; page += 4_096) bytes.fill(0xff, page, page + 4_096);
    writeFileSync(file(), bytes);
    expect(await refusal()).toMatchObject(refused(/^cannot use \/.*cluster-state.db: .*malformed$/));
  });

  test('the file is empty: terms would begin anew, and keys be gone, without a word', async () => {
    const state = new EmbeddedClusterState(folder, clock);
    await state.close();
    writeFileSync(file(), '');
    expect(await refusal()).toMatchObject(refused(/cluster-state.db is empty, .* restore it from a backup, or remove it/));
    rmSync(file());
    await new EmbeddedClusterState(folder, clock).close();
  });

  test('the folder is a file, or its file a folder; the next start is not misled by what is left', async () => {
    writeFileSync(join(folder, 'plain'), '');
    expect(await refusal(join(folder, 'plain'))).toMatchObject(refused(/^cannot use \/.*plain\/cluster-state.db: /));
    mkdirSync(file());
    expect(await refusal()).toMatchObject(refused(/^cannot use \/.*cluster-state.db: unable to open database file$/));
  });
});

test('nobody else can read the folder and the files, which hold digests of keys', async () => {
  const made = join(folder, 'made');
  const state = new EmbeddedClusterState(made, clock);
  await state.writeDocument({ key: 'd', value: 'x', expectedVersion: 0, requestId: 'r' });
  const files = readdirSync(made);
  expect(files).toEqual(expect.arrayContaining(['cluster-state.db', 'cluster-state.db-wal']));
  for (const each of files) expect([each, statSync(join(made, each)).mode & 0o777]).toEqual([each, 0o600]);
  expect(statSync(made).mode & 0o777).toBe(0o700);
  await state.close();
});

test('a disk that refuses is a store that is away: nothing half-done stays, renewals go on, and it heals', async () => {
  let full = false;
  const writes = new Set(['saveLease', 'writeDocument', 'probe']);
  const store = new Proxy(new EmbeddedStore(folder), {
    get(target, name: keyof EmbeddedStore) {
      return (...args: unknown[]) => {
        if (full && writes.has(name)) throw new Error('database or disk is full');
        return (target[name] as (...args: unknown[]) => unknown).apply(target, args);
      };
    },
  });
  const state = new EmbeddedClusterState(folder, clock, store);
  const changes: boolean[] = [];
  state.onAvailabilityChange(({ available }) => changes.push(available));
  const campaign = (lease: string) => state.campaign({ lease, candidate: candidate('a'), ttlMs: longMs, termFloor: 0 });
  const document = { key: 'd', value: 'x', expectedVersion: 0, requestId: 'r' };
  expect(await campaign('held')).toEqual({ held: true, term: 1 });

  full = true;
  await expect(state.writeDocument(document)).rejects.toMatchObject({ code: 'CLUSTER_STATE_UNAVAILABLE' });
  await expect(campaign('new')).rejects.toMatchObject({ code: 'CLUSTER_STATE_UNAVAILABLE' });
  await expect(state.resign({ lease: 'held', candidate: candidate('a'), term: 1 })).rejects.toMatchObject({ code: 'CLUSTER_STATE_UNAVAILABLE' });
  expect(state.availability()).toMatchObject({ available: false, reason: expect.stringContaining('disk is full') });
  expect(await state.lease('new')).toBeUndefined();
  expect(await campaign('held')).toEqual({ held: true, term: 1 });
  expect(await state.readDocument('d')).toEqual({ document: undefined, revision: 0 });
  expect(changes).toEqual([false]);

  full = false;
  await clock.advance(1_000);
  expect(await state.readDocument('d')).toEqual({ document: undefined, revision: 0 });
  expect(changes).toEqual([false, true]);
  expect(await state.writeDocument(document)).toEqual({ written: true, version: 1, revision: 1 });
  expect(await campaign('new')).toEqual({ held: true, term: 1 });
  await state.close();
});

test('what tries whether the disk is back needs room: a single page may still fit on a full one', () => {
  const store = new EmbeddedStore(folder);
  const size = (): number => statSync(join(folder, 'cluster-state.db-wal')).size;
  const before = size();
  store.probe();
  store.probe();
  expect(size() - before).toBeGreaterThan(2 * 64 * 1024);
  store.close();
});

test('a disk that takes a probe and refuses leases is asked by timers, not in a circle', async () => {
  let [refusals, probes] = [0, 0];
  const store = new Proxy(new EmbeddedStore(folder), {
    get(target, name: keyof EmbeddedStore) {
      return (...args: unknown[]) => {
        if (name === 'probe') probes++;
        // Past 500 it gives in, so that a circle ends as a failure and not as a test that hangs.
        if (name === 'saveLease' && ++refusals <= 500) throw new Error('database or disk is full');
        return (target[name] as (...args: unknown[]) => unknown).apply(target, args);
      };
    },
  });
  const state = new EmbeddedClusterState(folder, clock, store);
  const candidacies = ['leader', 'remote-gc'].map((lease) => new Candidacy(state, clock, { lease, candidate: candidate('a'), ttlMs: 5_000 }));
  const directory = new NodeDirectory(state, clock);
  for (const candidacy of candidacies) candidacy.start();
  await directory.start();
  await clock.advance(10_000);
  expect(probes).toBeGreaterThan(2); // It is tried, and the candidates hear of it.
  expect(probes).toBeLessThanOrEqual(11);
  expect(refusals).toBeGreaterThan(10);
  expect(refusals).toBeLessThan(100);
  directory.stop();
  for (const candidacy of candidacies) await candidacy.stop();
  await state.close();
});
