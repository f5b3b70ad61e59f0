import { setTimeout as delay } from 'node:timers/promises';
import { Label, type Function as ProfileFunction, type Profile } from 'pprof-format';
import { ProfilerBusy } from './capture-errors.js';
import { keepNamesOfHotCode } from './hot-code.js';
import { gzippedPprof, loadPprof, requireRange } from './pprof-library.js';
import { columnKeeper, withSourceLines } from './source-lines.js';

export interface CpuCapture {
  /** 0.1 to 600. */
  readonly seconds: number;
  /** Samples a second, 1 to 1000. */
  readonly frequencyHz: number;
  readonly signal?: AbortSignal | undefined;
}

let capturing = false;

/**
 * A CPU profile of this process: gzipped pprof with the sample types sample/count, wall/nanoseconds, cpu/nanoseconds, and the
 * label `thread`. CPU time of threads without JavaScript (the thread pool, V8's helpers, add-ons) is one sample, "Non JS
 * threads activity". A line is that of the function's beginning.
 *
 * Throws a RangeError for options out of range, `ProfilerBusy` while another capture runs, `CapabilityMissing` where pprof has
 * no build, and the signal's reason once it is aborted, by which time the profiler is stopped.
 */
export async function captureCpuProfile({ seconds, frequencyHz, signal }: CpuCapture): Promise<Buffer> {
  requireRange('seconds', seconds, 0.1, 600);
  requireRange('frequencyHz', frequencyHz, 1, 1000);
  signal?.throwIfAborted();
  if (capturing) throw new ProfilerBusy('a CPU profile of this process is being taken: there can be one at a time');
  capturing = true;
  try {
    const profile = await sampleMainThread(seconds, 1e6 / frequencyHz, signal);
    return await gzippedPprof(await withSourceLines(profile));
  } finally {
    capturing = false;
  }
}

async function sampleMainThread(seconds: number, intervalMicros: number, signal: AbortSignal | undefined): Promise<Profile> {
  const { time } = loadPprof();
  if (time.isStarted()) throw new ProfilerBusy('something else in this process takes a CPU profile with pprof');
  await keepNamesOfHotCode();
  signal?.throwIfAborted();
  const startedAtMs = Date.now();
  // Contexts are what pprof hangs the CPU time of each sample on; the workaround restarts a V8 profiler that gives no samples.
  time.start({ intervalMicros, withContexts: true, collectCpuTime: true, workaroundV8Bug: true, sourceMapper: columnKeeper });
  let profile: Profile;
  try {
    await delay(seconds * 1000, undefined, { signal }).catch(() => signal?.throwIfAborted());
  } finally {
    profile = time.stop();
  }
  profile.timeNanos = BigInt(startedAtMs) * 1_000_000n;
  labelThreads(profile);
  return profile;
}

const nonJsThreads = 'Non JS threads activity';

/** Every sample says whose it is. */
function labelThreads(profile: Profile): void {
  const { stringTable } = profile;
  const key = stringTable.dedup('thread');
  const isNative = (one: ProfileFunction): boolean => stringTable.strings[Number(one.name)] === nonJsThreads;
  const functions = new Set(profile.function.filter(isNative).map((one) => Number(one.id)));
  const locations = new Set(profile.location.filter(({ line }) => functions.has(Number(line[0]?.functionId))).map(({ id }) => Number(id)));
  for (const sample of profile.sample) {
    const native = locations.has(Number(sample.locationId[0]));
    sample.label = [new Label({ key, str: stringTable.dedup(native ? 'native' : 'main') })];
  }
}
