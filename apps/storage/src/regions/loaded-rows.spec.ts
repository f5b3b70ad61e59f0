import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FolderStore } from '@binnacle/object-store/folder-store';
import { withDatabase } from '../remote/segment-database.js';
import type { Segment } from '../remote/manifest.js';
import { eachSegmentRow } from './loaded-rows.js';

const mebibyte = 2 ** 20;
let folder: string;
let store: FolderStore;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'binnacle-loaded-'));
  store = await FolderStore.open(join(folder, 'bucket'), { timeoutMs: 10_000 });
});

afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true });
});

/** `rows`: a query for handle, version, whether it is deleted, and document. */
async function putSegment(key: string, rows: string): Promise<Segment> {
  const path = join(folder, key);
  const limits = { memoryMegabytes: 1_024, temporaryMegabytes: 1_024, threads: 1, temporaryFolder: join(folder, 'spilled') };
  await withDatabase(limits, (connection) => connection.run(`COPY (SELECT column0 AS _handle, column1::BIGINT AS _version, column2 AS _deleted, column3 AS _document FROM (${rows}) t(column0, column1, column2, column3)) TO '${path}' (FORMAT parquet)`));
  await store.putFile(key, path);
  return { key, bytes: statSync(path).size } as Segment;
}

test('of each handle the newest row comes, however large the documents are and wherever they lie', async () => {
  const large = (from: number, version: number): string => `SELECT 'large ' || (${from} + i), ${version}, false, i || repeat('x', ${16 * mebibyte}) FROM range(4) t(i)`;
  const segments = [
    await putSegment('a', `${large(0, 1)} UNION ALL SELECT 'small', 1, false, 'old' UNION ALL SELECT 'twice', 1, false, 'same'`),
    await putSegment('b', `${large(4, 2)} UNION ALL SELECT 'twice', 1, false, 'same' UNION ALL SELECT 'large 0', 2, true, NULL`),
    await putSegment('c', `${large(8, 3)} UNION ALL SELECT 'small', 3, false, 'new'`),
  ];
  const found = new Map<string, string>();
  let bytesMax = 0;
  await eachSegmentRow(store, segments, join(folder, 'loading'), async (rows) => {
    bytesMax = Math.max(bytesMax, rows.reduce((sum, { document }) => sum + (document?.length ?? 0), 0));
    for (const { handle, version, document } of rows) {
      expect(found.has(handle.toString())).toBe(false);
      found.set(handle.toString(), `${version} ${document === undefined ? 'mark' : document.length > 100 ? 'large' : document.toString()}`);
    }
  });
  const larges = Array.from({ length: 12 }, (_, index): [string, string] => [`large ${index}`, index === 0 ? '2 mark' : `${1 + Math.floor(index / 4)} large`]);
  expect(Object.fromEntries(found)).toEqual(Object.fromEntries([...larges, ['small', '3 new'], ['twice', '1 same']]));
  expect(bytesMax).toBeLessThan(80 * mebibyte);
});
