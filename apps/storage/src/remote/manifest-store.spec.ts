import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ObjectStore } from '@binnacle/object-store/object-store';
import { openFolder } from '../../test/testable-uploads.js';
import { FencedError, ManifestMovedError, ManifestStore } from './manifest-store.js';

let folder: string;
let store: ObjectStore;
let manifests: ManifestStore;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'binnacle-manifests-'));
  store = await openFolder(folder);
  manifests = new ManifestStore(() => store);
});

afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true });
});

const claimAs = (writeNode: string, term: number) => manifests.claim({ tableId: 1, regionId: 256, term, writeNode, versionBase: (before) => (before?.uploadedVersion ?? -1) + 1 });

test('a claim changes the term, the node and the base of versions, and nothing else', async () => {
  const first = await claimAs('n1', 1);
  await manifests.replace(first, { ...first.manifest, uploadedVersion: 41, completeToMs: 5, collections: 2 });
  const { manifest } = await claimAs('n2', 2);
  expect(manifest).toEqual({ ...first.manifest, uploadedVersion: 41, completeToMs: 5, collections: 2, term: 2, writeNode: 'n2', versionBase: 42 });
  expect((await claimAs('n2', 2)).manifest).toEqual(manifest);
});

test('an owner that slept through a claim cannot publish, whatever it knows', async () => {
  const old = await claimAs('n1', 1);
  const taken = await claimAs('n2', 2);
  await expect(manifests.replace(old, { ...old.manifest, uploadedVersion: 7 })).rejects.toThrow(FencedError);
  await expect(manifests.replace(taken, { ...taken.manifest, term: 1, writeNode: 'n1' })).rejects.toThrow(FencedError);
  await expect(manifests.update(old, (manifest) => ({ ...manifest, term: 1, writeNode: 'n1' }))).rejects.toThrow('taken over by node n2 in term 2');
  await expect(claimAs('n1', 2)).rejects.toThrow(FencedError);
  expect((await manifests.read(1, 256))?.manifest).toEqual(taken.manifest);
});

test('of twenty that claim a region at the same time in one term, one has it', async () => {
  const claims = await Promise.allSettled(Array.from({ length: 20 }, (_, index) => claimAs(`n${index}`, 1)));
  const owners = claims.flatMap((claim) => (claim.status === 'fulfilled' ? [claim.value.manifest.writeNode] : []));
  expect(owners).toEqual([(await manifests.read(1, 256))?.manifest.writeNode]);
});

test('a change goes on top of what others published meanwhile; without that it is told of it', async () => {
  const known = await claimAs('n1', 1);
  await manifests.replace(known, { ...known.manifest, collections: 1 });
  await expect(manifests.replace(known, { ...known.manifest, uploadedVersion: 3 })).rejects.toThrow(ManifestMovedError);
  const { manifest } = await manifests.update(known, (newest) => ({ ...newest, uploadedVersion: 3 }));
  expect(manifest).toMatchObject({ collections: 1, uploadedVersion: 3 });
  expect(await manifests.readUnless(await manifests.update(known, () => undefined))).toMatchObject({ manifest });
});
