import type { Profiler, Session } from 'node:inspector';
import { PerformanceObserver, performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { threadId } from 'node:worker_threads';
import { callSpans } from './call-spans.js';
import { CapabilityMissing, ProfilerBusy } from './capture-errors.js';
import { openInspectorSession } from './inspector-session.js';
import { entrySpan, observedEntryTypes } from './performance-spans.js';
import { microsOf, type Row, rows, type TraceEvent } from './trace-event.js';

/*
 * Not Node.js's own trace events (the inspector's NodeTracing): what hands their buffer over races with the threads that write into it, and the
 * process is gone. Measured on 24.21: one in three traces of 5 s of a busy server aborted it (`serializeToJSON`), and with worker threads two in
 * three of even the shortest ended in a segmentation fault. A trace must not cost the node its life.
 */

const secondsMin = 0.1;
const secondsMax = 120;
/** Ten times the default of a CPU profile, because a trace shows when, not only how much. */
const sampleIntervalMicros = 1_000;
const countersIntervalMs = 100;
const traceBytesMax = 64 * 1024 * 1024;

export interface TraceOptions {
  /** 0.1 to 120. */
  readonly seconds: number;
  readonly signal?: AbortSignal;
  /** Of the document's JSON; tests take less. */
  readonly bytesMax?: number;
}

let isRunning = false;

/**
 * What the main thread did and when, as JSON in Chrome's trace format (`{"traceEvents": [...], "metadata": {"truncated": false}}`): the calls of
 * JavaScript (sampled every millisecond), garbage collections, requests served and sent (method, path without query, status), connections, names
 * looked up, the program's own `performance.measure`, and counters of memory and event loop. A trace that reaches the limit of bytes says so.
 * Throws `RangeError`, `ProfilerBusy`, `CapabilityMissing` without an inspector, or the signal's reason.
 */
export async function captureTrace({ seconds, signal, bytesMax = traceBytesMax }: TraceOptions): Promise<Buffer> {
  if (!(seconds >= secondsMin && seconds <= secondsMax)) throw new RangeError(`seconds must be ${secondsMin} to ${secondsMax}`);
  signal?.throwIfAborted();
  if (isRunning) throw new ProfilerBusy('a trace runs already in this process');
  isRunning = true;
  let session: Session | undefined;
  try {
    session = await openInspectorSession();
    if (session === undefined) throw new CapabilityMissing('a trace needs the inspector, which this Node.js has not or may not use');
    return await trace(session, seconds * 1_000, bytesMax, signal);
  } finally {
    session?.disconnect();
    isRunning = false;
  }
}

async function trace(session: Session, durationMs: number, bytesMax: number, signal: AbortSignal | undefined): Promise<Buffer> {
  const document = new TraceDocument(bytesMax);
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) document.add(...entrySpan(entry));
  });
  const counting = setInterval(counters(document), countersIntervalMs);
  observer.observe({ entryTypes: [...observedEntryTypes] });
  let profile: Profiler.Profile;
  try {
    await post(session, 'Profiler.enable');
    await post(session, 'Profiler.setSamplingInterval', { interval: sampleIntervalMicros });
    await post(session, 'Profiler.start');
    await delay(durationMs, undefined, signal ? { signal } : {}).catch(() => undefined);
    ({ profile } = (await post(session, 'Profiler.stop')) as { profile: Profiler.Profile });
  } finally {
    clearInterval(counting);
    observer.disconnect();
  }
  signal?.throwIfAborted();
  for (const span of callSpans(profile)) {
    if (!document.add('JavaScript', span)) break;
  }
  return document.toBuffer();
}

function post(session: Session, method: string, parameters: object = {}): Promise<unknown> {
  return new Promise((resolve, reject) => session.post(method, parameters, (error, result) => (error ? reject(error) : resolve(result))));
}

/** A function that adds what the process is like now, and how busy its loop was since the last time. */
function counters(document: TraceDocument): () => void {
  let last = performance.eventLoopUtilization();
  return () => {
    const ts = microsOf(performance.now());
    const { rss, heapUsed, external } = process.memoryUsage();
    const current = performance.eventLoopUtilization();
    const busy = Math.round(performance.eventLoopUtilization(current, last).utilization * 100);
    last = current;
    const memory = { rss: megabytes(rss), heapUsed: megabytes(heapUsed), external: megabytes(external) };
    document.add('JavaScript', { name: 'memory (MB)', cat: 'node', ph: 'C', ts, args: memory });
    document.add('JavaScript', { name: 'event loop busy (%)', cat: 'node', ph: 'C', ts, args: { busy } });
  };
}

const megabytes = (bytes: number): number => Math.round(bytes / 104_857.6) / 10;

/** Events as their JSON, so that what they take is known and they need not be written again at the end. */
class TraceDocument {
  readonly #json: string[] = [];
  readonly #bytesMax: number;
  #bytes = 0;
  #truncated = false;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
    this.add('JavaScript', { name: 'process_name', cat: '__metadata', ph: 'M', ts: 0, args: { name: process.title } });
    for (const row of rows) this.add(row, { name: 'thread_name', cat: '__metadata', ph: 'M', ts: 0, args: { name: row } });
  }

  /** False when it no longer fits; then nothing does. */
  add(row: Row, event: TraceEvent): boolean {
    if (this.#truncated) return false;
    // The main thread's own number first, rows that are no threads after any that could be one.
    const tid = row === 'JavaScript' ? threadId : 1_000_000 + rows.indexOf(row);
    const json = JSON.stringify({ ...event, pid: process.pid, tid });
    this.#bytes += Buffer.byteLength(json) + 1;
    this.#truncated = this.#bytes > this.#bytesMax;
    if (!this.#truncated) this.#json.push(json);
    return !this.#truncated;
  }

  toBuffer(): Buffer {
    return Buffer.from(`{"traceEvents":[${this.#json.join(',')}],"metadata":{"truncated":${this.#truncated}}}`);
  }
}
