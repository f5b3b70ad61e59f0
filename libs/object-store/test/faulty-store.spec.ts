import { afterAll, expect, test } from '@jest/globals';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { failNth, FaultyStore } from '../src/faulty-store.js';
import { FolderStore } from '../src/folder-store.js';
import { ObjectStoreUnavailable } from '../src/object-store.js';

const folder = await mkdtemp(join(tmpdir(), 'binnacle-faulty-store-'));
const inner = await FolderStore.open(folder, { timeoutMs: 10_000 });
afterAll(async () => {
  await inner.close();
  await rm(folder, { recursive: true, force: true });
});
const body = Buffer.from('0123456789');

test('the n-th operation of a kind fails before or after it took effect', async () => {
  const store = new FaultyStore(inner, failNth('put', 2, 'before'));
  await store.put('a', body);
  await expect(store.put('b', body)).rejects.toThrow(ObjectStoreUnavailable);
  expect(await store.head('b')).toBeUndefined();
  store.plan = failNth('put', 3, 'after');
  await expect(store.put('b', body)).rejects.toThrow(ObjectStoreUnavailable);
  expect(await store.head('b')).toBeDefined();
});

test('a seed gives the same faults again, at the rate asked for', async () => {
  const faultsOf = async (seed: number): Promise<boolean[]> => {
    const store = new FaultyStore(inner, { errorRate: 0.2, seed });
    const failed: boolean[] = [];
    for (let turn = 0; turn < 500; turn++) failed.push(await store.head('none').then(() => false, () => true));
    return failed;
  };
  const [first, again, other] = [await faultsOf(1), await faultsOf(1), await faultsOf(2)];
  expect(again).toEqual(first);
  expect(other).not.toEqual(first);
  const failures = first.filter(Boolean).length;
  expect(failures).toBeGreaterThan(70);
  expect(failures).toBeLessThan(130);
});

test('answers are torn, the clock is moved, and a step is called around each operation', async () => {
  await inner.put('torn', body);
  const steps: string[] = [];
  const store = new FaultyStore(inner, {
    tear: (bytes) => bytes.subarray(0, 3),
    clockAheadMs: () => 3_600_000,
    before: ({ kind, ofAll }) => void steps.push(`before ${kind} ${ofAll}`),
    after: ({ kind, ofAll }) => void steps.push(`after ${kind} ${ofAll}`),
  });
  expect((await store.get('torn'))?.body.toString()).toBe('012');
  expect((await store.getRange('torn', { offset: 5, length: 5 })).toString()).toBe('567');
  expect(await store.nowMs()).toBeGreaterThan(Date.now() + 3_000_000);
  expect(steps).toEqual(['before get 1', 'after get 1', 'before getRange 2', 'after getRange 2', 'before nowMs 3', 'after nowMs 3']);
});
