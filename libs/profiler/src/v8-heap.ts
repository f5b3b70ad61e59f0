import { setTimeout as delay } from 'node:timers/promises';
import { NotActivated, ProfilerBusy } from './capture-errors.js';
import { loadPprof, requireRange } from './pprof-library.js';
import { encodeProfile } from './profile.js';
import { columnKeeper, withSourceLines } from './source-lines.js';

/**
 * One allocation in so many bytes is sampled, and stands for all of them. What a function holds is then known with a
 * standard deviation of 1/sqrt(held bytes / interval): 2.5 % of 100 MB, 25 % of 1 MB. A loop that does nothing but allocate takes
 * 15 % more CPU time meanwhile; at 512 KiB it would be 2 %, and the deviation 7 % of 100 MB.
 */
const sampleIntervalBytes = 64 * 1024;
const stackDepthMax = 64;

/** Who needs the sampling: the operator who switched it on, and a capture that brings its own. Runs while anyone does. */
const needed = new Set<'operator' | 'capture'>();
let capturing = false;

/** From now on V8 samples what is allocated, so that a later profile tells what of it is still held. */
export function startV8HeapSampling(): void {
  need('operator');
}

export function stopV8HeapSampling(): void {
  release('operator');
}

/** Whether sampling was switched on; a capture under way that samples for itself does not count. */
export function isV8HeapSampling(): boolean {
  return needed.has('operator');
}

export interface V8HeapCapture {
  /** 0 to 600. 0 is the profile of this moment, for which sampling has to be on. */
  readonly seconds: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * What this thread's JavaScript heap holds, by the function that allocated it: gzipped pprof with the sample types
 * inuse_objects/count and inuse_space/bytes. Only what was allocated since sampling began is seen: with sampling off that is the
 * time of the capture itself. Held means not yet found to be garbage, that is since the last major collection.
 *
 * Buffers and other memory outside of V8's heap are one frame, `(external)`, without the function that holds them; worker
 * threads have heaps of their own, which are not in here.
 *
 * Throws a RangeError for seconds out of range, `NotActivated` for 0 seconds while sampling is off, `ProfilerBusy` while another
 * capture runs, `CapabilityMissing` where pprof has no build, and the signal's reason once it is aborted.
 */
export async function captureV8Heap({ seconds, signal }: V8HeapCapture): Promise<Buffer> {
  requireRange('seconds', seconds, 0, 600);
  signal?.throwIfAborted();
  if (capturing) throw new ProfilerBusy('a heap profile of this process is being taken: there can be one at a time');
  if (seconds === 0 && !isV8HeapSampling()) {
    throw new NotActivated('heap sampling is off: switch it on first (/debug/pprof/set_prof_active), or ask for seconds above 0 to see what is allocated meanwhile');
  }
  capturing = true;
  try {
    need('capture');
    if (seconds > 0) await delay(seconds * 1000, undefined, { signal }).catch(() => signal?.throwIfAborted());
    return await encodeProfile(await withSourceLines(loadPprof().heap.profile(undefined, columnKeeper)));
  } finally {
    capturing = false;
    release('capture');
  }
}

function need(by: 'operator' | 'capture'): void {
  if (needed.size === 0) startSampling();
  needed.add(by);
}

function startSampling(): void {
  try {
    loadPprof().heap.start(sampleIntervalBytes, stackDepthMax);
  } catch (error) {
    if (!/already started/.test(String(error))) throw error;
    throw new ProfilerBusy('something else in this process samples the heap with pprof', { cause: error });
  }
}

function release(by: 'operator' | 'capture'): void {
  if (needed.delete(by) && needed.size === 0) loadPprof().heap.stop();
}
