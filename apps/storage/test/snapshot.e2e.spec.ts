import { afterEach, describe, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { cpSync, existsSync, linkSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startRedis } from '@binnacle/testing/redis-server';
import type { NodeConfig } from '@binnacle/node-kit/config';
import { canMount, SmallDisk } from '@binnacle/testing/small-disk';
import { restoreSnapshot } from '../src/snapshot/restore-snapshot.js';
import { verifySnapshot } from '../src/snapshot/verify-snapshot.js';
import { Folders, SnapshotNode } from './snapshot-node.js';

const folders = new Folders();
const running: SnapshotNode[] = [];

async function start(dataDir: string, change?: (config: NodeConfig) => void): Promise<SnapshotNode> {
  const node = await SnapshotNode.start(dataDir, change);
  running.push(node);
  return node;
}

afterEach(async () => {
  await Promise.all(running.splice(0).map((node) => node.stop()));
  folders.remove();
});

/** Nothing half-made, neither beside the snapshots nor in the data folder. */
function expectNothingHalfMade(dataDir: string, root = join(dataDir, 'snapshots')): void {
  expect(readdirSync(join(dataDir, 'storage')).filter((name) => /checkpoint|under-way/.test(name))).toEqual([]);
  if (existsSync(root)) expect(readdirSync(root, { recursive: true }).filter((name) => String(name).includes('.partial-'))).toEqual([]);
}

describe('a snapshot', () => {
  test('is a data folder with everything acknowledged before it, which shares the tables of the node and verifies', async () => {
    const dataDir = folders.make();
    const node = await start(dataDir, (config) => (config.node.id = 'named'));
    await node.write(0, 3_000);
    await node.fetch('/collections', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"name":"books","fields":[{"name":"title","type":"string"}]}' });
    const path = join(dataDir, 'snapshots', 'monday');
    const { status, body } = await node.take(path);
    expect([status, body]).toEqual([201, expect.objectContaining({ path, version: 3_000 })]);
    await node.write(3_000, 100);
    expectNothingHalfMade(dataDir);

    const { manifest, problems } = await verifySnapshot(path);
    expect(problems).toEqual([]);
    expect(manifest).toMatchObject({ node: 'named', roles: ['storage'], version: 3_000 });
    expect(statSync(path).mode & 0o777).toBe(0o700);
    const table = manifest.files.find((file) => file.path.endsWith('.sst'));
    expect(statSync(join(path, table?.path as string)).nlink).toBeGreaterThan(1);

    const copy = join(folders.make(), 'copy');
    cpSync(path, copy, { recursive: true });
    const second = await start(copy);
    expect(second.running.context.id).toBe('named');
    expect((await second.ids()).length).toBe(3_000);
    expect(await (await second.fetch('/collections/books')).json()).toMatchObject({ name: 'books' });
  });

  test('is made one at a time, and what runs is among the tasks', async () => {
    const dataDir = folders.make();
    const node = await start(dataDir);
    await node.write(0, 100);
    const root = join(dataDir, 'snapshots');
    const answers = await Promise.all(['a', 'b'].map((name) => node.take(join(root, name))));
    // Whichever came first.
    const [made, refused] = answers[0]?.status === 201 ? ['a', answers[1]] : ['b', answers[0]];
    expect([refused?.status, refused?.body.error]).toEqual([409, { code: 'CONFLICT', message: 'Another snapshot is in progress.' }]);
    const other = made === 'a' ? 'b' : 'a';
    expect((await node.take(join(root, other))).status).toBe(201);
    expect((await verifySnapshot(join(root, other))).problems).toEqual([]);
    const { tasks } = (await (await node.fetch('/api/v1/tasks')).json()) as { tasks: Record<string, unknown>[] };
    expect(tasks).toMatchObject([
      { kind: 'snapshot', subject: join(root, other), state: 'done', result: { version: 100 } },
      { kind: 'snapshot', subject: join(root, made), state: 'done' },
    ]);
    expect(await (await node.fetch('/metrics')).text()).toMatch(/binnacle_storage_last_snapshot_timestamp_seconds 1\d{9}/);
  });

  test('may only be where the configuration says, whatever the path looks like', async () => {
    const [dataDir, root, outside] = [folders.make(), folders.make(), folders.make()];
    const node = await start(dataDir, (config) => (config.storage.snapshotRoots = [root]));
    symlinkSync(outside, join(root, 'link'));
    symlinkSync(join(outside, 'nowhere'), join(root, 'dangling'));
    mkdirSync(join(root, 'full'));
    writeFileSync(join(root, 'full', 'x'), '');
    writeFileSync(join(root, 'file'), '');
    const refusals: [unknown, RegExp][] = [
      [undefined, /^Parameter `snapshot_path` is required\.$/],
      ['', /is required/],
      ['relative/path', /must be absolute/],
      [`${root}/../escape`, /must not contain `\.\.`/],
      [`${root}/a\0b`, /NUL/],
      [root, /must lie in one of the folders/],
      ['/etc/binnacle', /must lie in one of the folders/],
      [`${root}x/a`, /must lie in one of the folders/],
      [`${root}/link/a`, /must lie in one of the folders/],
      [`${root}/dangling/a`, /cannot be followed: ENOENT/],
      [`${root}/full`, /is not empty/],
      [`${root}/file`, /is no folder/],
      [`${root}/file/below`, /is no folder/],
      [`${root}/${'n'.repeat(201)}`, /too long/],
      [`${root}/${'n/'.repeat(3_000)}`, /too long/],
    ];
    for (const [path, message] of refusals) {
      const { status, body } = await node.take(path);
      expect([path, status, body.error]).toEqual([path, 400, { code: 'BAD_REQUEST', message: expect.stringMatching(message) }]);
    }
    expect(readdirSync(outside)).toEqual([]);
    mkdirSync(join(root, 'empty'));
    for (const path of [`${root}/empty`, `${root}/new/and/deep`]) expect((await node.take(path)).status).toBe(201);
    const { body } = await node.take(`${root}/empty/inner`);
    expect(body.error?.message).toMatch(/lies in another snapshot/);
    expect((await verifySnapshot(`${root}/empty`)).problems).toEqual([]);
  });

  test('cannot be put into the live data of the node', async () => {
    const dataDir = folders.make();
    const node = await start(dataDir, (config) => (config.storage.snapshotRoots = [dataDir]));
    expect((await node.take(join(dataDir, 'storage', 'engine', 'snap'))).body.error?.message).toMatch(/live data/);
    expect((await node.take(join(dataDir, 'beside'))).status).toBe(201);
  });

  test('that cannot be written fails, and leaves neither a part of itself nor the folders it made', async () => {
    const dataDir = folders.make();
    const node = await start(dataDir, (config) => (config.storage.snapshotRoots = ['/proc/self/fdinfo']));
    const { status, body } = await node.take('/proc/self/fdinfo/snap');
    expect([status, body.error?.code]).toEqual([500, 'SNAPSHOT_FAILED']);
    expect(body.error?.message).toMatch(/^Copy failed: (ENOENT|EACCES|EPERM), /);
    expectNothingHalfMade(dataDir);
    await node.write(0, 10);
    expect((await node.ids()).length).toBe(10);
  });

  test('on another file system is a copy', async () => {
    const [dataDir, root] = [folders.make(), folders.make('/dev/shm')];
    const node = await start(dataDir, (config) => (config.storage.snapshotRoots = [root]));
    await node.write(0, 2_000);
    const path = join(root, 'far');
    expect((await node.take(path)).status).toBe(201);
    expectNothingHalfMade(dataDir, root);
    const { manifest, problems } = await verifySnapshot(path);
    expect(problems).toEqual([]);
    expect(manifest.files.map((file) => statSync(join(path, file.path)).nlink)).toEqual(manifest.files.map(() => 1));
    const second = await start(path);
    expect((await second.ids()).length).toBe(2_000);
  });

  (canMount ? test : test.skip)('for which there is no room fails, says why, and leaves nothing; with room the next one works', async () => {
    const [dataDir, root] = [folders.make(), folders.make()];
    const disk = new SmallDisk(root, 4 * 1024);
    try {
      const node = await start(dataDir, (config) => (config.storage.snapshotRoots = [root]));
      for (let from = 0; from < 8_000; from += 1_000) await node.write(from, 1_000, randomBytes(500).toString('hex'));
      const { status, body } = await node.take(join(root, 'deep', 'large'));
      expect([status, body.error]).toEqual([500, { code: 'SNAPSHOT_FAILED', message: 'Copy failed: ENOSPC, no space left on device.' }]);
      expect(readdirSync(root)).toEqual([]);
      expectNothingHalfMade(dataDir, root);
      const { tasks } = (await (await node.fetch('/api/v1/tasks')).json()) as { tasks: Record<string, unknown>[] };
      expect(tasks).toMatchObject([{ kind: 'snapshot', state: 'failed', error: 'Copy failed: ENOSPC, no space left on device.' }]);
      disk.enlarge(64 * 1024);
      expect((await node.take(join(root, 'deep', 'large'))).status).toBe(201);
      await node.stop();
      running.splice(0);
    } finally {
      disk.unmount();
    }
  });

  test('that a stopping node has no time for is given up, and removed', async () => {
    const [dataDir, root] = [folders.make(), folders.make('/dev/shm')];
    const node = await start(dataDir, (config) => (config.storage.snapshotRoots = [root]));
    await node.write(0, 2_000, 'y'.repeat(1_000));
    const taking = node.snapshots.take(join(root, 'late')).then(
      () => 'made',
      (error: Error) => error.message,
    );
    await node.stop();
    running.splice(0);
    expect(['Copy failed: the node stops.', 'made']).toContain(await taking);
    expect(existsSync(join(root, 'late', 'manifest.json'))).toBe((await taking) === 'made');
    expectNothingHalfMade(dataDir, root);
  });

  test('half-made when the process was killed is removed at the next start, and nothing else is', async () => {
    const [dataDir, root] = [folders.make(), folders.make()];
    mkdirSync(join(dataDir, 'storage', 'checkpoint', 'engine'), { recursive: true });
    for (const name of ['a.partial-0123abcd', 'b.partial-0123abcd', 'kept']) mkdirSync(join(root, name, 'storage'), { recursive: true });
    const note = join(dataDir, 'storage', 'snapshot-under-way');
    writeFileSync(note, join(root, 'a.partial-0123abcd'));
    await (await SnapshotNode.start(dataDir)).stop();
    expectNothingHalfMade(dataDir);
    expect(readdirSync(root)).toEqual(['b.partial-0123abcd', 'kept']);
    writeFileSync(note, join(root, 'kept'));
    await (await SnapshotNode.start(dataDir)).stop();
    expect(readdirSync(root)).toContain('kept');
  });
});

describe('a snapshot of a node with Redis', () => {
  test('fills an empty Redis at the start on a copy, and leaves one alone that has a catalog', async () => {
    const [first, second] = await Promise.all([startRedis(), startRedis()]);
    try {
      const dataDir = folders.make();
      const useRedis = (url: string) => (config: NodeConfig) => {
        config.redis.url = url;
        config.node.id = 'r0';
      };
      const node = await start(dataDir, useRedis(first.url));
      const create = (name: string) => node.fetch('/collections', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ name, fields: [{ name: 'title', type: 'string' }] }) });
      expect((await create('books')).status).toBe(201);
      const path = join(dataDir, 'snapshots', 'a');
      expect((await node.take(path)).status).toBe(201);
      expect((await create('films')).status).toBe(201);
      await node.stop();
      running.splice(0);

      for (const [url, expected] of [[first.url, ['films', 'books']], [second.url, ['books']]] as const) {
        const copy = join(folders.make(), 'copy');
        cpSync(path, copy, { recursive: true });
        const restored = await start(copy, useRedis(url));
        const collections = (await (await restored.fetch('/collections')).json()) as { name: string }[];
        expect(collections.map(({ name }) => name)).toEqual(expected);
        await restored.stop();
        running.splice(0);
      }
    } finally {
      await Promise.all([first.stop(), second.stop()]);
    }
  });
});

describe('verifying and restoring', () => {
  async function makeSnapshot(): Promise<string> {
    const dataDir = folders.make();
    const node = await start(dataDir, (config) => (config.node.id = 'origin'));
    await node.write(0, 1_000);
    const path = join(dataDir, 'snapshots', 'a');
    await node.take(path);
    await node.stop();
    running.splice(0);
    // What is changed here must not change the node's own tables.
    const copy = join(folders.make(), 'copy');
    cpSync(path, copy, { recursive: true });
    return copy;
  }

  test('every damage is found and named', async () => {
    const path = await makeSnapshot();
    const { manifest } = await verifySnapshot(path);
    for (const { path: name } of manifest.files.filter(({ bytes }) => bytes > 0)) {
      const file = join(path, name);
      const good = readFileSync(file);
      const flipped = Buffer.from(good);
      flipped[good.length >> 1] = (flipped[good.length >> 1] as number) ^ 1;
      writeFileSync(file, flipped);
      expect((await verifySnapshot(path)).problems).toEqual([`${name} is damaged: its checksum does not match`]);
      writeFileSync(file, good.subarray(0, -1));
      expect((await verifySnapshot(path)).problems).toEqual([`${name} has ${good.length - 1} bytes, not ${good.length}`]);
      rmSync(file);
      expect((await verifySnapshot(path)).problems).toEqual([`${name} is missing`]);
      writeFileSync(file, good);
    }
    writeFileSync(join(path, 'storage', 'new'), '');
    expect((await verifySnapshot(path)).problems).toEqual([expect.stringMatching(/^storage\/new is not in the manifest/)]);
  });

  test('a manifest that is missing, damaged, newer or names other folders is none', async () => {
    const path = await makeSnapshot();
    const file = join(path, 'manifest.json');
    const good = readFileSync(file, 'utf8');
    const refusal = async (text: string) => {
      writeFileSync(file, text);
      return verifySnapshot(path).then(() => 'accepted', (error: Error) => error.message);
    };
    expect(await refusal(good.replace('"version": 1000', '"version": 1001'))).toMatch(/its own checksum does not match/);
    expect(await refusal(good.slice(0, -10))).toMatch(/it is not JSON/);
    expect(await refusal('null')).toMatch(/checksum/);
    expect(await refusal(good.replace('"format": 1', '"format": 2'))).toMatch(/newer Binnacle/);
    rmSync(file);
    expect(await verifySnapshot(path).catch((error: Error) => error.message)).toMatch(/is no snapshot, or a half-made one/);
  });

  test('a restored node has its id and its rows, and no secret comes with them', async () => {
    const path = await makeSnapshot();
    const target = join(folders.make(), 'deep', 'data');
    const steps: string[] = [];
    await restoreSnapshot(path, target, (what, done, total) => steps.push(`${what} ${done === total}`));
    expect(new Set(steps)).toEqual(new Set(['verified false', 'verified true', 'copied false', 'copied true']));
    expect(readdirSync(target).sort()).toEqual(['cluster-state.db', 'cluster-state.json', 'node-id.storage', 'storage']);
    const node = await start(target);
    expect(node.running.context.id).toBe('origin');
    expect((await node.ids()).length).toBe(1_000);
  });

  test('a restore replaces nothing, brings nothing damaged, and cleans up after itself', async () => {
    const path = await makeSnapshot();
    const refusal = (snapshot: string, target: string) => restoreSnapshot(snapshot, target, () => {}).then(() => 'restored', (error: Error) => error.message);
    const used = folders.make();
    writeFileSync(join(used, 'x'), '');
    expect(await refusal(path, used)).toMatch(/is not empty \(x\)/);
    for (const name of ['inside', '..inside']) {
      expect(await refusal(path, join(path, name))).toMatch(/lie in each other/);
      expect(existsSync(join(path, name))).toBe(false);
    }
    expect(await refusal(join(path, 'storage'), folders.make())).toMatch(/is no snapshot/);
    const volume = folders.make();
    mkdirSync(join(volume, 'lost+found'));
    writeFileSync(join(path, 'node-id.storage'), 'other!\n');
    expect(await refusal(path, volume)).toMatch(/nothing was restored:\nnode-id.storage is damaged/);
    writeFileSync(join(path, 'node-id.storage'), 'origin\n');
    expect(await refusal(path, volume)).toBe('restored');
    expect(readdirSync(volume)).toContain('lost+found');
    linkSync(join(path, 'manifest.json'), join(path, 'storage', 'link'));
    expect(await refusal(path, folders.make())).toMatch(/storage\/link is not in the manifest/);
  });
});
