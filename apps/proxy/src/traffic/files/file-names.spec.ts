import { expect, test } from '@jest/globals';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readKeyFile } from './encryption-key.js';
import { namedFile, NameTimes } from './file-names.js';

test.each([
  'traffic-.log', 'traffic-1.log.gz.gz', 'traffic-2026-11-21T09:05:07.log', 'traffic-2026-11-21T09-05-07.1234567890.log', 'traffic-x.log', 'meta', 'xtraffic-1.log',
  'results.txt', 'traffic-1.log.part.gz', 'traffic-1', '.traffic-1.log',
])('is no name of a traffic file: %s', (name) => {
  expect(namedFile(name)).toBeUndefined();
});

test('names are later and later, whatever the clock does', () => {
  const times = new NameTimes();
  const startMs = Date.parse('2026-10-25T00:59:59.998Z');
  const names = [0, 0, 0, -3_600_000, 5, 3_600_000].map((ms) => times.next(startMs + ms));
  expect(names).toEqual([...new Set(names)].sort());
  for (const name of names) expect(name).toMatch(/^2026-10-2\dT\d\d-\d\d-\d\d\.\d{3}$/);
});

test('a key is the first 32 bytes of its file', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'binnacle-traffic-key-'));
  try {
    const path = join(folder, 'key');
    await writeFile(path, `${'k'.repeat(32)}\n`);
    expect(await readKeyFile(path)).toEqual(Buffer.alloc(32, 'k'));
    await writeFile(path, 'k'.repeat(31));
    await expect(readKeyFile(path)).rejects.toThrow(`the encryption key ${path} has 31 bytes; aes256-ctr needs 32`);
    await expect(readKeyFile(join(folder, 'none'))).rejects.toThrow('cannot be read (ENOENT)');
  } finally {
    await rm(folder, { recursive: true });
  }
});
