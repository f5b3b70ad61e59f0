import type { Session } from 'node:inspector';
import { setTimeout as delay } from 'node:timers/promises';
import { Label, type Profile, type Sample } from 'pprof-format';
import { ProfilerBusy } from './capture-errors.js';
import { deoptimisation, keepNamesOfHotCode } from './hot-code.js';
import { openInspectorSession } from './inspector-session.js';
import { loadPprof, requireRange } from './pprof-library.js';
import { encodeProfile } from './profile.js';
import { columnKeeper, withSourceLines } from './source-lines.js';
import { addWorkerSamples } from './worker-samples.js';
import { WorkerProfiling } from './worker-threads.js';

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
 * label `thread`: `main`, `worker 3`, `native`. CPU time of threads without JavaScript (the thread pool, V8's helpers, add-ons) is one
 * sample, "Non JS threads activity". The line of a frame is the one where its function begins.
 *
 * Worker threads are in it as `WorkerProfiling` says; where there is no inspector, the main thread alone. Takes up to three seconds
 * more than asked for when a worker does not answer.
 *
 * Throws a RangeError for options out of range, `ProfilerBusy` while another capture runs, `CapabilityMissing` where pprof has
 * no build, and the signal's reason once it is aborted, by which time the profilers are stopped.
 */
export async function captureCpuProfile({ seconds, frequencyHz, signal }: CpuCapture): Promise<Buffer> {
  requireRange('seconds', seconds, 0.1, 600);
  requireRange('frequencyHz', frequencyHz, 1, 1000);
  signal?.throwIfAborted();
  if (capturing || loadPprof().time.isStarted()) throw new ProfilerBusy('a CPU profile of this process is being taken: there can be one at a time');
  capturing = true;
  try {
    const session = await openInspectorSession();
    try {
      return await encodeProfile(await withSourceLines(await sampleThreads(seconds * 1_000, 1e6 / frequencyHz, session, signal)));
    } finally {
      session?.disconnect();
    }
  } catch (error) {
    // Whatever was waited for rejects in its own words.
    signal?.throwIfAborted();
    throw error;
  } finally {
    capturing = false;
  }
}

async function sampleThreads(durationMs: number, intervalMicros: number, session: Session | undefined, signal: AbortSignal | undefined): Promise<Profile> {
  const discardHotCode = keepNamesOfHotCode();
  const workers = session && new WorkerProfiling(session);
  try {
    await workers?.start(intervalMicros, discardHotCode, signal);
    if (discardHotCode) for (const [method, parameters] of deoptimisation) session?.post(method, parameters);
    // The handler of the profiling signal is pprof's while pprof runs, and V8's around that: begun last, it has to end first.
    const profile = await sampleMainThread(durationMs, intervalMicros, signal);
    const native = labelThreads(profile);
    // pprof knows the process and the main thread, and takes all the rest for native.
    const othersNanos = Number(native?.value[2] ?? 0);
    const workerNanos = addWorkerSamples(profile, (await workers?.stop()) ?? [], othersNanos);
    if (native !== undefined) native.value[2] = Math.max(othersNanos - workerNanos, 0);
    if (workers?.leftOut) profile.comment.push(profile.stringTable.dedup(`${workers.leftOut} more worker threads are counted as native`));
    return profile;
  } finally {
    workers?.close();
  }
}

/** pprof makes room for the samples of twice the duration that it is told, 60 s if it is not, and drops what comes after. */
const roomMsMin = 60_000;

async function sampleMainThread(durationMs: number, intervalMicros: number, signal: AbortSignal | undefined): Promise<Profile> {
  const { time } = loadPprof();
  const startedAtMs = Date.now();
  // A short capture of a thread that is blocked lasts until it no longer is.
  const durationMillis = Math.max(durationMs, roomMsMin);
  // Contexts are what pprof hangs the CPU time of each sample on; the workaround restarts a V8 profiler that gives no samples.
  time.start({ durationMillis, intervalMicros, withContexts: true, collectCpuTime: true, workaroundV8Bug: true, sourceMapper: columnKeeper });
  let profile: Profile;
  try {
    await delay(durationMs, undefined, { signal });
  } finally {
    profile = time.stop();
  }
  profile.timeNanos = BigInt(startedAtMs) * 1_000_000n;
  return profile;
}

const nonJsThreads = 'Non JS threads activity';

/** Every sample says whose it is. Returns the one of the threads without JavaScript. */
function labelThreads({ stringTable, sample: samples, location, function: functions }: Profile): Sample | undefined {
  const key = stringTable.dedup('thread');
  const [main, native] = ['main', 'native'].map((name) => [new Label({ key, str: stringTable.dedup(name) })]) as [Label[], Label[]];
  const nativeFunction = functions.find(({ name }) => stringTable.strings[Number(name)] === nonJsThreads)?.id;
  const nativeLocation = location.find(({ line }) => nativeFunction !== undefined && line[0]?.functionId === nativeFunction)?.id;
  const nativeSample = samples.find(({ locationId }) => nativeLocation !== undefined && locationId[0] === nativeLocation);
  for (const sample of samples) sample.label = sample === nativeSample ? native : main;
  return nativeSample;
}
