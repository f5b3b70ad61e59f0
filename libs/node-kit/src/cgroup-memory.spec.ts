import { expect, test } from '@jest/globals';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { cgroupMemory } from './cgroup-memory.js';

const mib = 1024 * 1024;

/** A root folder with these files in it. */
function root(files: Record<string, string>): string {
  const folder = mkdtempSync(join(tmpdir(), 'binnacle-cgroup-'));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  return folder;
}

test('version 2: file pages that can be given back count as available', async () => {
  const folder = root({
    'proc/self/cgroup': '0::/kubepods/pod1\n',
    'sys/fs/cgroup/kubepods/pod1/memory.max': `${512 * mib}\n`,
    'sys/fs/cgroup/kubepods/pod1/memory.current': `${400 * mib}\n`,
    'sys/fs/cgroup/kubepods/pod1/memory.stat': `anon 1\ninactive_file ${100 * mib}\nactive_file 7\n`,
  });
  expect(await cgroupMemory(folder)).toEqual({ limitBytes: 512 * mib, availableBytes: 212 * mib });
});

test('the tightest of the limits above a group counts', async () => {
  const folder = root({
    'proc/self/cgroup': '0::/slice/service\n',
    'sys/fs/cgroup/slice/service/memory.max': 'max\n',
    'sys/fs/cgroup/slice/service/memory.current': '1\n',
    'sys/fs/cgroup/slice/memory.max': `${64 * mib}\n`,
    'sys/fs/cgroup/slice/memory.current': `${60 * mib}\n`,
  });
  expect(await cgroupMemory(folder)).toEqual({ limitBytes: 64 * mib, availableBytes: 4 * mib });
});

test("version 1, in a container that sees the host's path but only its own group", async () => {
  const folder = root({
    'proc/self/cgroup': '9:name=systemd:/docker/abc\n4:memory:/docker/abc\n0::/\n',
    'sys/fs/cgroup/memory/memory.limit_in_bytes': `${256 * mib}\n`,
    'sys/fs/cgroup/memory/memory.usage_in_bytes': `${200 * mib}\n`,
    'sys/fs/cgroup/memory/memory.stat': `inactive_file 1\ntotal_inactive_file ${50 * mib}\n`,
  });
  expect(await cgroupMemory(folder)).toEqual({ limitBytes: 256 * mib, availableBytes: 106 * mib });
});

test('without a limit there is none: `max`, or the huge number of version 1', async () => {
  const unlimited = root({
    'proc/self/cgroup': '4:memory:/\n0::/\n',
    'sys/fs/cgroup/memory.max': 'max\n',
    'sys/fs/cgroup/memory.current': '5\n',
    'sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n',
    'sys/fs/cgroup/memory/memory.usage_in_bytes': '5\n',
  });
  expect(await cgroupMemory(unlimited)).toBeUndefined();
  expect(await cgroupMemory(root({}))).toBeUndefined();
});
