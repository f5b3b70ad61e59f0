import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mergeSegments } from './merge-segments.js';
import { answer, withDatabase } from './segment-database.js';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'binnacle-merge-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

const limitsOf = (memoryMegabytes: number) => ({ memoryMegabytes, temporaryMegabytes: 1_024, threads: 1, temporaryFolder: join(folder, 'spilled') });
const database = (sql: string): Promise<unknown[][]> => withDatabase(limitsOf(1_024), (connection) => answer(connection, sql));

/** Twelve documents of a megabyte, lists of numbers that take many times that to be read, and after them thousands of small ones. */
async function writeInput(name: string, version: number, more: string): Promise<{ path: string; columns: [] }> {
  const path = join(folder, name);
  const list = `repeat('1,', 500000)`;
  await database(`COPY (
    SELECT handle AS _handle, ${version}::BIGINT AS _version, false AS _deleted, document AS _document FROM (
      SELECT 'large ' || (100 + i) AS handle, '{"n":' || i || ',"l":[' || ${list} || i || ']}' AS document FROM range(12) t(i)
      UNION ALL SELECT 'small ' || (10000 + i), '{"n":' || i || '}' FROM range(5000) t(i)
      ${more}) ORDER BY _handle) TO '${path}' (FORMAT parquet)`);
  return { path, columns: [] };
}

test('what takes more memory than there is when it is merged at once is merged in parts', async () => {
  const monster = `UNION ALL SELECT 'monster', '{"n":7,"l":[' || repeat('1,', 6000000) || '1]}'`;
  const inputs = [await writeInput('older', 1, ''), await writeInput('newer', 2, monster)];
  const columns = [{ name: 'n', type: 'int32', column: 'n' }, { name: 'l', type: 'int64[]', column: 'l' }] as const;
  const { segments } = await mergeSegments({ kind: 'merge', inputs, dropsMarks: false, schemaVersion: 2, columns, output: { folder, limits: limitsOf(256) } });
  const files = segments.map(({ file }) => file);
  expect(files.length).toBeGreaterThan(1);
  expect(files.slice(1).every(({ minHandle }, index) => minHandle > (files[index]?.maxHandle ?? ''))).toBe(true);
  const found = await database(`SELECT count(*)::INTEGER, count(DISTINCT _handle)::INTEGER, min(_version)::INTEGER, sum(n)::INTEGER, count(*) FILTER (len(l) = 500001)::INTEGER FROM read_parquet([${files.map(({ path }) => `'${path}'`).join(', ')}])`);
  // The fields of the monster do not fit into memory: it has none, but its document.
  expect(found).toEqual([[5_013, 5_013, 2, (11 * 12) / 2 + (4_999 * 5_000) / 2, 12]]);
});
