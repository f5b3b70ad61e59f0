import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NodeConfig } from '@binnacle/node-kit/config';
import type { NodeContext } from '@binnacle/node-kit/node-context';
import { type ObjectStore, ObjectStoreUnavailable } from '@binnacle/object-store/object-store';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { waitUntil } from '@binnacle/testing/wait-until';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { openRows, type TestableRows } from '../../test/testable-rows.js';
import { openFolder } from '../../test/testable-uploads.js';
import { ManifestStore } from '../remote/manifest-store.js';
import type { RemoteStore } from '../remote/remote-store.js';
import type { RowStore } from '../row-store.js';
import type { Catalog } from '../tables/catalog.js';
import type { Table } from '../tables/schema.js';
import { OwnRegions } from './own-regions.js';
import type { FormerRegion, LoadedRegion } from './region-file.js';
import type { Region } from './region.js';

const id = 256;
let folder: string;
let clock: FakeClock;
let bucket: ObjectStore;
let rows: TestableRows;
let tables: readonly Table[];
let listeners: Set<() => void>;
let own: OwnRegions;
/** What take-overs publish does not get into the remote store. */
let isPublishingAway: boolean;
let failingWrites: number;
let neededFrom: { log: () => number; marks: () => number };

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'binnacle-own-regions-'));
  clock = new FakeClock();
  bucket = await openFolder(folder);
  rows = await openRows(folder);
  listeners = new Set();
  [isPublishingAway, failingWrites] = [false, 0];
});

afterEach(async () => {
  await own.stop();
  await rows.store.stop();
  await bucket.close();
  rmSync(folder, { recursive: true, force: true });
});

function give(region: Omit<Region, 'id'>): void {
  tables = [{ id: 1, name: 't', fields: [], schemaVersion: 1, regions: [{ id, ...region }] } as unknown as Table];
  for (const listener of listeners) listener();
}

function open(): void {
  const config = new NodeConfig();
  config.dataDir = folder;
  const node = { id: 'b', config, clock, metrics: new Registry(), log: pino({ level: 'silent' }), addPart: () => undefined };
  const catalog = {
    all: () => tables,
    byId: () => tables[0],
    dropped: () => [],
    storedNextTableId: async () => 2,
    onChange: (listener: () => void) => (listeners.add(listener), () => listeners.delete(listener)),
    assign: async (change: (tables: readonly Table[]) => readonly Table[]) => give(change(tables)[0]?.regions[0] as Region),
  };
  const store = new Proxy(bucket, {
    get: (target, name: keyof ObjectStore) => {
      if (name !== 'put') return typeof target[name] === 'function' ? (target[name] as () => unknown).bind(target) : target[name];
      return async (...[key, body, options]: Parameters<ObjectStore['put']>) => {
        if (isPublishingAway && Buffer.from(body).includes('"handOvers"')) throw new ObjectStoreUnavailable('away');
        return target.put(key, body, options);
      };
    },
  });
  const watched = {
    keepLogFor: ({ position }: { position: () => number }) => void (neededFrom = { ...neededFrom, log: position }),
    keepMarks: (marks: () => number) => void (neededFrom = { ...neededFrom, marks }),
    appliedVersion: () => rows.store.appliedVersion(),
    count: (tableId: number) => rows.store.count(tableId),
    scan: (tableId: number) => rows.store.scan(tableId),
    write: async (...parameters: Parameters<RowStore['write']>) => {
      if (failingWrites > 0 && failingWrites--) throw new Error('the disk is full');
      return rows.store.write(...parameters);
    },
  };
  own = new OwnRegions(node as unknown as NodeContext, catalog as unknown as Catalog, watched as unknown as RowStore, { isOn: () => true, store: () => store } as unknown as RemoteStore);
}

/** Time goes on until then. */
async function until(condition: () => boolean): Promise<void> {
  await waitUntil(async () => {
    await clock.advance(50);
    return condition();
  });
}

async function start(): Promise<void> {
  let isStarted = false;
  void own.start().then(() => (isStarted = true));
  await until(() => isStarted);
}

const saved = () => JSON.parse(readFileSync(join(folder, 'storage', 'regions.json'), 'utf8')) as { loaded: [number, LoadedRegion][]; former: FormerRegion[] };

test('a region takes no writes before its take-over is published, nor does it after a restart', async () => {
  give({ writeNode: 'b', term: 2, leftAt: ['a'] });
  isPublishingAway = true;
  open();
  await start();
  await until(() => saved().loaded.length === 1);
  expect([own.ready(id), saved().loaded[0]?.[1].isPending]).toEqual([false, true]);
  await own.stop();
  open();
  await start();
  await clock.advance(20_000);
  expect(own.ready(id)).toBe(false);
  isPublishingAway = false;
  await until(() => own.ready(id) && saved().loaded[0]?.[1].isPending === undefined);
  await own.stop();
  isPublishingAway = true;
  open();
  await start();
  await until(() => own.ready(id));
});

test('leaving a region again and again until it succeeds does not take away what came back meanwhile', async () => {
  give({ writeNode: 'b', term: 2 });
  open();
  await start();
  await until(() => own.ready(id));
  failingWrites = 1;
  give({ writeNode: 'c', term: 3, leftAt: ['b'] });
  await until(() => failingWrites === 0);
  give({ writeNode: 'b', term: 4, leftAt: ['b', 'c'] });
  await until(() => own.ready(id));
  await clock.advance(30_000);
  expect(saved().loaded.map(([, { term }]) => term)).toEqual([4]);
  expect(saved().former.map(({ term }) => term)).toEqual([2]);
});

test('the commit log and delete marks are kept from before the folder was read, for what is late elsewhere, and for those who come back', async () => {
  give({ writeNode: 'b', term: 2, leftAt: ['a'] });
  open();
  expect([neededFrom.log(), neededFrom.marks()]).toEqual([0, 0]);
  await start();
  await until(() => own.ready(id));
  expect([neededFrom.log(), neededFrom.marks()]).toEqual([Infinity, (own.held(id)?.loaded?.loadedTo ?? NaN) + 1]);
  give({ writeNode: 'b', term: 2 });
  expect(neededFrom.marks()).toBe(Infinity);
  own.fenced(id, { term: 3, writeNode: '' });
  expect([neededFrom.log(), neededFrom.marks()]).toEqual([0, 0]);
  give({ writeNode: 'c', term: 3, leftAt: ['b'] });
  await until(() => own.former().length === 1);
  expect([neededFrom.log(), neededFrom.marks()]).toEqual([0, 0]);
});

test('after cluster state was put back to what it was earlier, a region begins anew in a term above that of its manifest', async () => {
  const manifests = new ManifestStore(() => bucket);
  await manifests.claim({ tableId: 1, regionId: id, term: 7, writeNode: 'a', versionBase: () => 0 });
  give({ writeNode: 'b', term: 2 });
  open();
  await start();
  await until(() => own.ready(id));
  expect(tables[0]?.regions).toEqual([{ id, writeNode: 'b', term: 8, leftAt: ['b', 'a'] }]);
  expect((await manifests.read(1, id))?.manifest).toMatchObject({ term: 8, writeNode: 'b' });
});
