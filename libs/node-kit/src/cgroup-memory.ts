import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** A kernel without limit says `max` (v2) or a number near 2^63 (v1): nothing above a pebibyte is a limit. */
const limitBytesMax = 2 ** 50;
/** Control groups are nested; a limit may sit on any of them. */
const depthMax = 32;

interface CgroupFiles {
  readonly limit: string;
  readonly usage: string;
  /** Key in memory.stat of file pages that are given back under pressure. */
  readonly reclaimable: string;
}

const v2: CgroupFiles = { limit: 'memory.max', usage: 'memory.current', reclaimable: 'inactive_file' };
const v1: CgroupFiles = { limit: 'memory.limit_in_bytes', usage: 'memory.usage_in_bytes', reclaimable: 'total_inactive_file' };

/**
 * The tightest memory limit of the control groups this process is in, and what is left under it; undefined without a limit.
 * Pages of the file cache that the kernel gives back under pressure count as available: a node that reads many files is not out of memory.
 * `root` is for tests.
 */
export async function cgroupMemory(root = '/'): Promise<{ limitBytes: number; availableBytes: number } | undefined> {
  const membership = await read(join(root, 'proc/self/cgroup'));
  if (membership === undefined) return undefined;
  const candidates: { folder: string; files: CgroupFiles }[] = [];
  for (const line of membership.split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (path === undefined) continue;
    if (controllers === '') candidates.push(...ancestors(join(root, 'sys/fs/cgroup'), path).map((folder) => ({ folder, files: v2 })));
    else if (controllers?.split(',').includes('memory'))
      candidates.push(...ancestors(join(root, 'sys/fs/cgroup/memory'), path).map((folder) => ({ folder, files: v1 })));
  }
  const limits = await Promise.all(candidates.map(({ folder, files }) => readLimit(folder, files)));
  return limits.reduce((tightest, each) => (each && (!tightest || each.availableBytes < tightest.availableBytes) ? each : tightest), undefined);
}

/**
 * The group and all above it. In a container the path is often the host's and not there to be seen, and its own group is mounted
 * at the root: that one is among them.
 */
function ancestors(mount: string, path: string): string[] {
  const folders: string[] = [];
  for (let step = path; folders.length < depthMax; step = dirname(step)) {
    folders.push(join(mount, step));
    if (step === '/') break;
  }
  return folders;
}

async function readLimit(folder: string, files: CgroupFiles): Promise<{ limitBytes: number; availableBytes: number } | undefined> {
  const [limit, usage, stat] = await Promise.all([files.limit, files.usage, 'memory.stat'].map((file) => read(join(folder, file))));
  const limitBytes = Number(limit?.trim() || Number.NaN);
  if (!Number.isFinite(limitBytes) || limitBytes >= limitBytesMax || usage === undefined) return undefined;
  const reclaimable = Number(new RegExp(`^${files.reclaimable} (\\d+)$`, 'm').exec(stat ?? '')?.[1] ?? 0);
  return { limitBytes, availableBytes: Math.max(0, limitBytes - Number(usage) + reclaimable) };
}

async function read(file: string): Promise<string | undefined> {
  return readFile(file, 'utf8').catch(() => undefined);
}
