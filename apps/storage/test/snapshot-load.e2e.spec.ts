import { afterEach, expect, test } from '@jest/globals';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { waitUntil } from '@binnacle/testing/wait-until';
import { restoreSnapshot } from '../src/snapshot/restore-snapshot.js';
import { verifySnapshot } from '../src/snapshot/verify-snapshot.js';
import { PacedWriter, pauses } from './paced-writer.js';
import { Folders } from './snapshot-node.js';
import { exportedIds, namesIn, StorageProcess } from './storage-process.js';

const folders = new Folders();
const running: StorageProcess[] = [];
const collection = { name: 'load', fields: [{ name: 'text', type: 'string', index: false, optional: true }] };

async function start(dataDir: string, env: Record<string, string> = {}): Promise<StorageProcess> {
  const node = await StorageProcess.start(dataDir, env);
  running.push(node);
  return node;
}

async function end(node: StorageProcess, signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
  running.splice(running.indexOf(node), 1);
  await node.end(signal);
}

afterEach(async () => {
  await Promise.all(running.splice(0).map((node) => node.end('SIGKILL')));
  folders.remove();
});

test('under 2,000 writes a second every write acknowledged before a snapshot is in it, on a node that starts on what was restored', async () => {
  const dataDir = folders.make();
  const node = await start(dataDir);
  expect((await node.ask('POST', '/collections', collection)).status).toBe(201);
  const writer = new PacedWriter(node, 'load', 2_000);
  writer.start();
  const snapshots: { path: string; askedAtMs: number; endedAtMs: number }[] = [];
  for (let count = 1; count <= 3; count++) {
    await waitUntil(() => writer.count() >= count * 2_000);
    const path = join(dataDir, 'snapshots', String(count));
    const askedAtMs = performance.now();
    expect(await node.ask('POST', '/agent/v1/snapshot', { path })).toMatchObject({ status: 201 });
    snapshots.push({ path, askedAtMs, endedAtMs: performance.now() });
  }
  await writer.stop();
  await end(node, 'SIGTERM');
  expect(writer.failures).toEqual([]);
  const usual = pauses(writer.acknowledged, 0, snapshots[0]?.askedAtMs ?? 0);

  for (const { path, askedAtMs, endedAtMs } of snapshots) {
    // Writes went on meanwhile, but for what keeps them on this machine at any time.
    const { writes, gapMs } = pauses(writer.acknowledged, askedAtMs, endedAtMs);
    expect(writes).toBeGreaterThan(0);
    expect(gapMs).toBeLessThan(2_000 + 2 * usual.gapMs);
    const restored = join(folders.make(), 'restored');
    await restoreSnapshot(path, restored, () => {});
    const copy = await start(restored);
    const ids = await exportedIds(copy, 'load');
    const before = writer.acknowledged.filter(({ acknowledgedAtMs }) => acknowledgedAtMs < askedAtMs);
    expect(before.length).toBeGreaterThan(100);
    expect(before.flatMap((each) => each.ids.filter((id) => !ids.has(id)))).toEqual([]);
    await end(copy, 'SIGTERM');
  }
});

test('a kill during a snapshot leaves nothing that passes for one, and after the next start nothing at all', async () => {
  // On another file system, where a snapshot takes longest.
  const [dataDir, root] = [folders.make(), folders.make('/dev/shm')];
  const env = { BINNACLE_STORAGE_SNAPSHOT_ROOTS: root, BINNACLE_LOG_LEVEL: 'info' };
  let node = await start(dataDir, env);
  expect((await node.ask('POST', '/collections', collection)).status).toBe(201);
  const lines = Array.from({ length: 20_000 }, (_, index) => JSON.stringify({ id: `d${index}`, text: `${index} `.repeat(200) }));
  for (let from = 0; from < lines.length; from += 2_000) await node.ask('POST', '/collections/load/documents/import?action=upsert', lines.slice(from, from + 2_000).join('\n'));
  const beganAtMs = performance.now();
  expect((await node.ask('POST', '/agent/v1/snapshot', { path: join(root, 'whole') })).status).toBe(201);
  const wholeMs = performance.now() - beganAtMs;

  let halfMade = 0;
  // Six moments; then between those, should the measured one have been a slow one.
  for (let round = 0; round < 6 || (halfMade === 0 && round < 24); round++) {
    const path = join(root, `killed-${round}`);
    const asked = node.ask('POST', '/agent/v1/snapshot', { path }).catch(() => undefined);
    // The one thing here that has to happen at a time of its own.
    await delay((wholeMs * ((round % 6) + 0.5)) / 6 / 2 ** Math.floor(round / 6));
    await end(node, 'SIGKILL');
    await asked;
    for (const name of namesIn(root)) {
      if (!name.includes('.partial-')) continue;
      halfMade += 1;
      await expect(verifySnapshot(join(root, name))).rejects.toThrow(/half-made/);
    }
    node = await start(dataDir, env);
    // What is there is whole; the kill may have come just after the end.
    for (const name of namesIn(root)) expect([name, (await verifySnapshot(join(root, name))).problems]).toEqual([expect.not.stringContaining('partial'), []]);
    expect(namesIn(join(dataDir, 'storage'))).not.toContain('checkpoint');
  }
  expect(halfMade).toBeGreaterThan(0);
  expect((await node.ask('POST', '/agent/v1/snapshot', { path: join(root, 'after') })).status).toBe(201);
  expect((await verifySnapshot(join(root, 'after'))).problems).toEqual([]);
  expect((await exportedIds(node, 'load')).size).toBe(20_000);
});
