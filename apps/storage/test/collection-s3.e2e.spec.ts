import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import type { ObjectStore } from '@binnacle/object-store/object-store';
import { openObjectStore } from '@binnacle/object-store/open-object-store';
import { cephStartTimeoutMs, type CephServer, startCeph } from '@binnacle/testing/ceph';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { digestFile } from '../src/snapshot/file-digest.js';
import { manifestText } from '../src/snapshot/manifest.js';
import { RemoteSnapshotUpload, verifyRemoteSnapshot } from '../src/snapshot/remote-snapshot.js';
import { hourMs, TestableBucket } from './testable-bucket.js';

let ceph: CephServer;
let store: ObjectStore;
let bucket: TestableBucket;
const folder = mkdtempSync(join(tmpdir(), 'binnacle-collection-s3-'));

beforeAll(async () => {
  ceph = await startCeph();
  Object.assign(process.env, ceph.env);
  const client = new S3Client({ endpoint: ceph.endpoint, forcePathStyle: true, region: 'us-east-1' });
  await client.send(new CreateBucketCommand({ Bucket: 'bucket' }));
  client.destroy();
  const limits = { attemptTimeoutMs: 5_000, timeoutMs: 20_000, connectionsMax: 32 };
  store = await openObjectStore({ url: 's3://bucket/prefix', s3Endpoint: ceph.endpoint, s3Region: '', s3ForcePathStyle: true, ...limits });
  bucket = new TestableBucket(store);
}, cephStartTimeoutMs);

afterAll(async () => {
  await store?.close();
  await ceph?.stop();
  rmSync(folder, { recursive: true });
});

test('on S3: what nobody references is marked, and deleted an hour later; what is referenced stays', async () => {
  const live = await bucket.segment(1, 256, 'live');
  const garbage = await bucket.segment(1, 256, 'merged-away');
  await bucket.region(1, 256, [live], 2);
  const rows = await bucket.log(1, 256, 1, 'rows');
  expect(await bucket.collect()).toMatchObject({ marked: 0, deletedObjects: 0 });
  // Seconds are all that S3 tells of an object's age.
  await bucket.pass(hourMs + 5_000);
  expect(await bucket.collect()).toMatchObject({ marked: 2, deletedObjects: 0 });
  expect(await bucket.keys()).toEqual(expect.arrayContaining([garbage.key, rows]));
  await bucket.pass(hourMs + 5_000);
  expect(await bucket.collect()).toMatchObject({ marked: 0, deletedObjects: 2, leftObjects: 0 });
  expect((await bucket.keys()).filter((key) => !key.startsWith('probes/'))).toEqual(['regions/1/256/manifest.json', live.key]);
});

test('on S3: a snapshot is complete once all of it is there, and its name is taken', async () => {
  writeFileSync(join(folder, 'CURRENT'), 'MANIFEST-000001\n');
  const files = [{ path: 'CURRENT', ...digestFile(join(folder, 'CURRENT')) }];
  writeFileSync(join(folder, 'manifest.json'), manifestText({ createdAt: '2026-01-01T00:00:00.000Z', node: 'n1', roles: ['storage'], version: 1, madeBy: '0.1.0', files }));
  const attempt = (): RemoteSnapshotUpload =>
    new RemoteSnapshotUpload({ store, clock: new FakeClock(), node: 'n1', name: 'nightly', signal: new AbortController().signal, onBytes: () => undefined });
  const first = attempt();
  await first.claim();
  await expect(verifyRemoteSnapshot(store, 'nightly', () => undefined)).rejects.toThrow('half-made');
  await expect(attempt().claim()).rejects.toMatchObject({ code: 'CONFLICT' });
  await first.upload(folder);
  expect((await verifyRemoteSnapshot(store, 'nightly', () => undefined)).problems).toEqual([]);
  await expect(attempt().claim()).rejects.toMatchObject({ code: 'BAD_REQUEST' });
});
