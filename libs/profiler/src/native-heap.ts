import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NotActivated, OutOfDisk } from './capture-errors.js';
import { type Jemalloc, requireProfilingJemalloc } from './jemalloc.js';

/** 100,000 different stacks of 60 frames. */
const dumpBytesMax = 128 * 1024 * 1024;

/**
 * What native code holds now, as jemalloc's own heap_v2 text. Only what was allocated while `prof.active` was on is in it.
 * Throws `CapabilityMissing`, `NotActivated` or `OutOfDisk`.
 */
export async function dumpNativeHeap(jemalloc: Jemalloc = requireProfilingJemalloc()): Promise<Buffer> {
  if (!jemalloc.isProfActive()) throw new NotActivated('heap profiling is not active: call /debug/pprof/set_prof_active first');
  try {
    // Stacks tell about a program: nobody else of this machine is to read them, so folder and file are ours alone.
    const folder = await mkdtemp(join(tmpdir(), 'binnacle-heap-'));
    try {
      return await dumpInto(join(folder, 'dump.heap'), jemalloc);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') throw new OutOfDisk(`no space left in ${tmpdir()} for a heap dump`, { cause: error });
    throw error;
  }
}

async function dumpInto(path: string, jemalloc: Jemalloc): Promise<Buffer> {
  // jemalloc would create the file with 0644; one that is there keeps its mode.
  const file = await open(path, 'wx+', 0o600);
  try {
    jemalloc.dump(path);
    const { size } = await file.stat();
    if (size > dumpBytesMax) throw new Error(`the heap dump is ${size} bytes, the limit is ${dumpBytesMax}`);
    const dump = await file.readFile();
    // What the disk has room for in part is no error to jemalloc, and the dump is cut short: one byte more tells.
    await file.write('\n');
    return dump;
  } finally {
    await file.close();
  }
}
