import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { FileCache } from '../src/cache/file-cache.js';
import { RemoteStore } from '../src/remote/remote-store.js';
import { Folders, SnapshotNode } from './snapshot-node.js';
import { contentOf, expectContent, mebibyte, range, segment } from './testable-cache.js';

const folders = new Folders();
const base = '/tiflash/remote/cache';
const large = segment('large', 4 * mebibyte);
const small = segment('small', 1_000);
let node: SnapshotNode;

async function start(modes: string[], megabytes = 64): Promise<void> {
  node = await SnapshotNode.start(folders.make(), (config) => Object.assign(config.storage, { modes, fileCacheMegabytes: megabytes }));
}

async function ask(path: string): Promise<[status: number, body: string, role: string | null]> {
  const response = await node.fetch(path);
  expect(response.headers.get('content-type')).toMatch(/^application\/json/);
  return [response.status, await response.text(), response.headers.get('x-binnacle-role')];
}

afterEach(async () => {
  await node.stop();
  folders.remove();
});

describe('the file cache of a compute node', () => {
  beforeEach(async () => {
    await start(['write', 'compute']);
    const store = node.running.app.get(RemoteStore).store();
    for (const each of [large, small]) await store.put(each.key, contentOf(each.key, { offset: 0, length: each.bytes }));
    const cache = node.running.app.get(FileCache);
    const ranges = [range(0, mebibyte), range(mebibyte, 2_000, 'HandleColData'), range(4 * mebibyte - 100, 100, 'Meta')];
    for (const [each, wanted] of [
      [large, ranges],
      [small, [range(0, 10)]],
    ] as const) {
      const pin = await cache.acquire(each, wanted);
      await expectContent(pin, each, wanted);
      pin.release();
    }
  });

  test('info has the types that are there, in TiFlash\'s compact form', async () => {
    const [status, body] = await ask(`${base}/info`);
    const shown = body.replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}/g, 'TIME');
    const entry = (type: string, number: number, bytes: number): string =>
      `{"file_type":"${type}","file_type_int":${number},"histogram":{"in30min":{"bytes":${bytes},"count":1},"oldest":{"access_time":"TIME","size":${bytes}},"total":{"bytes":${bytes},"count":1}}}`;
    expect([status, shown]).toEqual([200, `[${[entry('Meta', 1, 100), entry('Merged', 5, 1_000), entry('HandleColData', 11, 2_000), entry('ColData', 12, mebibyte)].join(',')}]`]);
  });

  test('evictions say what they did', async () => {
    const nothing = '"released_size":"0"}';
    expect(await ask(`${base}/evict/size/1000`)).toEqual([200, `{"req":"{method=ByEvictSize reserve_size=1000 min_age=1800 force=false}",${nothing}`, null]);
    // Everything is young.
    const size = 48 * mebibyte;
    expect(await ask(`${base}/evict/size/${size}`)).toEqual([200, `{"req":"{method=ByEvictSize reserve_size=${size} min_age=1800 force=false}",${nothing}`, null]);
    expect(await ask(`${base}/evict/type/11`)).toEqual([200, `{"req":"{method=ByFileType evict_type=HandleColData}","released_size":"${mebibyte + 2_000}"}`, null]);
    expect(await ask(`${base}/evict/5`)).toEqual([200, '{"req":"{method=ByFileType evict_type=Merged}","released_size":"1000"}', null]);
    expect(await ask(`${base}/evict/size/${size}?force&age=0`)).toEqual([200, `{"req":"{method=ByEvictSize reserve_size=${size} min_age=0 force=true}","released_size":"100"}`, null]);
    expect(await ask(`${base}/info`)).toEqual([200, '[]', null]);
  });

  test.each([
    ['evict/type/x', 'invalid file type in request:'],
    ['evict/x', 'invalid file type in request:'],
    ['evict/13', 'invalid file type enum value in request:'],
    ['evict/size/x', 'invalid size in request:'],
    ['evict/size/-1', 'invalid negative size in request:'],
    ['evict', 'invalid remote cache evict request:'],
  ])('%s is refused', async (path, message) => {
    expect(await ask(`${base}/${path}`)).toEqual([400, `{"message":"${message} ${base}/${path}"}`, null]);
    expect(await ask(`${base}/${path}?force`)).toEqual([400, `{"message":"${message} ${base}/${path}"}`, null]);
  });

  test('the caches that TiFlash has besides say that there are none', async () => {
    for (const cache of ['mark', 'minmax']) expect(await ask(`/tiflash/cache/evict/${cache}`)).toEqual([200, `{"status":"ok","cache":"${cache}","message":"cache not enabled"}`, null]);
  });

  test('the level of the settings decides what is kept, without a restart', async () => {
    const context = node.running.context;
    await context.settings.update((settings) => ({ ...settings, dtfileLevel: 11 }));
    await ask(`${base}/evict/0`);
    const pin = await node.running.app.get(FileCache).acquire(large, [range(0, 5_000), range(mebibyte, 2_000, 'HandleColData')]);
    pin.release();
    expect((await ask(`${base}/info`))[1]).toMatch(/^\[\{"file_type":"HandleColData"[^[]+\]$/);
  });

  test('its figures are on /metrics', async () => {
    const text = await (await node.fetch('/metrics')).text();
    expect(text).toContain(`binnacle_file_cache_bytes{type="ColData"} ${mebibyte}`);
    expect(text).toContain('binnacle_file_cache_misses_total 2');
  });

  test('a folder that is removed under the node is no error for anybody', async () => {
    rmSync(join(node.running.context.config.dataDir, 'storage', 'cache'), { recursive: true });
    const [status, body] = await ask(`${base}/evict/0`);
    expect([status, body]).toEqual([200, `{"req":"{method=ByFileType evict_type=Unknown}","released_size":"${mebibyte + 3_100}"}`]);
    const pin = await node.running.app.get(FileCache).acquire(small, [range(0, 10)]);
    await expectContent(pin, small, [range(0, 10)]);
    pin.release();
  });
});

test('a write node has no file cache', async () => {
  await start(['write']);
  expect(await ask(`${base}/info`)).toEqual([200, '{"message":"can not get remote cache info, disagg_mode=Storage"}', 'Storage']);
  for (const path of ['evict', 'evict/1', 'evict/type/99', 'evict/size/1']) {
    expect(await ask(`${base}/${path}`)).toEqual([200, '{"message":"can not trigger remote cache evict, disagg_mode=Storage"}', 'Storage']);
  }
});

test('where it is switched off', async () => {
  await start(['compute'], 0);
  for (const path of ['info', 'evict/1', 'evict/size/1']) expect(await ask(`${base}/${path}`)).toEqual([500, '{"message":"file cache is not enabled"}', null]);
  const store = node.running.app.get(RemoteStore).store();
  await store.put(small.key, contentOf(small.key, { offset: 0, length: small.bytes }));
  const pin = await node.running.app.get(FileCache).acquire(small, [range(0, 10)]);
  await expectContent(pin, small, [range(0, 10)]);
  pin.release();
});
