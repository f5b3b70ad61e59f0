import { Session } from 'node:inspector/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { ProfilerBusy } from './capture-errors.js';

/** Not `node` and `node.async_hooks`: 35,000 events a second, and the end of the capture stalls the process by 2 to 7 µs for each. */
export const defaultCategories = 'v8,node.http,node.fs.sync,node.fs.async,node.environment';

const secondsMin = 0.1;
const secondsMax = 120;
/**
 * Node.js hands its buffer over when 65,000 events are in it, from another thread while events are still written, and has aborted the process
 * over what it then read (`serializeToJSON`, 24.21). A stop hands it over with nobody writing: so there is one before it can be full.
 */
const sliceMs = 100;
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
 * What Node.js traces of itself, as JSON in Chrome's trace format: `{"traceEvents": [...], "metadata": {"truncated": false}}`. A trace
 * that reaches the limit of bytes ends there and says so. Throws `RangeError`, `ProfilerBusy`, or the signal's reason.
 */
export async function captureTrace({ seconds, signal, bytesMax = traceBytesMax }: TraceOptions): Promise<Buffer> {
  if (!(seconds >= secondsMin && seconds <= secondsMax)) throw new RangeError(`seconds must be ${secondsMin} to ${secondsMax}`);
  signal?.throwIfAborted();
  if (isRunning) throw new ProfilerBusy('a trace runs already in this process');
  isRunning = true;
  const session = new Session();
  try {
    session.connect();
    return await trace(session, seconds * 1_000, bytesMax, signal);
  } finally {
    session.disconnect();
    isRunning = false;
  }
}

async function trace(session: Session, durationMs: number, bytesMax: number, signal: AbortSignal | undefined): Promise<Buffer> {
  const events = new TraceEvents(bytesMax);
  const endMs = performance.now() + durationMs;
  session.on('NodeTracing.dataCollected', ({ params }) => events.add(params.value));
  for (let leftMs = durationMs; leftMs > 0 && !events.isTruncated; leftMs = endMs - performance.now()) {
    await session.post('NodeTracing.start', { traceConfig: { includedCategories: defaultCategories.split(',') } });
    await delay(Math.min(sliceMs, leftMs), undefined, signal ? { signal } : {}).catch(() => undefined);
    // What is left is delivered before this is answered.
    await session.post('NodeTracing.stop');
    signal?.throwIfAborted();
  }
  return events.toDocument();
}

/** Events as their JSON, so that what they take is known and they need not be written again at the end. */
class TraceEvents {
  readonly #json: string[] = [];
  readonly #bytesMax: number;
  #bytes = 0;
  #truncated = false;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get isTruncated(): boolean {
    return this.#truncated;
  }

  /** What no longer fits is left out. */
  add(events: readonly unknown[]): void {
    for (const event of events) {
      const json = JSON.stringify(event);
      this.#bytes += Buffer.byteLength(json) + 1;
      this.#truncated ||= this.#bytes > this.#bytesMax;
      if (this.#truncated) return;
      this.#json.push(json);
    }
  }

  toDocument(): Buffer {
    return Buffer.from(`{"traceEvents":[${this.#json.join(',')}],"metadata":{"truncated":${this.#truncated}}}`);
  }
}
