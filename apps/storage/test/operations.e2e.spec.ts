import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { rmSync } from 'node:fs';
import { request, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { once } from 'node:events';
import { clusterSecretHeader } from '@binnacle/contracts/internal-headers';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { waitUntil } from '@binnacle/testing/wait-until';
import { Injectable, Module } from '@nestjs/common';
import { clusterSecret, Folders, SnapshotNode } from './snapshot-node.js';

const folders = new Folders();
const post = { method: 'POST' };

describe('operations of a storage node', () => {
  let node: SnapshotNode;
  let dataDir: string;

  beforeEach(async () => {
    dataDir = folders.make();
    node = await SnapshotNode.start(dataDir);
  });

  afterEach(async () => {
    await node.stop();
    folders.remove();
  });

  test('a compaction gives back what was overwritten, while reads and writes go on, and says how much', async () => {
    for (let round = 0; round < 5; round++) {
      await node.write(0, 5_000, String(round).repeat(200));
      await node.rows.compact(new AbortController().signal);
    }
    // Two versions of every row on disk.
    await node.write(0, 5_000, 'z'.repeat(200));
    const path = join(dataDir, 'snapshots', 'flushes');
    expect((await node.take(path)).status).toBe(201);

    let written = 0;
    const compacting = node.fetch('/operations/db/compact', post);
    const second = await node.fetch('/operations/db/compact', post);
    expect([second.status, ((await second.json()) as { error: object }).error]).toEqual([409, { code: 'CONFLICT', message: 'Another compaction is in progress.' }]);
    let done = false;
    void compacting.then(() => (done = true));
    do {
      await node.write(10_000 + written++, 1);
      expect((await node.rows.get(7, Buffer.from('row-1')))?.document.toString()).toContain('zzz');
    } while (!done);
    const response = await compacting;
    expect([response.status, await response.json()]).toEqual([200, { success: true }]);
    const [before, after] = ['before', 'after'].map((when) => Number(response.headers.get(`x-binnacle-bytes-${when}`)));
    expect(after).toBeLessThan(before as number);
    expect((await node.ids()).length).toBe(5_000 + written);
    const { tasks } = (await (await node.fetch('/api/v1/tasks')).json()) as { tasks: object[] };
    expect(tasks[0]).toMatchObject({ kind: 'compaction', state: 'done', result: { bytesBefore: before, bytesAfter: after } });
  });

  test('those who watch hear of a task from its beginning to its end, and those who come back of what they missed', async () => {
    const open = async (headers: Record<string, string> = {}): Promise<{ text: () => string; close: () => void }> => {
      const outgoing = request(`http://${node.running.address}/api/v1/tasks/events`, { headers: { [clusterSecretHeader]: clusterSecret, ...headers } }).end();
      const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk)).on('error', () => undefined);
      return { text: () => text, close: () => response.destroy() };
    };
    const stream = await open();
    await waitUntil(() => stream.text().includes('retry'));
    await node.write(0, 100);
    const path = join(dataDir, 'snapshots', 'watched');
    await node.take(path);
    await waitUntil(() => stream.text().includes('event: task-ended'));
    // The longer it takes, the more often it says how far it is.
    expect([...stream.text().matchAll(/^event: (.+)$/gm)].map(([, name]) => name).join(' ')).toMatch(/^task-started( task-progressed)+ task-ended$/);
    const data = JSON.parse(/event: task-ended\ndata: (.+)/.exec(stream.text())?.[1] as string) as object;
    expect(data).toMatchObject({ at: expect.any(String), task: { kind: 'snapshot', subject: path, state: 'done', progress: { unit: 'bytes' } } });
    const [first] = /(?<=id: )\d+/.exec(stream.text()) as unknown as [string];
    const again = await open({ 'last-event-id': first });
    await waitUntil(() => again.text().includes('event: task-ended'));
    expect(again.text()).not.toContain('task-started');
    for (const each of [stream, again]) each.close();
  });

  test('an index that is made again is a task, with the rows that are left to do', async () => {
    const json = { method: 'POST', headers: { 'content-type': 'application/json' } };
    await node.fetch('/collections', { ...json, body: '{"name":"books","fields":[{"name":"title","type":"string"}]}' });
    const lines = Array.from({ length: 5_000 }, (_, index) => JSON.stringify({ id: String(index), title: `book ${index}` }));
    const imported = await node.fetch('/collections/books/documents/import', { method: 'POST', headers: { 'content-type': 'text/plain' }, body: lines.join('\n') });
    expect((await imported.text()).split('\n')).toHaveLength(5_000);
    const tasks = async () => ((await (await node.fetch('/api/v1/tasks')).json()) as { tasks: object[] }).tasks;
    expect(await tasks()).toEqual([]);
    await node.stop();
    rmSync(join(dataDir, 'storage', 'index'), { recursive: true });
    node = await SnapshotNode.start(dataDir);
    await waitUntil(async () => (await tasks()).some((task) => 'endedAt' in task));
    expect(await tasks()).toMatchObject([{ kind: 'index-rebuild', state: 'done', progress: { done: 5_000, total: 5_000, unit: 'rows' } }]);
  });

  test('caches are cleared, and peers are read from the registry', async () => {
    for (const path of ['/operations/cache/clear', '/operations/reset_peers']) {
      const response = await node.fetch(path, post);
      expect([response.status, await response.json()]).toEqual([200, { success: true }]);
    }
  });
});

test('a node says Ready, and is not ready, until its rows are recovered; then Running', async () => {
  const dataDir = folders.make();
  const first = await SnapshotNode.start(dataDir);
  await first.write(0, 1_000);
  await first.stop();
  const seen: unknown[] = [];

  @Injectable()
  class Probe {
    constructor(node: NodeContext) {
      const ask = async (path: string) => {
        const response = await fetch(`http://${node.candidate().address}${path}`, { headers: { [clusterSecretHeader]: clusterSecret } });
        return [response.status, await response.text()];
      };
      // Starts before the rows do.
      node.addPart({ name: 'probe', start: async () => void seen.push(await ask('/tiflash/store-status'), await ask('/readyz?verbose')) });
    }
  }
  @Module({ providers: [Probe] })
  class ProbeModule {}

  const second = await SnapshotNode.start(dataDir, () => {}, [ProbeModule]);
  expect(seen).toEqual([[200, 'Ready'], [503, expect.stringContaining('[-]store_status fail: store_status=Ready')]]);
  expect(await (await second.fetch('/tiflash/store-status')).text()).toBe('Running');
  expect((await second.ids()).length).toBe(1_000);
  await second.stop();

  rmSync(join(dataDir, 'storage', 'engine', 'CURRENT'));
  await expect(SnapshotNode.start(dataDir)).rejects.toThrow(/engine.*restore/s);
  folders.remove();
});
