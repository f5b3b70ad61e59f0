import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type CephServer, startCeph } from '@binnacle/testing/ceph';
import { CreateBucketCommand, ListMultipartUploadsCommand, S3Client } from '@aws-sdk/client-s3';
import { type ObjectStoreConfig, openObjectStore } from '../src/open-object-store.js';
import { type ObjectStore, ObjectStoreUnavailable, ObjectStoreUnusable } from '../src/object-store.js';
import { testObjectStore } from './object-store.contract.js';

let ceph: CephServer;
let client: S3Client;
beforeAll(async () => {
  ceph = await startCeph();
  Object.assign(process.env, ceph.env);
  client = new S3Client({ endpoint: ceph.endpoint, forcePathStyle: true, region: 'us-east-1' });
  await client.send(new CreateBucketCommand({ Bucket: 'bucket' }));
}, 90_000);
afterAll(async () => {
  client?.destroy();
  await ceph?.stop();
});

function open(changes: Partial<ObjectStoreConfig> = {}): Promise<ObjectStore> {
  return openObjectStore({
    url: 's3://bucket/some/prefix', s3Endpoint: ceph.endpoint, s3Region: '', s3ForcePathStyle: true,
    attemptTimeoutMs: 5_000, timeoutMs: 20_000, connectionsMax: 32, ...changes,
  });
}

testObjectStore('S3', open);

test('a bucket that does not exist, and credentials that are wrong, say what to do and no secret', async () => {
  const nowhere = await open({ url: 's3://nowhere' });
  await expect(nowhere.check()).rejects.toThrow(/no such bucket: s3:\/\/nowhere/);
  await nowhere.close();
  process.env['AWS_SECRET_ACCESS_KEY'] = 'a-wrong-secret';
  const denied = await open();
  try {
    const error = await denied.check().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ObjectStoreUnusable);
    expect(String(error)).toMatch(/denied access.*check that the credentials/);
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('a-wrong-secret');
  } finally {
    Object.assign(process.env, ceph.env);
    await denied.close();
  }
});

test('a store that is down or hangs is given up within the deadline', async () => {
  const down = await open({ s3Endpoint: 'http://127.0.0.1:1', timeoutMs: 2_000 });
  await expect(down.get('a')).rejects.toThrow(ObjectStoreUnavailable);
  await down.close();
  const hanging = await open({ attemptTimeoutMs: 300, timeoutMs: 1_000 });
  ceph.pause();
  try {
    const startedAt = performance.now();
    await expect(hanging.put('a', Buffer.from('x'))).rejects.toThrow(ObjectStoreUnavailable);
    expect(performance.now() - startedAt).toBeLessThan(3_000);
  } finally {
    ceph.resume();
    await hanging.close();
  }
});

test('no parts of uploads are left', async () => {
  const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: 'bucket' }));
  expect(Uploads).toEqual([]);
});
