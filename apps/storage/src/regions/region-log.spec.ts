import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { NodeConfig } from '@binnacle/node-kit/config';
import { type ObjectStore, ObjectStoreUnavailable, PreconditionFailed } from '@binnacle/object-store/object-store';
import { openObjectStore } from '@binnacle/object-store/open-object-store';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { logObjectKey } from './log-object.js';
import { fenceLog, type LogChain, logSequences, readChain, readLogObject, RegionLog, RegionLogFenced } from './region-log.js';

const where = { tableId: 1, regionId: 256 };
const first = { ...where, term: 1, node: 'a' };
const second = { ...where, term: 2, node: 'b' };
let folder: string;
let store: ObjectStore;
let puts: boolean[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'binnacle-region-log-'));
  store = await openObjectStore({ ...new NodeConfig().remote, url: pathToFileURL(folder).href });
  puts = [];
});

afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

function logOf(owner: typeof first, next = 1, through: Partial<ObjectStore> = {}): RegionLog {
  const used = { put: store.put.bind(store), get: store.get.bind(store), delete: store.delete.bind(store), ...through } as ObjectStore;
  return new RegionLog(() => used, new FakeClock(), owner, 0, { objects: [], next }, () => {}, { put: (_seconds, isDone) => void puts.push(isDone) });
}

const row = (id: string, version: number) => ({ handle: Buffer.from(id), version, document: Buffer.from(`{"id":"${id}"}`) });

async function idsAt(sequence: number): Promise<string[]> {
  return (await readLogObject(store, second, sequence)).rows.map(({ handle }) => handle.toString());
}

test('rows that come in while an object is put share the next one', async () => {
  const log = logOf(first);
  const waiting = [log.append([row('1', 1)])];
  await new Promise((resolve) => setImmediate(resolve));
  waiting.push(log.append([row('2', 2)]), log.append([row('3', 3), row('4', 4)]));
  await Promise.all(waiting);
  expect([await idsAt(1), await idsAt(2)]).toEqual([['1'], ['2', '3', '4']]);
  expect(await logSequences(store, where, 1)).toEqual([1, 2]);
});

test('after the fence of the next owner the one before acknowledges nothing more, however often it tries', async () => {
  const log = logOf(first);
  await log.append([row('1', 1)]);
  expect(await fenceLog(store, second, 1)).toEqual({ sequences: [1], next: 3 });
  await expect(log.append([row('2', 2)])).rejects.toMatchObject({ code: 'NO_TARGET' });
  await expect(log.append([row('2', 2)])).rejects.toMatchObject({ code: 'NO_TARGET' });
  await expect(readChain(store, first, 1, { versionBase: 0, loadedTo: 0 })).rejects.toThrow(RegionLogFenced);
  const next = logOf(second, 3);
  await next.append([row('3', 3)]);
  expect(await idsAt(3)).toEqual(['3']);
});

test('an object that may have been put is put again before any other, also when its number has been read and deleted meanwhile', async () => {
  let isAway = true;
  const log = logOf(first, 1, {
    put: async (key, body, options) => {
      const answer = await store.put(key, body, options);
      if (isAway) throw new ObjectStoreUnavailable('the answer got lost');
      return answer;
    },
  });
  await expect(log.append([row('1', 1)])).rejects.toThrow('may not be in the store');
  // The next owner has the row, and needs its object no more.
  expect(await fenceLog(store, second, 1)).toEqual({ sequences: [1], next: 3 });
  await store.delete(logObjectKey(1, 256, 1));
  isAway = false;
  await expect(log.append([row('2', 2)])).rejects.toMatchObject({ code: 'NO_TARGET' });
  expect(await idsAt(1)).toEqual(['1']);
});

test('objects are needed until their rows are in segments; fences are never removed', async () => {
  const log = logOf(first);
  for (const version of [10, 20, 30]) await log.append([row(String(version), version)]);
  expect([9, 10, 25, 30].map((uploaded) => log.neededFrom(uploaded))).toEqual([1, 2, 3, 4]);
  await log.trim(3);
  expect(await logSequences(store, where, 1)).toEqual([3]);
  const { next } = await fenceLog(store, second, 3);
  const after = new RegionLog(() => store, new FakeClock(), second, 50, { objects: [{ sequence: 3, lastVersion: 99 }], next }, () => {}, { put: () => {} });
  await after.append([row('x', 100)]);
  expect(after.neededFrom(50)).toBe(3);
  await after.trim(after.neededFrom(100));
  expect(await logSequences(store, where, 1)).toEqual([4]);
  expect((await readLogObject(store, second, 4)).head.kind).toBe('fence');
});

test('a number that the store refused and has nothing under is not passed over: no fence could come behind what follows', async () => {
  let conflicts = 1;
  const log = logOf(first, 1, {
    put: async (key, body, options) => {
      if (conflicts-- > 0) throw new PreconditionFailed('two at the same time');
      return store.put(key, body, options);
    },
  });
  await expect(log.append([row('1', 1)])).rejects.toThrow('may not be in the store');
  await log.append([row('2', 2)]);
  expect([await idsAt(1), await idsAt(2)]).toEqual([['1'], ['2']]);
  conflicts = 1;
  const contested = { ...store, list: store.list.bind(store), get: store.get.bind(store), head: store.head.bind(store), put: async () => Promise.reject(new PreconditionFailed('')) } as unknown as ObjectStore;
  await expect(fenceLog(contested, second, 1)).rejects.toThrow('and has none');
  expect(await fenceLog(store, second, 1)).toEqual({ sequences: [1, 2], next: 4 });
});

test('after a restart objects of the owners before are needed until the rows loaded from them are uploaded', async () => {
  await logOf(first).append([row('1', 70)]);
  const { next } = await fenceLog(store, second, 1);
  const versionBase = 1_000;
  const own = (chain: LogChain) => new RegionLog(() => store, new FakeClock(), second, versionBase, chain, () => {}, { put: () => {} });
  await own({ objects: [], next }).append([row('2', 1_030)]);
  const after = own(await readChain(store, second, 1, { versionBase, loadedTo: 20 }));
  expect([1_010, 1_019, 1_020, 1_030].map((uploaded) => after.neededFrom(uploaded))).toEqual([1, 1, 3, 4]);
});

test('of two nodes that both think they have the region, one gets each number', async () => {
  const [a, b] = [logOf(first), logOf({ ...first, node: 'a again' })];
  await Promise.all(Array.from({ length: 20 }, (_, index) => (index % 2 ? a : b).append([row(String(index), index + 1)])));
  const chain = await readChain(store, first, 1, { versionBase: 0, loadedTo: 0 });
  const ids = await Promise.all(chain.objects.map(({ sequence }) => idsAt(sequence)));
  expect(ids.flat().toSorted()).toEqual(Array.from({ length: 20 }, (_, index) => String(index)).toSorted());
});
