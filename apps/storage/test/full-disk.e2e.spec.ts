import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BinnacleError } from '@binnacle/contracts/errors';
import { canMount, SmallDisk } from '@binnacle/testing/small-disk';
import { waitUntil } from '@binnacle/testing/wait-until';
import { openRows, type TestableRows } from './testable-rows.js';

(canMount ? describe : describe.skip)('a full disk (only root can mount a small one)', () => {
  let folder: string;
  const disks: SmallDisk[] = [];
  const opened: TestableRows[] = [];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'binnacle-full-'));
  });

  afterEach(async () => {
    for (const { store } of opened.splice(0)) await store.stop();
    for (const disk of disks.splice(0)) disk.unmount();
    rmSync(folder, { recursive: true });
  });

  function mountSmall(at: string, megabytes: number): SmallDisk {
    const disk = new SmallDisk(at, megabytes * 1024);
    disks.push(disk);
    return disk;
  }

  const open = async (): Promise<TestableRows> => {
    const rows = await openRows(folder);
    opened.push(rows);
    return rows;
  };

  const documentOf = (name: string): Buffer => Buffer.from(name.repeat(200));

  /** 16 writers, until each of them has been refused once. Resolves to the names of what was acknowledged and to the codes of the refusals. */
  async function writeUntilRefused({ store }: TestableRows, prefix: string): Promise<{ acknowledged: string[]; codes: Set<string> }> {
    const acknowledged: string[] = [];
    const codes = new Set<string>();
    const writer = async (id: number): Promise<void> => {
      for (let turn = 0; ; turn++) {
        const name = `${prefix}-${id}-${turn}`;
        try {
          await store.write(1, [{ handle: Buffer.from(name), put: documentOf(name) }], { durability: 'fsync' });
          acknowledged.push(name);
        } catch (error) {
          codes.add((error as BinnacleError).code);
          return;
        }
      }
    };
    await Promise.all(Array.from({ length: 16 }, (_, id) => writer(id)));
    return { acknowledged, codes };
  }

  async function expectAll({ store }: TestableRows, names: readonly string[]): Promise<void> {
    const rows = await store.getMany(1, names.map((name) => Buffer.from(name)));
    expect(names.filter((name, index) => !rows[index]?.document.equals(documentOf(name)))).toEqual([]);
  }

  test('under the log: the write that did not fit is refused, everything before it stays, and writes go on when there is room', async () => {
    const log = join(folder, 'storage/log');
    const disk = mountSmall(log, 4);
    const rows = await open();
    const { acknowledged, codes } = await writeUntilRefused(rows, 'first');
    expect(codes).toEqual(new Set(['OUT_OF_DISK']));
    await expectAll(rows, acknowledged);

    disk.enlarge(16 * 1024);
    const again = await rows.store.write(1, [{ handle: Buffer.from('again'), put: documentOf('again') }], { durability: 'fsync' });
    // Versions have no gap: nothing is left of what was refused.
    expect(again).toEqual([{ version: acknowledged.length + 1, document: documentOf('again') }]);
    await rows.store.stop();
    const restarted = await open();
    await expectAll(restarted, [...acknowledged, 'again']);
    expect(restarted.store.count(1)).toBe(acknowledged.length + 1);
  });

  test('under everything: nothing acknowledged is lost, and writes go on by themselves when there is room', async () => {
    const disk = mountSmall(folder, 24);
    const rows = await open();
    const { acknowledged, codes } = await writeUntilRefused(rows, 'first');
    expect(codes).toEqual(new Set(['OUT_OF_DISK']));
    await expectAll(rows, acknowledged);

    disk.enlarge(96 * 1024);
    const again = () => rows.store.write(1, [{ handle: Buffer.from('again'), put: documentOf('again') }], { durability: 'fsync' });
    await waitUntil(() => again().catch(() => false), { timeoutMs: 60_000, intervalMs: 200 });
    await expectAll(rows, [...acknowledged, 'again']);
    await rows.store.stop();
    await expectAll(await open(), [...acknowledged, 'again']);
  });

  test('at the start is said, and harms nothing', async () => {
    mountSmall(folder, 24);
    const rows = await open();
    await rows.store.write(1, [{ handle: Buffer.from('a'), put: documentOf('a') }], { durability: 'fsync' });
    await rows.store.stop();
    try {
      writeFileSync(join(folder, 'ballast'), Buffer.alloc(32 * 2 ** 20));
    } catch (error) {
      expect((error as NodeJS.ErrnoException).code).toBe('ENOSPC');
    }
    await expect(open()).rejects.toThrow(/No space left on device.*Free some disk space/);
    rmSync(join(folder, 'ballast'));
    await expectAll(await open(), ['a']);
  });
});
