import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
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
  const uploads = new TestableUploads({ dataDir: join(folder, name), clock: systemClock, rows: rows.store, store, tables: [table], regionCount: 1, nodeId: name, term });
  const { manifests } = uploads;
  const held = new HeldRegion({ tableId: 1, regionId, term, node: name }, place);
  const { claimed, loaded, origins } = await takeOver({ rows: rows.store, store, manifests, folder: join(folder, 'loading'), check: () => {} }, held.owner, place);
  const { manifest } = await publishTakeOver(manifests, claimed, loaded);
  Object.assign(held, { isReady: true, loaded, origins, claim: manifest, handOvers: manifest.handOvers });
  const own = { held: () => held, manifests } as unknown as OwnRegions;
  const node = { config: { dataDir: join(folder, name) } } as unknown as NodeContext;
  return { rows, uploads, held, taker: new LateRowsTaker(node, {} as HttpAdapterHost, rows.store, { store: () => store } as unknown as RemoteStore, own) };
}

const baseOf = ({ held }: Owner): number => held.claim?.versionBase ?? 0;

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

  expect(await c.taker.take(regionId, baseOf(a), ofA)).toBe(2);
  expect(await rowsOf(c)).toEqual({ 'only a': 1, 'b late': 1, 'b uploaded': 2, uploaded: 2, 'c wrote': 4 });
  expect(await c.taker.take(regionId, baseOf(b), ofB)).toBe(2);
  const all = { 'only a': 1, 'b late': 3, 'only b': 3, 'b uploaded': 2, uploaded: 2, 'c wrote': 4 };
  expect(await rowsOf(c)).toEqual(all);
  // What is sent again, because an answer got lost, changes nothing.
  expect([await c.taker.take(regionId, baseOf(a), ofA), await c.taker.take(regionId, baseOf(b), ofB)]).toEqual([0, 0]);
  expect(await rowsOf(c)).toEqual(all);
});

test('a node that has not got the region takes nothing', async () => {
  const a = await ownerNamed('a', 1);
  a.held.isLost = true;
  await expect(a.taker.take(regionId, 0, [])).rejects.toMatchObject({ code: 'NOT_READY' });
});
