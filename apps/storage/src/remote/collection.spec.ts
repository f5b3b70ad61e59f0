import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ObjectStoreUnavailable } from '@binnacle/object-store/object-store';
import { hourMs, TestableBucket } from '../../test/testable-bucket.js';
import { openFolder } from '../../test/testable-uploads.js';
import { OwnershipLost } from './collection.js';
import { findGarbage } from './garbage.js';
import { ManifestStore } from './manifest-store.js';
import { RegionUploads } from './region-uploads.js';

let folder: string;
let opened: { close(): Promise<void> }[];

beforeEach(() => {
  // Thousands of small objects, each synced: in memory that costs nothing.
  folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'binnacle-collection-'));
  opened = [];
});

afterEach(async () => {
  for (const each of opened) await each.close();
  rmSync(folder, { recursive: true });
});

async function openBucket(name = 'bucket'): Promise<TestableBucket> {
  const store = await openFolder(join(folder, name));
  opened.push(store);
  return new TestableBucket(store);
}

const attempt = (digit: string) => `files-${digit.repeat(16)}`;

/** Of a live, a dropped and an unknown table, and of snapshots. Resolves to the keys that must never go, and those that must. */
async function fill(bucket: TestableBucket): Promise<{ live: string[]; garbage: string[] }> {
  const [used, old, abandoned] = [await bucket.segment(1, 256, 'used'), await bucket.segment(1, 256, 'merged-away'), await bucket.segment(1, 256, 'never-published')];
  await bucket.region(1, 256, [used], 4);
  const rows = [await bucket.log(1, 256, 1, 'rows'), await bucket.log(1, 256, 3, 'rows')];
  const kept = [await bucket.log(1, 256, 2, 'fence'), await bucket.log(1, 256, 4, 'rows')];
  const dropped = await bucket.segment(2, 512, 'dropped');
  await bucket.region(2, 512, [dropped]);
  const droppedLog = [await bucket.log(2, 512, 1, 'rows'), await bucket.log(2, 512, 2, 'fence')];
  const unknown = await bucket.segment(3, 768, 'unknown');
  await bucket.region(3, 768, []);
  const lost = await bucket.segment(1, 257, 'its-manifest-is-gone');
  const complete = await bucket.snapshot('good', { state: 'complete', folder: attempt('a') }, ['storage/CURRENT', 'node-id']);
  const halfMade = await bucket.snapshot('bad', { state: 'under way', folder: attempt('b') }, ['storage/CURRENT']);
  await bucket.inner.put('catalog.json', Buffer.from('{}'));
  return {
    live: ['catalog.json', used.key, 'regions/1/256/manifest.json', ...kept, unknown.key, 'regions/3/768/manifest.json', lost.key, ...complete, 'snapshots/good/manifest.json', 'snapshots/bad/manifest.json'],
    garbage: [old.key, abandoned.key, ...rows, dropped.key, 'regions/2/512/manifest.json', ...droppedLog, ...halfMade],
  };
}

test('what nobody references is marked after an hour and deleted an hour later, and nothing else ever', async () => {
  const bucket = await openBucket();
  const { live, garbage } = await fill(bucket);
  // Of the dropped table: three objects and the manifest. The rest is too young.
  expect(await bucket.collect()).toMatchObject({ deletedObjects: 0, marked: 4, emptied: [] });
  await bucket.pass(hourMs + 1_000);
  // The half-made snapshot needs no mark.
  expect(await bucket.collect()).toMatchObject({ deletedObjects: 5, marked: 4 });
  await bucket.pass(hourMs + 1_000);
  expect(await bucket.collect()).toMatchObject({ deletedObjects: 4, marked: 0, emptied: [2] });
  expect(await bucket.keys()).toEqual(live.toSorted());
  expect(garbage).toHaveLength(9);
  expect(await bucket.collect()).toMatchObject({ deletedObjects: 0, marked: 0, leftObjects: 3 });
});

test('a damaged manifest keeps what it may name, and nobody from collecting the rest', async () => {
  const bucket = await openBucket();
  await fill(bucket);
  await bucket.inner.put('regions/1/256/manifest.json', Buffer.from('{"format":2}'));
  await bucket.inner.put('snapshots/bad/manifest.json', Buffer.from('{'));
  const before = (await bucket.keys()).filter((key) => /^(regions\/1|snapshots)\//.test(key));
  for (let run = 0; run < 3; run++) {
    await bucket.collect();
    await bucket.pass(hourMs + 1_000);
  }
  const after = await bucket.keys();
  expect(after.filter((key) => /^(regions\/1|snapshots)\//.test(key))).toEqual(before);
  expect(after.filter((key) => key.startsWith('regions/2/'))).toEqual([]);
});

test('a catalog that was lost deletes nothing', async () => {
  const bucket = await openBucket();
  await fill(bucket);
  const regions = (keys: string[]): string[] => keys.filter((key) => key.startsWith('regions/'));
  const before = regions(await bucket.keys());
  for (let run = 0; run < 4; run++) {
    await bucket.collect({ tables: { live: new Set(), dropped: new Set() } });
    await bucket.pass(2 * hourMs);
  }
  expect(regions(await bucket.keys())).toEqual(before);
});

test('tables marked before the catalog was lost are not deleted after it', async () => {
  const bucket = await openBucket();
  await fill(bucket);
  await bucket.collect();
  await bucket.pass(2 * hourMs);
  await bucket.collect({ tables: { live: new Set(), dropped: new Set() } });
  expect(await bucket.missing(2, 512)).toEqual([]);
});

test('killed before or after every single operation, it leaves nothing that the next run does not take, and deletes nothing that is referenced', async () => {
  const runs = async (bucket: TestableBucket): Promise<void> => {
    for (let run = 0; run < 4; run++) {
      await bucket.collect().catch((error: unknown) => {
        if (!(error instanceof ObjectStoreUnavailable)) throw error;
      });
      await bucket.pass(hourMs + 1_000);
    }
  };
  const counted = await openBucket('counted');
  await fill(counted);
  await runs(counted);
  const steps = counted.store.operations.length;
  expect(steps).toBeGreaterThan(40);
  for (let step = 1; step <= steps; step++) {
    for (const when of ['before', 'after'] as const) {
      const name = `${when}-${step}`;
      const bucket = await openBucket(name);
      const { live, garbage } = await fill(bucket);
      let isDead = false;
      const began = bucket.store.operations.length;
      bucket.plan({
        fault: ({ ofAll }) => {
          if (isDead) return 'before';
          isDead = ofAll - began === step;
          return isDead ? when : undefined;
        },
      });
      // The run in which it dies is the last one of that process; another one goes on.
      for (let run = 0; run < 4 && !isDead; run++) {
        await bucket.collect().catch(() => undefined);
        await bucket.pass(hourMs + 1_000);
      }
      expect([name, isDead, await bucket.missing(1, 256)]).toEqual([name, true, []]);
      const keys = new Set(await bucket.keys());
      expect([name, live.filter((key) => !keys.has(key))]).toEqual([name, []]);
      bucket.plan({});
      // Leaks: what was marked for garbage is either gone or known to be garbage.
      const known = new Set<string>();
      const source = { store: bucket.store, manifests: bucket.manifests, tables: { live: new Set([1]), dropped: new Set([2]) } };
      for await (const found of findGarbage(source, {})) for (const { key } of found.garbage) known.add(key);
      expect([name, garbage.filter((key) => keys.has(key) && !known.has(key))]).toEqual([name, []]);
      await runs(bucket);
      expect([name, await bucket.keys()]).toEqual([name, live.toSorted()]);
      rmSync(join(folder, name), { recursive: true });
    }
  }
}, 300_000);

test('an owner that lost its lease deletes nothing more', async () => {
  const bucket = await openBucket();
  await fill(bucket);
  await bucket.pass(hourMs + 1_000);
  await bucket.collect();
  await bucket.pass(hourMs + 1_000);
  let deletions = 0;
  bucket.plan({ before: ({ kind }) => void (kind === 'delete' && deletions++) });
  await expect(bucket.collect({ isOwner: () => deletions < 3 })).rejects.toThrow(OwnershipLost);
  // Those that had been let through at that moment run to their end.
  expect(deletions).toBeLessThanOrEqual(3 + 8);
  bucket.plan({});
  await bucket.collect();
  expect(await bucket.missing(1, 256)).toEqual([]);
});

test('two collectors at once, one of them asleep before a deletion while the other finishes, take the same and nothing else', async () => {
  const bucket = await openBucket();
  const { live } = await fill(bucket);
  for (let run = 0; run < 2; run++) {
    await bucket.collect();
    await bucket.pass(hourMs + 1_000);
  }
  let wake = (): void => {};
  const asleep = new Promise<void>((resolve) => (wake = resolve));
  let sleeping = false;
  bucket.plan({
    before: async ({ kind }) => {
      if (kind !== 'delete' || sleeping) return;
      sleeping = true;
      await asleep;
    },
  });
  const sleeper = bucket.collect({ owner: { node: 'n1', term: 1 } });
  while (!sleeping) await new Promise((resolve) => setImmediate(resolve));
  await bucket.collect({ owner: { node: 'n2', term: 2 } });
  wake();
  await sleeper;
  expect(await bucket.keys()).toEqual(live.toSorted());
});

/** A write node's view of region 256 of table 1. */
function uploadsOf(bucket: TestableBucket): RegionUploads {
  const own = { table: { id: 1, fields: [], schemaVersion: 1 }, region: { id: 256 }, regionCount: 1 };
  const regions = { all: () => [own], claimed: () => ({ term: 1, versionBase: 0 }), fenced: () => undefined };
  return new RegionUploads(() => bucket.inner, new ManifestStore(() => bucket.inner), regions);
}

const published = { uploadedVersion: 7, completeToMs: 1 };

async function upload(uploads: RegionUploads, name: string) {
  const [state] = (await uploads.refresh({})).states;
  if (state === undefined) throw new Error('the region is not known');
  const path = join(folder, name);
  writeFileSync(path, name);
  const facts = { bytes: name.length, metaOffset: 0, rows: 1, deleteMarks: 0, minVersion: 1, maxVersion: 7, schemaVersion: 1, minHandle: 'a', maxHandle: 'b', columns: [] };
  return { state, segment: await uploads.put(state, { path, ...facts }, 0, 0, {}) };
}

test.each([0, 1, 2, 3])('an uploader asleep between its file and the manifest for %i runs publishes the file whole, or not at all', async (runs) => {
  const bucket = await openBucket();
  await bucket.region(1, 256, []);
  const uploads = uploadsOf(bucket);
  const { state, segment } = await upload(uploads, 'asleep');
  for (let run = 0; run < runs; run++) {
    await bucket.pass(hourMs + 1_000);
    await bucket.collect();
  }
  const outcome = uploads.publish(state, { segments: [segment], ...published }, {});
  // Marked only: nothing is deleted yet, and publishing wins. Deleted by the second run: it has to be uploaded again.
  if (runs < 2) expect(await outcome).toBe(true);
  else await expect(outcome).rejects.toThrow('was collected before it was published');
  for (let run = 0; run < 3; run++) {
    await bucket.pass(hourMs + 1_000);
    await bucket.collect();
    expect(await bucket.missing(1, 256)).toEqual([]);
  }
  expect((await bucket.keys()).filter((key) => key.startsWith('gc/'))).toEqual([]);
});

test('an uploader that publishes in the very moment of a deletion loses, whatever it slept through', async () => {
  const bucket = await openBucket();
  await bucket.region(1, 256, []);
  const uploads = uploadsOf(bucket);
  const { state, segment } = await upload(uploads, 'late');
  await bucket.pass(hourMs + 1_000);
  await bucket.collect();
  await bucket.pass(hourMs + 1_000);
  let outcome: Promise<boolean> | undefined;
  bucket.plan({
    before: async ({ kind, key }) => {
      if (kind !== 'delete' || key !== segment.key) return;
      outcome = uploads.publish(state, { segments: [segment], ...published }, {});
      await outcome.catch(() => undefined);
    },
  });
  await bucket.collect();
  await expect(outcome).rejects.toThrow('was collected before it was published');
  expect(await bucket.missing(1, 256)).toEqual([]);
});

test('a file put before a collection is refused also when another change of this node has seen that collection first', async () => {
  const bucket = await openBucket();
  await bucket.region(1, 256, []);
  const uploads = uploadsOf(bucket);
  const merged = await upload(uploads, 'merged');
  for (let run = 0; run < 2; run++) {
    await bucket.pass(hourMs + 1_000);
    await bucket.collect();
  }
  expect(await uploads.publish(merged.state, { segments: [], ...published }, {})).toBe(true);
  await expect(uploads.publish(merged.state, { segments: [merged.segment], ...published }, {})).rejects.toThrow('was collected');
});

test('a manifest that moves while the collector looks is looked at again', async () => {
  const bucket = await openBucket();
  await bucket.region(1, 256, []);
  const uploads = uploadsOf(bucket);
  const { state, segment } = await upload(uploads, 'published-at-last');
  await bucket.pass(hourMs + 1_000);
  await bucket.collect();
  await bucket.pass(hourMs + 1_000);
  let isPublished: boolean | undefined;
  bucket.plan({
    before: async ({ kind, key }) => {
      if (kind === 'put' && key.endsWith('manifest.json') && isPublished === undefined) isPublished = await uploads.publish(state, { segments: [segment], ...published }, {});
    },
  });
  expect(await bucket.collect()).toMatchObject({ deletedObjects: 0 });
  expect(isPublished).toBe(true);
  expect(await bucket.missing(1, 256)).toEqual([]);
});
