import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@binnacle/cluster-state/clock';
import { type Fault, FaultyStore } from '@binnacle/object-store/faulty-store';
import type { ObjectStore } from '@binnacle/object-store/object-store';
import { openRows, type TestableRows } from '../../test/testable-rows.js';
import { field, openFolder, TestableUploads } from '../../test/testable-uploads.js';
import { ManifestStore } from '../remote/manifest-store.js';
import { type LogOwner, fenceLog, readLogObject, RegionLog } from './region-log.js';
import { publishTakeOver, takeOver, type TakenOver } from './take-over.js';

const table = { id: 1, fields: [field('n', 'int32')], schemaVersion: 1 };
const regionId = 256;
const place = { index: 0, regionCount: 1 };
const ownerOf = (node: string, term: number): LogOwner => ({ tableId: 1, regionId, term, node });
const meter = { put: () => {} };
let folder: string;
let store: ObjectStore;
const opened: TestableRows[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'binnacle-region-faults-'));
  store = await openFolder(folder);
});

afterEach(async () => {
  for (const { store: rows } of opened.splice(0)) await rows.stop();
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

const row = (id: string, n: number, version: number) => ({ handle: Buffer.from(id), version, document: Buffer.from(JSON.stringify({ id, n })) });

test.each([1, 2, 3, 4])('whatever of a log fails, what was acknowledged is in the chain that the next owner finds, and nothing after that is (seed %i)', async (seed) => {
  const faulty = new FaultyStore(store, { errorRate: 0.3, seed });
  let version = 0;
  const acknowledged = new Set<number>();
  let log = new RegionLog(() => faulty, systemClock, ownerOf('a', 1), 0, { objects: [], next: 1 }, () => {}, meter);
  let isOver = false;
  const write = async (): Promise<void> => {
    while (!isOver) {
      const own = ++version;
      await log.append([row(`r${own}`, own, own)]).then(
        () => acknowledged.add(own),
        () => new Promise((resolve) => setImmediate(resolve)),
      );
    }
  };
  const writing = Array.from({ length: 4 }, write);
  while (acknowledged.size < 40) await new Promise((resolve) => setImmediate(resolve));
  // As after a restart: the numbers begin with what is known to be there, and are taken.
  log = new RegionLog(() => faulty, systemClock, ownerOf('a', 1), 0, { objects: [], next: 1 }, () => {}, meter);
  while (acknowledged.size < 80) await new Promise((resolve) => setImmediate(resolve));
  const fenced = await fenceLog(store, ownerOf('b', 2), 1);
  const before = new Set(acknowledged);
  await new Promise((resolve) => setTimeout(resolve, 50));
  isOver = true;
  await Promise.all(writing);
  const found = new Set<number>();
  for (const sequence of fenced.sequences) for (const each of (await readLogObject(store, ownerOf('b', 2), sequence)).rows) found.add(each.version);
  expect([...acknowledged].filter((each) => !found.has(each))).toEqual([]);
  expect(before.size).toBeGreaterThan(70);
});

async function nodeNamed(name: string): Promise<TestableRows> {
  const rows = await openRows(join(folder, name));
  opened.push(rows);
  return rows;
}

async function rowsOf(rows: TestableRows): Promise<Record<string, number>> {
  const found: Record<string, number> = {};
  for await (const { handle, document } of rows.store.scan(1)) found[handle.toString()] = (JSON.parse(document.toString()) as { n: number }).n;
  return found;
}

/** Segments, and a log with rows before and after what is in them. */
async function publishAsFirstOwner(): Promise<void> {
  const rows = await nodeNamed('a');
  const uploads = new TestableUploads({ dataDir: join(folder, 'a'), clock: systemClock, rows: rows.store, store, tables: [table], regionCount: 1, nodeId: 'a' });
  await uploads.start();
  await rows.store.write(1, [row('1', 1, 0), row('2', 2, 0)].map(({ handle, document }) => ({ handle, put: document })), { durability: 'fsync' });
  await uploads.uploader.uploadNow();
  await uploads.stop();
  const log = new RegionLog(() => store, systemClock, ownerOf('a', 1), 0, { objects: [], next: 1 }, () => {}, meter);
  await log.append([row('1', 0, 1), row('2', 22, 3)]);
  await log.append([row('3', 3, 4)]);
}

test.each<Fault>(['before', 'after'])('a take-over that fails at any step (%s it) is done by the next attempt, with nothing lost or done twice', async (fault) => {
  await publishAsFirstOwner();
  const rows = await nodeNamed('b');
  const owner = ownerOf('b', 2);
  const faulty = new FaultyStore(store);
  const manifests = new ManifestStore(() => faulty);
  const parts = { rows: rows.store, store: faulty, manifests, folder: join(folder, 'loading'), check: () => {} };
  let taken: TakenOver | undefined;
  let attempts = 0;
  // The first attempt fails at its first step, the second at its second, and so on, until one gets through.
  for (let isDone = false; !isDone; ) {
    attempts++;
    let steps = 0;
    faulty.plan = { fault: () => (++steps === attempts ? fault : undefined) };
    try {
      taken ??= await takeOver(parts, owner, place);
      await publishTakeOver(manifests, (await manifests.claim({ ...owner, writeNode: 'b', versionBase: () => 0 })), taken.loaded);
      isDone = true;
    } catch (error) {
      expect(error).toMatchObject({ name: 'ObjectStoreUnavailable' });
    }
  }
  expect(attempts).toBeGreaterThan(6);
  expect(await rowsOf(rows)).toEqual({ 1: 1, 2: 22, 3: 3 });
  faulty.plan = {};
  const manifest = (await manifests.read(1, regionId))?.manifest;
  const { versionBase, segmentsEnd, loadedTo } = (taken as TakenOver).loaded;
  expect(manifest).toMatchObject({ term: 2, writeNode: 'b', versionBase, uploadedVersion: versionBase + segmentsEnd, handOvers: [{ term: 2, versionBase, loadedVersion: versionBase + loadedTo, uploadedVersion: 2 }] });
  expect(taken?.chain.objects.map(({ sequence }) => sequence)).toEqual([1, 2]);
});
