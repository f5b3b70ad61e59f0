import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@binnacle/cluster-state/clock';
import type { NodeContext } from '@binnacle/node-kit/node-context';
import type { ObjectStore } from '@binnacle/object-store/object-store';
import type { HttpAdapterHost } from '@nestjs/core';
import { openRows, type TestableRows } from '../../test/testable-rows.js';
import { field, openFolder, TestableUploads } from '../../test/testable-uploads.js';
import type { RemoteStore } from '../remote/remote-store.js';
import { HeldRegion } from './held-region.js';
import { LateRowsTaker } from './late-rows-taker.js';
import type { OwnRegions } from './own-regions.js';
import { publishTakeOver, takeOver } from './take-over.js';

const table = { id: 1, fields: [field('n', 'int32')], schemaVersion: 1 };
const regionId = 256;
const place = { index: 0, regionCount: 1 };
let folder: string;
let store: ObjectStore;
const opened: TestableRows[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'binnacle-late-rows-'));
  store = await openFolder(folder);
});

afterEach(async () => {
  for (const { store: rows } of opened.splice(0)) await rows.stop();
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

interface Owner {
  readonly rows: TestableRows;
  readonly uploads: TestableUploads;
  readonly held: HeldRegion;
  readonly taker: LateRowsTaker;
}

async function ownerNamed(name: string, term: number): Promise<Owner> {
  const rows = await openRows(join(folder, name));
  opened.push(rows);
  const uploads = new TestableUploads({ dataDir: join(folder, name), clock: systemClock, rows: rows.store, store, tables: [table], regionCount: 1, nodeId: name, term, leftAt: ['a'] });
  const { manifests } = uploads;
  const held = new HeldRegion({ tableId: 1, regionId, term, node: name }, place);
  const { claimed, loaded, origins } = await takeOver({ rows: rows.store, store, manifests, folder: join(folder, 'loading'), check: () => {} }, held.owner, place);
  const { manifest } = await publishTakeOver(manifests, claimed, loaded);
  Object.assign(held, { isReady: true, loaded, origins, claim: manifest, handOvers: manifest.handOvers });
  return { rows, uploads, held, taker: takerOf(name, rows, held, uploads, store) };
}

/** The node's next process: it knows what is on its disk. */
function restarted(owner: Owner, through = store): Owner {
  const { loaded, claim, handOvers } = owner.held;
  const held = Object.assign(new HeldRegion(owner.held.owner, place), { isReady: true, loaded, claim, handOvers });
  return { ...owner, held, taker: takerOf(owner.held.owner.node, owner.rows, held, owner.uploads, through) };
}

function takerOf(name: string, rows: TestableRows, held: HeldRegion, { manifests }: TestableUploads, through: ObjectStore): LateRowsTaker {
  const own = { held: () => held, assigned: () => [], manifests } as unknown as OwnRegions;
  const node = { clock: systemClock, config: { dataDir: join(folder, name) } } as unknown as NodeContext;
  return new LateRowsTaker(node, {} as HttpAdapterHost, rows.store, { store: () => through } as unknown as RemoteStore, own);
}

const baseOf = ({ held }: Owner): number => held.claim?.versionBase ?? 0;
const ownershipOf = ({ held }: Owner) => ({ term: held.owner.term, versionBase: held.claim?.versionBase ?? 0 });

/** Versions of the region. */
async function put(owner: Owner, n: number, ...ids: string[]): Promise<{ handle: Buffer; version: number; document: Buffer }[]> {
  const changes = ids.map((id) => ({ handle: Buffer.from(id), put: Buffer.from(JSON.stringify({ id, n })) }));
  const results = await owner.rows.store.write(1, changes, { durability: 'fsync' });
  return changes.map(({ handle, put: document }, index) => ({ handle, document, version: baseOf(owner) + (results[index] as { version: number }).version }));
}

async function rowsOf({ rows }: Owner): Promise<Record<string, number>> {
  const found: Record<string, number> = {};
  for await (const { handle, document } of rows.store.scan(1)) found[handle.toString()] = (JSON.parse(document.toString()) as { n: number }).n;
  return found;
}

test('of several former owners that come back in any order, each row ends as the last of them left it', async () => {
  const a = await ownerNamed('a', 1);
  const ofA = await put(a, 1, 'only a', 'b uploaded', 'b late', 'c wrote', 'c deleted');
  const b = await ownerNamed('b', 2);
  await put(b, 2, 'b uploaded', 'uploaded');
  await b.uploads.start();
  await b.uploads.uploader.uploadNow();
  await b.uploads.stop();
  const ofB = await put(b, 3, 'b late', 'only b', 'c wrote');
  const c = await ownerNamed('c', 3);
  await put(c, 4, 'c wrote', 'c deleted');
  await c.rows.store.write(1, [{ handle: Buffer.from('c deleted'), decide: () => 'delete' }], { durability: 'fsync' });
  expect(await rowsOf(c)).toEqual({ 'b uploaded': 2, uploaded: 2, 'c wrote': 4 });

  expect(await c.taker.take(regionId, ownershipOf(a), ofA)).toBe(2);
  expect(await rowsOf(c)).toEqual({ 'only a': 1, 'b late': 1, 'b uploaded': 2, uploaded: 2, 'c wrote': 4 });
  expect(await c.taker.take(regionId, ownershipOf(b), ofB)).toBe(2);
  const all = { 'only a': 1, 'b late': 3, 'only b': 3, 'b uploaded': 2, uploaded: 2, 'c wrote': 4 };
  expect(await rowsOf(c)).toEqual(all);
  // What is sent again, because an answer got lost, changes nothing.
  expect([await c.taker.take(regionId, ownershipOf(a), ofA), await c.taker.take(regionId, ownershipOf(b), ofB)]).toEqual([0, 0]);
  expect(await rowsOf(c)).toEqual(all);
});

test('which late rows were taken from whom is known after a restart, so that those of a later owner still count', async () => {
  const a = await ownerNamed('a', 1);
  const ofA = await put(a, 1, 'x', 'y');
  const b = await ownerNamed('b', 2);
  const ofB = await put(b, 2, 'x');
  const c = await ownerNamed('c', 3);
  expect(await c.taker.take(regionId, ownershipOf(a), ofA)).toBe(2);
  expect(await restarted(c).taker.take(regionId, ownershipOf(b), ofB)).toBe(1);
  expect(await restarted(c).taker.take(regionId, ownershipOf(a), ofA)).toBe(0);
  expect(await rowsOf(c)).toEqual({ x: 2, y: 1 });
  await c.taker.forgetLeft();
  expect(readdirSync(join(folder, 'c', 'storage', 'late-rows'))).toEqual([]);
});

test('a delete is not undone by an older row of a former owner, though all segments were merged since; they are fetched once for all requests', async () => {
  const a = await ownerNamed('a', 1);
  await a.uploads.start();
  await put(a, 0, 'x', 'y');
  await a.uploads.uploader.uploadNow();
  await a.uploads.stop();
  const ofA = await put(a, 1, 'x', 'z');
  const b = await ownerNamed('b', 2);
  await b.uploads.start();
  await b.rows.store.write(1, [{ handle: Buffer.from('x'), decide: () => 'delete' }], { durability: 'fsync' });
  await b.uploads.uploader.uploadNow();
  for (let n = 0; n < 3; n++) {
    await put(b, n, 'y');
    await b.uploads.uploader.uploadNow();
  }
  await b.uploads.merger.mergeAll();
  await b.uploads.stop();
  const segments = (await b.uploads.manifests.read(1, regionId))?.manifest.segments ?? [];
  expect(segments.map(({ level }) => level)).toContain(1);
  expect(segments.reduce((sum, { deleteMarks }) => sum + deleteMarks, 0)).toBe(1);
  let fetched = 0;
  const counting = { getRange: (...parameters: Parameters<ObjectStore['getRange']>) => (fetched++, store.getRange(...parameters)) } as unknown as ObjectStore;
  const c = restarted(await ownerNamed('c', 3), counting);
  expect(await Promise.all(ofA.map((row) => c.taker.take(regionId, ownershipOf(a), [row])))).toEqual([0, 1]);
  expect(await rowsOf(c)).toEqual({ y: 2, z: 1 });
  expect(fetched).toBe(segments.length);
  await c.taker.forgetLeft();
  expect(readdirSync(join(folder, 'c', 'storage', 'loading'))).toEqual([]);
});

test('a node that has not got the region takes nothing', async () => {
  const a = await ownerNamed('a', 1);
  a.held.isLost = true;
  await expect(a.taker.take(regionId, ownershipOf(a), [])).rejects.toMatchObject({ code: 'NOT_READY' });
});
