import { afterAll, expect, test } from '@jest/globals';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FolderStore } from '../src/folder-store.js';
import { testObjectStore } from './object-store.contract.js';

const folder = await mkdtemp(join(tmpdir(), 'binnacle-folder-store-'));
afterAll(() => rm(folder, { recursive: true, force: true }));
const open = (name: string): Promise<FolderStore> => FolderStore.open(join(folder, name), { timeoutMs: 10_000 });

testObjectStore('folder', () => open('contract'));

test('no etag comes back, however quickly an object of one size is replaced, deleted and made again', async () => {
  const store = await open('etags');
  const etags = new Set<string>();
  for (let turn = 0; turn < 300; turn++) {
    etags.add((await store.put('object', Buffer.from('same'))).etag);
    if (turn % 3 === 0) await store.delete('object');
  }
  expect(etags.size).toBe(300);
  await store.close();
});

test('files are named by their keys, and nothing else is in the folder', async () => {
  const store = await open('names');
  await store.put('regions/1/2/manifest.json', Buffer.from('x'));
  await store.put('regions/1/2/manifest.json', Buffer.from('y'));
  await store.delete('nothing');
  expect((await readdir(join(folder, 'names'))).sort()).toEqual(['.binnacle', 'regions']);
  expect(await readdir(join(folder, 'names/regions/1/2'))).toEqual(['manifest.json']);
  expect(await readdir(join(folder, 'names/.binnacle/temporary'))).toEqual([]);
  await store.close();
});

test('a key that is a folder is nothing to read and an error to write', async () => {
  const store = await open('folders');
  await store.put('a/b', Buffer.from('x'));
  expect(await store.get('a')).toBeUndefined();
  expect(await store.head('a/b/c')).toBeUndefined();
  await store.delete('a');
  await store.delete('a/b/c');
  await expect(store.put('a', Buffer.from('y'))).rejects.toThrow('the folder of another key');
  await expect(store.put('a/b/c', Buffer.from('y'))).rejects.toThrow('the folder of another key');
  expect((await store.get('a/b'))?.body.toString()).toBe('x');
  await store.close();
});

test('what a crash left half-written an hour ago goes at the next start, and what is being written stays', async () => {
  await (await open('leftovers')).close();
  const temporary = join(folder, 'leftovers/.binnacle/temporary');
  await writeFile(join(temporary, 'half'), 'x');
  await (await open('leftovers')).close();
  expect(await readdir(temporary)).toEqual(['half']);
  await (await FolderStore.open(join(folder, 'leftovers'), { timeoutMs: 10_000, leftoverAgeMs: 0 })).close();
  expect(await readdir(temporary)).toEqual([]);
});

test('many in one process that replace and delete at the same time wait for each other', async () => {
  const store = await open('together');
  const keys = Array.from({ length: 32 }, (_, index) => `object-${index}`);
  await Promise.all(keys.map((key) => store.put(key, Buffer.from('x'))));
  await Promise.all(keys.map((key) => store.delete(key)));
  expect(await Promise.all(keys.map((key) => store.head(key)))).toEqual(keys.map(() => undefined));
  await store.close();
});
