import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { cephStartTimeoutMs, type CephServer, startCeph } from '@binnacle/testing/ceph';
import { once } from 'node:events';
import { createServer, request, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { CreateBucketCommand, ListMultipartUploadsCommand, S3Client } from '@aws-sdk/client-s3';
import { type ObjectStoreConfig, openObjectStore } from '../src/open-object-store.js';
import { type ObjectStore, PreconditionFailed, ObjectStoreUnavailable, ObjectStoreUnusable } from '../src/object-store.js';
import { testObjectStore } from './object-store.contract.js';

let ceph: CephServer;
let client: S3Client;
beforeAll(async () => {
  ceph = await startCeph();
  Object.assign(process.env, ceph.env);
  client = new S3Client({ endpoint: ceph.endpoint, forcePathStyle: true, region: 'us-east-1' });
  await client.send(new CreateBucketCommand({ Bucket: 'bucket' }));
}, cephStartTimeoutMs);
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
    expect(performance.now() - startedAt).toBeLessThan(10_000);
  } finally {
    ceph.resume();
    await hanging.close();
  }
});

async function withServer(listener: RequestListener, use: (endpoint: string) => Promise<void>): Promise<void> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/** In front of Ceph. `before` answers by itself, or says what becomes of Ceph's answer. */
function proxyTo(before: (method: string, answer: ServerResponse) => 'pass' | 'lose' | 'answered'): RequestListener {
  return (incoming, answer) => {
    const { method = 'GET', url: path, headers } = incoming;
    const fate = before(method, answer);
    if (fate === 'answered') return void incoming.resume();
    const onward = request(new URL(path ?? '/', ceph.endpoint), { method, headers }, (found) => {
      if (fate === 'lose') return void found.resume().on('end', () => incoming.socket.destroy());
      answer.writeHead(found.statusCode ?? 500, found.headers);
      found.pipe(answer);
    });
    incoming.pipe(onward);
  };
}

test('a conditional write that is refused as those are that come at the same time is sent again while its condition holds', async () => {
  let refusals = 0;
  const proxy = proxyTo((method, answer) => {
    if (method !== 'PUT' || refusals-- <= 0) return 'pass';
    answer.writeHead(500).end('<Error><Code>UnknownError</Code></Error>');
    return 'answered';
  });
  await withServer(proxy, async (endpoint) => {
    const store = await open({ s3Endpoint: endpoint });
    await store.check();
    // One more than the SDK repeats.
    refusals = 5;
    const first = await store.put('refused/a', Buffer.from('1'), { condition: 'absent' });
    expect(await store.head('refused/a')).toMatchObject(first);
    refusals = 5;
    await expect(store.put('refused/a', Buffer.from('2'), { condition: 'absent' })).rejects.toThrow(PreconditionFailed);
    refusals = 1_000;
    await expect(store.put('refused/a', Buffer.from('2'), { condition: first })).rejects.toThrow(ObjectStoreUnavailable);
    refusals = 0;
    expect(await store.head('refused/a')).toMatchObject(first);
    await store.close();
  });
});

test('a conditional write whose answer got lost is a win, and one that really lost is not', async () => {
  let isLosing = false;
  let lostAnswers = 0;
  const proxy = proxyTo((method) => {
    if (!isLosing || method !== 'PUT') return 'pass';
    isLosing = false;
    lostAnswers++;
    return 'lose';
  });
  await withServer(proxy, async (endpoint) => {
    const store = await open({ s3Endpoint: endpoint });
    await store.check();
    isLosing = true;
    const first = await store.put('lost/a', Buffer.from('1'), { condition: 'absent' });
    expect(await store.head('lost/a')).toMatchObject(first);
    isLosing = true;
    const second = await store.put('lost/a', Buffer.from('2'), { condition: first });
    expect((await store.get('lost/a'))?.body.toString()).toBe('2');
    isLosing = true;
    await expect(store.put('lost/a', Buffer.from('3'), { condition: first })).rejects.toThrow(PreconditionFailed);
    expect(await store.head('lost/a')).toMatchObject(second);
    expect(lostAnswers).toBe(3);
    await store.close();
  });
});

test('a store that overwrites regardless of conditions is refused, also by the first conditional write', async () => {
  await withServer((incoming, answer) => incoming.resume().on('end', () => answer.setHeader('etag', '"1"').end()), async (endpoint) => {
    const store = await open({ s3Endpoint: endpoint });
    await expect(store.check()).rejects.toThrow(/ignores If-None-Match/);
    await expect(store.put('a', Buffer.from('x'), { condition: 'absent' })).rejects.toThrow(ObjectStoreUnusable);
    await store.close();
  });
});

test('errors of the server are tried again, and told when they last', async () => {
  let failures = 2;
  const shaky: RequestListener = (incoming, answer) => {
    incoming.resume();
    if (failures-- > 0) answer.writeHead(503).end('<Error><Code>SlowDown</Code><Message>later</Message></Error>');
    else answer.setHeader('etag', '"1"').end();
  };
  await withServer(shaky, async (endpoint) => {
    const store = await open({ s3Endpoint: endpoint });
    expect(await store.put('a', Buffer.from('x'))).toEqual({ etag: '"1"' });
    failures = 1_000;
    await expect(store.put('a', Buffer.from('x'))).rejects.toThrow(/failed after \d attempts \(503 SlowDown\)/);
    await store.close();
  });
});

test('no parts of uploads are left', async () => {
  const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: 'bucket' }));
  expect(Uploads).toEqual([]);
});
