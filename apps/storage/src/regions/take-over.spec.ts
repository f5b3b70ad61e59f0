import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@binnacle/cluster-state/clock';
import type { ObjectStore } from '@binnacle/object-store/object-store';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { openRows, type TestableRows } from '../../test/testable-rows.js';
import { field, openFolder, TestableUploads } from '../../test/testable-uploads.js';
import { FencedError } from '../remote/manifest-store.js';
import { nextHandOver } from './hand-overs.js';
import { isNewer } from './late-rows-taker.js';
import { type LogOwner, RegionLog } from './region-log.js';
import { publishTakeOver, takeOver, type TakenOver } from './take-over.js';

const table = { id: 1, fields: [field('n', 'int32')], schemaVersion: 1 };
const regionId = 256;
const place = { index: 0, regionCount: 1 };
const ownerOf = (node: string, term: number): LogOwner => ({ tableId: 1, regionId, term, node });
let folder: string;
let store: ObjectStore;
const opened: TestableRows[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'binnacle-take-over-'));
  store = await openFolder(folder);
});

afterEach(async () => {
  for (const { store: rows } of opened.splice(0)) await rows.stop();
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

async function nodeNamed(name: string): Promise<TestableRows> {
  const rows = await openRows(join(folder, name));
  opened.push(rows);
  return rows;
}

const uploadsOf = (node: string, rows: TestableRows, term = 1): TestableUploads =>
  new TestableUploads({ dataDir: join(folder, node), clock: systemClock, rows: rows.store, store, tables: [table], regionCount: 1, nodeId: node, term });

async function put(rows: TestableRows, ...entries: [id: string, n: number | undefined][]): Promise<number[]> {
  const changes = entries.map(([id, n]) => ({ handle: Buffer.from(id), decide: () => (n === undefined ? ('delete' as const) : { put: Buffer.from(JSON.stringify({ id, n })) }) }));
  const results = await rows.store.write(1, changes, { durability: 'fsync' });
  return results.map((result) => (result as { version: number }).version);
}

async function rowsOf(rows: TestableRows): Promise<Record<string, number>> {
  const found: Record<string, number> = {};
  for await (const { handle, document } of rows.store.scan(1)) found[handle.toString()] = (JSON.parse(document.toString()) as { n: number }).n;
  return found;
}

async function takeOverOn(node: string, rows: TestableRows, term: number): Promise<TakenOver> {
  const { manifests } = uploadsOf(node, rows);
  const taken = await takeOver({ rows: rows.store, store, manifests, folder: join(folder, 'loading'), check: () => {} }, ownerOf(node, term), place);
  await publishTakeOver(manifests, taken.claimed, taken.loaded);
  return taken;
}

function logOf(owner: LogOwner, versionBase: number, next: number): RegionLog {
  return new RegionLog(() => store, new FakeClock(), owner, versionBase, { objects: [], next }, () => {}, { put: () => {} });
}

const manifest = async () => (await uploadsOf('reader', opened[0] as TestableRows).manifests.read(1, regionId))?.manifest;

test('segments, then the log, become rows of the new owner, whose versions are greater than all before; the old one publishes no more', async () => {
  const a = await nodeNamed('a');
  const uploads = uploadsOf('a', a);
  await uploads.start();
  await put(a, ['1', 1], ['2', 2], ['3', 3], ['4', 4]);
  await put(a, ['2', undefined], ['3', 33]);
  await uploads.uploader.uploadNow();
  const uploadedVersion = (await manifest())?.uploadedVersion ?? 0;
  expect(uploadedVersion).toBe(6);
  const log = logOf(ownerOf('a', 1), 0, 1);
  const logged = (id: string, n: number | undefined, version: number) => ({ handle: Buffer.from(id), version, document: n === undefined ? undefined : Buffer.from(JSON.stringify({ id, n })) });
  // Uploaded already; new; newer before older, as writes on their way together may be.
  await log.append([logged('1', 0, 3), logged('5', 5, 7), logged('4', 44, 9), logged('4', undefined, 8), logged('1', undefined, 10)]);
  await put(a, ['late', 1]);

  const b = await nodeNamed('b');
  // What lies here of a load that did not end goes.
  await put(b, ['left over', 1]);
  const taken = await takeOverOn('b', b, 2);
  expect(await rowsOf(b)).toEqual({ 3: 33, 4: 44, 5: 5 });
  const { versionBase, segmentsEnd } = taken.loaded;
  expect(await manifest()).toMatchObject({ term: 2, writeNode: 'b', versionBase, uploadedVersion: versionBase + segmentsEnd, handOvers: [{ term: 2, versionBase, loadedVersion: versionBase + taken.loaded.loadedTo, uploadedVersion: 6 }] });
  expect(versionBase + segmentsEnd).toBeGreaterThan(2 ** 36);

  await uploads.uploader.uploadNow().catch(() => undefined);
  expect(uploads.fenced).toEqual([regionId]);
  await expect(log.append([logged('6', 6, 11)])).rejects.toMatchObject({ code: 'NO_TARGET' });
  await expect(uploads.manifests.claim({ ...ownerOf('a', 1), writeNode: 'a', versionBase: () => 0 })).rejects.toThrow(FencedError);
  await uploads.stop();
});

test('a take-over can be repeated, by the same node on another folder and by the next one, until the rows of the log are uploaded', async () => {
  const log = logOf(ownerOf('a', 1), 0, 1);
  const a = await nodeNamed('a');
  await uploadsOf('a', a).claim();
  await log.append([{ handle: Buffer.from('1'), version: 1, document: Buffer.from('{"id":"1","n":1}') }]);
  for (const [name, node, term] of [['b', 'b', 2], ['b again', 'b', 2], ['b once more', 'b', 2], ['c', 'c', 3]] as const) {
    const rows = await nodeNamed(name);
    const { loaded, chain } = await takeOverOn(node, rows, term);
    expect(await rowsOf(rows)).toEqual({ 1: 1 });
    expect(chain.objects).toEqual([{ sequence: 1, lastVersion: loaded.versionBase + loaded.loadedTo }]);
  }
  expect((await manifest())?.handOvers).toHaveLength(4);
  expect(nextHandOver((await manifest()) ?? {}, { term: 1, versionBase: 0 })?.uploadedVersion).toBe(0);
});

test('what an owner logged is not replayed over what the next one has uploaded since, however often the region moves on', async () => {
  const a = await nodeNamed('a');
  await uploadsOf('a', a).claim();
  const log = logOf(ownerOf('a', 1), 0, 1);
  await log.append([{ handle: Buffer.from('1'), version: 1, document: Buffer.from('{"id":"1","n":1}') }, { handle: Buffer.from('2'), version: 2, document: Buffer.from('{"id":"2","n":2}') }]);
  const b = await nodeNamed('b');
  await takeOverOn('b', b, 2);
  // The log is not opened by an owner who has no write with durability remote, so its objects stay.
  await put(b, ['1', 11], ['2', undefined], ['3', 3]);
  const uploads = uploadsOf('b', b, 2);
  await uploads.start();
  await uploads.uploader.uploadNow();
  await uploads.stop();
  expect((await manifest())?.logFrom).toBe(1);
  for (const [name, term] of [['c', 3], ['d', 4]] as const) {
    const rows = await nodeNamed(name);
    await takeOverOn(name, rows, term);
    expect(await rowsOf(rows)).toEqual({ 1: 11, 3: 3 });
  }
});

test('a take-over is published once, whatever the base of its versions is beside the one before', async () => {
  const a = await nodeNamed('a');
  const { manifests } = uploadsOf('a', a);
  const claimed = await manifests.claim({ ...ownerOf('a', 2), writeNode: 'a', versionBase: () => 100 });
  const loaded = { tableId: 1, ...place, term: 2, versionBase: -50, segmentsEnd: 200, loadedTo: 210, uploadedBefore: 0, isPending: true } as const;
  for (let attempt = 0; attempt < 2; attempt++) await publishTakeOver(manifests, claimed, loaded);
  expect(await manifest()).toMatchObject({ versionBase: -50, uploadedVersion: 150, handOvers: [{ term: 2, versionBase: -50, loadedVersion: 160, uploadedVersion: 0 }] });
});

test('a late row counts unless there is something newer', () => {
  const loaded = { tableId: 1, ...place, term: 3, versionBase: 1_000, segmentsEnd: 10, loadedTo: 20, uploadedBefore: 500 };
  const origins = new Map([['replayed', { position: 15, version: 600 }], ['taken', { position: 40, version: 700 }]]);
  const present = { key: 'x', position: 0, loaded, origins, uploaded: new Map([['x', 300]]), isDirect: true };
  // Written here by a client, deletes among them.
  expect(isNewer(900, { ...present, position: 21 })).toBe(false);
  // Loaded from segments, or not there: newer than what was uploaded, or than what was looked up.
  expect([501, 301, 299].map((version) => isNewer(version, { ...present, position: 5 }))).toEqual([true, true, false]);
  expect(isNewer(200, { ...present, key: 'nowhere' })).toBe(true);
  // From the log, and from another owner that came back before.
  expect([599, 601].map((version) => isNewer(version, { ...present, key: 'replayed', position: 15 }))).toEqual([false, true]);
  expect([699, 701].map((version) => isNewer(version, { ...present, key: 'taken', position: 40 }))).toEqual([false, true]);
  // The same rows after a client wrote them, and from the log where the version is not known any more.
  expect(isNewer(900, { ...present, key: 'replayed', position: 50 })).toBe(false);
  expect([true, false].map((isDirect) => isNewer(501, { ...present, position: 15, isDirect }))).toEqual([true, false]);
});
