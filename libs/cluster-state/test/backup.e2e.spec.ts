import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { restoreBackup, writeBackup } from '../src/backup.js';
import type { ClusterState } from '../src/cluster-state.js';
import { EmbeddedClusterState } from '../src/embedded-cluster-state.js';

describe('a backup of the cluster state', () => {
  const clock = new FakeClock();
  const open: ClusterState[] = [];
  let folder: string;

  function openState(name: string): EmbeddedClusterState {
    const state = new EmbeddedClusterState(join(folder, name), clock);
    open.push(state);
    return state;
  }

  function write(state: ClusterState, key: string, value: string, expectedVersion = 0) {
    return state.writeDocument({ key, value, expectedVersion, requestId: `${key}-${expectedVersion}` });
  }

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'binnacle-backup-'));
    mkdirSync(join(folder, 'copy'));
  });

  afterEach(async () => {
    await Promise.all(open.splice(0).map((state) => state.close()));
    rmSync(folder, { recursive: true, force: true });
  });

  test('of embedded state is a data folder with the documents, their versions and the terms of that moment', async () => {
    const state = openState('first');
    const candidate = { nodeId: 'a', incarnation: '1', address: '127.0.0.1:1' };
    const { term } = (await state.campaign({ lease: 'leader', candidate, ttlMs: 60_000, termFloor: 41 })) as { term: number };
    await write(state, 'tables', 'one');
    await write(state, 'tables', 'two', 1);
    await writeBackup(state, join(folder, 'copy'));
    await write(state, 'tables', 'later', 2);

    const copy = openState('copy');
    expect(await copy.documents()).toEqual([{ key: 'tables', version: 2, value: 'two' }]);
    expect(await copy.lease('leader')).toMatchObject({ term, owner: undefined });
    expect(await restoreBackup(copy, join(folder, 'copy'))).toEqual([]);
    expect(await copy.campaign({ lease: 'leader', candidate, ttlMs: 60_000, termFloor: 0 })).toEqual({ held: true, term: term + 1 });
    for (const file of ['cluster-state.db', 'cluster-state.restored.json']) expect(statSync(join(folder, 'copy', file)).mode & 0o777).toBe(0o600);
  });

  test('fills an empty state once, and never replaces what is there', async () => {
    const state = openState('first');
    await write(state, 'settings', 'kept');
    await write(state, 'tables', 'kept');
    await writeBackup(state, join(folder, 'copy'));

    const other = openState('other');
    await write(other, 'settings', 'newer');
    expect(await restoreBackup(other, join(folder, 'copy'))).toEqual(['tables']);
    expect((await other.documents()).map(({ value }) => value)).toEqual(['newer', 'kept']);
    expect(existsSync(join(folder, 'copy', 'cluster-state.json'))).toBe(false);
    expect(await restoreBackup(other, join(folder, 'copy'))).toEqual([]);
    expect(readFileSync(join(folder, 'copy', 'cluster-state.restored.json'), 'utf8')).toContain('tables');
  });

  test('that has no room leaves the state itself as available as it was', async () => {
    const state = openState('first');
    await write(state, 'tables', 'kept');
    await expect(writeBackup(state, join(folder, 'nowhere'))).rejects.toThrow(/ENOENT/);
    await expect(writeBackup(state, '/dev/full')).rejects.toThrow();
    expect(state.availability().available).toBe(true);
    expect(await state.documents()).toHaveLength(1);
  });

  test('a damaged one is named, and nothing of it is written', async () => {
    const state = openState('first');
    for (const text of ['{', '{}', '{"documents":[{"key":"tables"}]}', '{"documents":[null]}']) {
      writeFileSync(join(folder, 'copy', 'cluster-state.json'), text);
      await expect(restoreBackup(state, join(folder, 'copy'))).rejects.toThrow(/copy\/cluster-state.json is no backup/);
    }
    writeFileSync(join(folder, 'copy', 'cluster-state.json'), JSON.stringify({ documents: [{ key: 'good', value: '' }, { key: 'not a key', value: '' }] }));
    await expect(restoreBackup(state, join(folder, 'copy'))).rejects.toThrow(RangeError);
    expect(await state.documents()).toEqual([]);
  });
});
