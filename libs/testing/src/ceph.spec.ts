import { expect, test } from '@jest/globals';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { cephStartTimeoutMs, startCeph } from './ceph.js';

test('an S3 of its own answers, and is gone after the stop', async () => {
  const ceph = await startCeph();
  expect((await fetch(ceph.endpoint)).status).toBe(200);
  await ceph.stop();
  await expect(fetch(ceph.endpoint)).rejects.toThrow();
}, cephStartTimeoutMs);

/** Puts a script in the place of one of Ceph's programs. `use` gets its path. */
async function withProgram<T>(name: string, script: string, use: (path: string) => Promise<T>): Promise<T> {
  const before = process.env['PATH'] ?? '';
  const folder = mkdtempSync(join(tmpdir(), 'binnacle-programs-'));
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  process.env['PATH'] = `${folder}:${before}`;
  try {
    return await use(path);
  } finally {
    process.env['PATH'] = before;
    rmSync(folder, { recursive: true });
  }
}

test('a command that the monitor refuses once is given again', async () => {
  const refuseOnce = 'mkdir "$0.refused" 2>/dev/null && { echo "Error EPERM: problem getting command descriptions" >&2; exit 1; }\nPATH="${PATH#*:}" exec ceph "$@"';
  const ceph = await withProgram('ceph', refuseOnce, startCeph);
  expect((await fetch(ceph.endpoint)).status).toBe(200);
  await ceph.stop();
}, cephStartTimeoutMs);

test('one that cannot start is tried once more, says why, and leaves nothing', async () => {
  await withProgram('ceph-osd', 'echo "$2" >> "$0.seen"; echo "no OSD today" >&2; exit 1', async (path) => {
    await expect(startCeph()).rejects.toThrow(/^Ceph did not start, 2 times: ceph-osd -i 0 failed: no OSD today\n[^]*mon\.a\.log:\n.+/);
    const configurations = new Set(readFileSync(`${path}.seen`, 'utf8').trim().split('\n'));
    expect(configurations.size).toBe(2);
    for (const configuration of configurations) expect(existsSync(dirname(configuration))).toBe(false);
  });
}, cephStartTimeoutMs);
