import { setTimeout as delay } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type Jemalloc, requireJemalloc } from './jemalloc.js';

export interface PurgedMemory {
  /** Of the whole process, before and after. */
  readonly residentBeforeBytes: number;
  readonly residentAfterBytes: number;
  /** 0 where the process grew meanwhile. */
  readonly releasedBytes: number;
}

/** V8 frees the memory behind dead array buffers on another thread, after the collection has returned. */
const settleMs = 300;

interface Run {
  readonly result: Promise<PurgedMemory>;
  readonly abort: AbortController;
  callers: number;
}

let running: Run | undefined;

/**
 * Collects garbage, lets it settle and gives unused pages back to the system. Callers at the same time share one run, which ends early
 * when all of them have gone. Throws `CapabilityMissing` without jemalloc: what is purged is its arenas, as the document has it.
 */
export async function purgeMemory(signal?: AbortSignal, jemalloc: Jemalloc = requireJemalloc()): Promise<PurgedMemory> {
  signal?.throwIfAborted();
  const run = (running ??= startRun(jemalloc));
  run.callers++;
  return new Promise((resolve, reject) => {
    const leave = (): void => {
      reject(signal?.reason);
      if (--run.callers > 0) return;
      if (running === run) running = undefined;
      run.abort.abort();
    };
    signal?.addEventListener('abort', leave, { once: true });
    void run.result.then(resolve, reject).finally(() => signal?.removeEventListener('abort', leave));
  });
}

function startRun(jemalloc: Jemalloc): Run {
  const abort = new AbortController();
  const run: Run = { result: purge(jemalloc, abort.signal), abort, callers: 0 };
  const forget = (): void => {
    if (running === run) running = undefined;
  };
  run.result.then(forget, forget);
  return run;
}

async function purge(jemalloc: Jemalloc, signal: AbortSignal): Promise<PurgedMemory> {
  const residentBeforeBytes = process.memoryUsage.rss();
  collectGarbage();
  await delay(settleMs, undefined, { signal });
  jemalloc.purge();
  const residentAfterBytes = process.memoryUsage.rss();
  return { residentBeforeBytes, residentAfterBytes, releasedBytes: Math.max(0, residentBeforeBytes - residentAfterBytes) };
}

/**
 * A full collection of this thread's heap, which gives its empty pages back; blocks for as long as that takes. V8 offers it to contexts that
 * are made while the flag is set, so that is one moment.
 */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  try {
    const collect = runInNewContext('gc') as (options: object) => void;
    // Any other flavor keeps emptied pages for 8 s in case they are needed again.
    collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  } finally {
    setFlagsFromString('--no-expose-gc');
  }
}
