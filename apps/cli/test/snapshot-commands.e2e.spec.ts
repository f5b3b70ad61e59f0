import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { waitUntil } from '@binnacle/testing/wait-until';
import { Client } from 'typesense';
import { portsOf, type ProductProcess, root, startEmbedded, temporaryFolder } from './product.js';

const ports = portsOf('snapshot');
const folder = temporaryFolder('snapshot-commands');
const dataDir = join(folder.path, 'data');
const client = new Client({ nodes: [{ host: '127.0.0.1', port: ports.typesense, protocol: 'http' }], apiKey: 'none needed on loopback', numRetries: 0 });
const post = async (path: string): Promise<[number, unknown]> => {
  const response = await fetch(`http://127.0.0.1:${ports.typesense}${path}`, { method: 'POST' });
  return [response.status, await response.json()];
};

function binnacle(...args: string[]): { code: number | null; output: string; errors: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['apps/cli/dist/main.js', ...args], { cwd: root, encoding: 'utf8', env: { ...process.env, NODE_OPTIONS: '', BINNACLE_DATA_DIR: dataDir } });
  return { code: status, output: stdout, errors: stderr };
}

describe('snapshots of the product', () => {
  let product: ProductProcess;
  const snapshot = join(dataDir, 'snapshots', 'first');

  beforeAll(async () => {
    product = await startEmbedded('snapshot', dataDir);
    await client.collections().create({ name: 'books', fields: [{ name: 'title', type: 'string' }] });
    await client.collections('books').documents().create({ id: '1', title: 'Moby-Dick' });
  });

  afterAll(async () => {
    await product.stop();
    folder.remove();
  });

  test("Typesense's client makes one, and hears in Typesense's words why it cannot", async () => {
    expect(await client.operations.perform('snapshot', { snapshot_path: snapshot })).toEqual({ success: true });
    expect(await post('/operations/snapshot')).toEqual([400, { message: 'Parameter `snapshot_path` is required.' }]);
    expect(await post('/operations/snapshot?snapshot_path=/etc/binnacle')).toEqual([400, { message: expect.stringMatching(/must lie in one of the folders/) }]);
    expect(await post(`/operations/snapshot?snapshot_path=${snapshot}`)).toEqual([400, { message: expect.stringMatching(/is not empty/) }]);
  });

  test('one of all nodes has a folder for each of them', async () => {
    const all = join(dataDir, 'snapshots', 'all');
    const [status, body] = await post(`/operations/snapshot?node=*&snapshot_path=${all}`);
    const [id = ''] = Object.keys((body as { nodes: object }).nodes);
    expect([status, body]).toEqual([201, { success: true, nodes: { [id]: { success: true, snapshot_path: join(all, id), version: 1, bytes: expect.any(Number) } } }]);
    expect(binnacle('snapshot', 'verify', join(all, id)).code).toBe(0);
  });

  test('caches are cleared, rows compacted and peers read afresh', async () => {
    expect(await client.operations.perform('cache/clear')).toEqual({ success: true });
    const response = await fetch(`http://127.0.0.1:${ports.typesense}/operations/db/compact`, { method: 'POST' });
    expect([response.status, await response.json()]).toEqual([200, { success: true }]);
    for (const header of ['x-binnacle-bytes-before', 'x-binnacle-bytes-after']) expect(response.headers.get(header)).toMatch(/^\d+$/);
    expect(await post('/operations/reset_peers')).toEqual([200, { success: true }]);
    const tasks = (await (await fetch(`http://127.0.0.1:${ports.gateway}/api/v1/tasks`)).json()) as { tasks: { kind: string }[] };
    expect(tasks.tasks.map(({ kind }) => kind)).toEqual(['compaction', 'snapshot', 'snapshot']);
  });

  test('in the remote store, too: made, verified, found damaged, and restored', async () => {
    expect(await client.operations.perform('snapshot', { snapshot_path: 'remote:first' })).toEqual({ success: true });
    expect(await post('/operations/snapshot?snapshot_path=remote:first')).toEqual([400, { message: expect.stringMatching(/replaces nothing/) }]);
    expect(await post('/operations/snapshot?snapshot_path=remote:../first')).toEqual([400, { message: expect.stringMatching(/The name of a snapshot/) }]);
    const [status, body] = await post('/operations/snapshot?node=*&snapshot_path=remote:all');
    const [id = ''] = Object.keys((body as { nodes: object }).nodes);
    expect([status, body]).toEqual([201, { success: true, nodes: { [id]: { success: true, snapshot_path: `remote:all/${id}`, version: 1, bytes: expect.any(Number) } } }]);
    for (const name of ['remote:first', `remote:all/${id}`]) {
      expect(binnacle('snapshot', 'verify', name)).toEqual({ code: 0, output: expect.stringMatching(/^remote:\S+ is good: node \S+, 20\S+Z, version 1, \d+ files, 0\.\d MB\n$/), errors: '' });
    }
    const restored = join(folder.path, 'restored-from-remote');
    expect(binnacle('restore', 'remote:first', '--data-dir', restored)).toEqual({ code: 0, output: expect.stringMatching(/is restored/), errors: '' });
    for (const name of ['storage', 'cluster-state.db']) expect(existsSync(join(restored, name))).toBe(true);
    expect(binnacle('restore', 'remote:first', '--data-dir', restored).errors).toMatch(/is not empty/);
    expect(binnacle('restore', 'remote:none', '--data-dir', join(folder.path, 'nothing'))).toMatchObject({ code: 1, errors: expect.stringMatching(/there is no snapshot remote:none/) });

    const files = join(dataDir, 'remote/snapshots/first');
    const database = join(files, readdirSync(files).find((name) => name.startsWith('files-')) ?? '', 'cluster-state.db');
    const bytes = readFileSync(database);
    bytes[100] = (bytes[100] as number) ^ 1;
    writeFileSync(database, bytes);
    expect(binnacle('snapshot', 'verify', 'remote:first')).toEqual({ code: 1, output: '', errors: expect.stringMatching(/cluster-state\.db is damaged: its checksum/) });
    const refused = join(folder.path, 'refused');
    expect(binnacle('restore', 'remote:first', '--data-dir', refused)).toMatchObject({ code: 1, errors: expect.stringMatching(/nothing was restored: the checksum of cluster-state\.db/) });
    expect(readdirSync(refused)).toEqual([]);
  });

  test('the command line verifies one, finds a flipped bit, and restores the good one into an empty folder that a node starts on', async () => {
    expect(binnacle('snapshot', 'verify', snapshot)).toEqual({ code: 0, output: expect.stringMatching(/first is good: node \S+, 20\S+Z, version 1, \d+ files, 0\.\d MB\n$/), errors: '' });

    const damaged = join(folder.path, 'damaged');
    cpSync(snapshot, damaged, { recursive: true });
    const database = join(damaged, 'cluster-state.db');
    const bytes = readFileSync(database);
    bytes[100] = (bytes[100] as number) ^ 1;
    writeFileSync(database, bytes);
    expect(binnacle('snapshot', 'verify', damaged)).toEqual({ code: 1, output: '', errors: expect.stringMatching(/cluster-state\.db is damaged: its checksum/) });
    const restored = join(folder.path, 'restored');
    expect(binnacle('restore', damaged, '--data-dir', restored)).toEqual({ code: 1, output: '', errors: expect.stringMatching(/nothing was restored:\ncluster-state\.db/) });
    expect(binnacle('restore', snapshot, '--data-dir', restored)).toEqual({ code: 0, output: expect.stringMatching(/restored is restored/), errors: '' });
    expect(binnacle('restore', snapshot, '--data-dir', restored).errors).toMatch(/is not empty/);
    expect(existsSync(join(restored, 'cluster-secret'))).toBe(false);

    await client.collections('books').documents().create({ id: '2', title: 'Later' });
    await product.stop();
    product = await startEmbedded('snapshot', restored);
    expect(await client.collections('books').documents('1').retrieve()).toMatchObject({ title: 'Moby-Dick' });
    await expect(client.collections('books').documents('2').retrieve()).rejects.toMatchObject({ httpStatus: 404 });
    await waitUntil(async () => (await fetch(`http://127.0.0.1:${ports.gateway}/readyz`)).ok);
  });
});
