import type { NodeWorker, Profiler, Session } from 'node:inspector';
import { setTimeout as delay } from 'node:timers/promises';
import type { Worker } from 'node:worker_threads';
import { deoptimisation } from './hot-code.js';
import { workerOf } from './known-workers.js';

/** What one worker thread did. `cpuNanos`: CPU time it used meanwhile; undefined where Node.js does not tell. */
export interface WorkerProfile {
  readonly threadId: number;
  readonly profile: Profiler.Profile;
  readonly cpuNanos: number | undefined;
}

/** More are left out: each sends some 20 bytes a sample to the main thread, that is 380 MB for 32 of them at the most that can be asked for. */
const workersMax = 32;
/** A worker that does not answer, because native code holds it, is left out; one that answers later is in from then on. */
const startMsMax = 1_000;
const stopMsMax = 2_000;

type CpuUsage = Awaited<ReturnType<Worker['cpuUsage']>>;

interface Reply {
  readonly id: number;
  readonly result?: { readonly profile?: Profiler.Profile };
}

/** A worker thread at the other end of the inspector. */
class Link {
  readonly threadId: number;
  readonly #send: (message: string) => void;
  readonly #waiting = new Map<number, (reply: Reply) => void>();
  readonly #usageBefore: Promise<CpuUsage | undefined>;
  #lastId = 0;

  /** `fresh`: it began after the profile did, and what it used so far counts. */
  constructor(threadId: number, fresh: boolean, send: (message: string) => void) {
    this.threadId = threadId;
    this.#send = send;
    this.#usageBefore = fresh ? Promise.resolve({ user: 0, system: 0 }) : this.#usage();
  }

  request(method: string, parameters: object = {}): Promise<Reply> {
    const id = ++this.#lastId;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#send(JSON.stringify({ id, method, params: parameters }));
    });
  }

  receive(message: string): void {
    const reply = JSON.parse(message) as Reply;
    this.#waiting.get(reply.id)?.(reply);
    this.#waiting.delete(reply.id);
  }

  /** The thread has ended: whoever waits for it gets an answer without a result. */
  end(): void {
    for (const [id, resolve] of this.#waiting) resolve({ id });
  }

  async start(intervalMicros: number, deoptimise: boolean): Promise<void> {
    if (deoptimise) for (const [method, parameters] of deoptimisation) void this.request(method, parameters);
    void this.request('Profiler.enable');
    void this.request('Profiler.setSamplingInterval', { interval: Math.round(intervalMicros) });
    await Promise.all([this.request('Profiler.start'), this.#usageBefore]);
  }

  async stop(): Promise<WorkerProfile | undefined> {
    const usage = this.#usage();
    const { result } = await this.request('Profiler.stop');
    if (result?.profile === undefined) return undefined;
    const [before, after] = [await this.#usageBefore, await usage];
    const cpuNanos = before && after ? (after.user + after.system - before.user - before.system) * 1_000 : undefined;
    return { threadId: this.threadId, profile: result.profile, cpuNanos };
  }

  /** Undefined for a thread whose Worker is not known, that has ended, or of a Node.js that does not measure it (before 24.6). */
  async #usage(): Promise<CpuUsage | undefined> {
    return workerOf(this.threadId)?.cpuUsage?.().catch(() => undefined);
  }
}

/**
 * Profiles of the worker threads of this process, by V8's own profiler, which is reached through the inspector: no code is evaluated
 * in them, none is stopped, none is kept alive. A worker that begins meanwhile is in from its beginning. One that ends takes its
 * profile with it, and workers of workers are not seen: both count as threads without JavaScript.
 */
export class WorkerProfiling {
  readonly #session: Session;
  readonly #links = new Map<string, Link>();
  #fresh = false;
  #leftOut = 0;

  /** The session stays the caller's to disconnect, after `close`. */
  constructor(session: Session) {
    this.#session = session;
  }

  /** Worker threads that there was no room for. */
  get leftOut(): number {
    return this.#leftOut;
  }

  /** Resolves when the workers there are have begun, or after a second. Rejects when the signal is aborted. */
  async start(intervalMicros: number, deoptimise: boolean, signal: AbortSignal | undefined): Promise<void> {
    const begun: Promise<void>[] = [];
    this.#session.on('NodeWorker.attachedToWorker', ({ params }) => {
      const link = this.#attach(params);
      if (link !== undefined) begun.push(link.start(intervalMicros, deoptimise && !this.#fresh));
    });
    this.#session.on('NodeWorker.detachedFromWorker', ({ params }) => {
      this.#links.get(params.sessionId)?.end();
      this.#links.delete(params.sessionId);
    });
    this.#session.on('NodeWorker.receivedMessageFromWorker', ({ params }) => this.#links.get(params.sessionId)?.receive(params.message));
    // The answer comes after all workers that exist were announced.
    this.#session.post('NodeWorker.enable', { waitForDebuggerOnStart: false });
    this.#fresh = true;
    if (begun.length > 0) await within(startMsMax, Promise.all(begun), signal);
  }

  #attach({ sessionId, workerInfo }: NodeWorker.AttachedToWorkerEventDataType): Link | undefined {
    // "[worker 3] name", and "Worker 3" before Node.js 24.
    const threadId = Number(/worker (\d+)/i.exec(workerInfo.title)?.[1]);
    if (this.#links.size >= workersMax || !Number.isInteger(threadId)) {
      this.#leftOut++;
      return undefined;
    }
    const link = new Link(threadId, this.#fresh, (message) => this.#session.post('NodeWorker.sendMessageToWorker', { sessionId, message }));
    this.#links.set(sessionId, link);
    return link;
  }

  /** Profiles of the workers that answer within two seconds. */
  async stop(): Promise<WorkerProfile[]> {
    const stopping = [...this.#links.values()].map((link) => within(stopMsMax, link.stop()));
    return (await Promise.all(stopping)).filter((one) => one !== undefined);
  }

  /** Whatever came of it: no worker is left with a profiler, which the end of the session alone would leave running. */
  close(): void {
    for (const link of this.#links.values()) void link.request('Profiler.disable');
    this.#session.post('NodeWorker.disable');
  }
}

/** What the work resolves to; undefined once the time is over. Rejects when the signal is aborted. */
async function within<T>(timeoutMs: number, work: Promise<T>, signal?: AbortSignal): Promise<T | undefined> {
  const finished = new AbortController();
  const either = signal === undefined ? finished.signal : AbortSignal.any([signal, finished.signal]);
  try {
    return await Promise.race([work, delay(timeoutMs, undefined, { signal: either })]);
  } finally {
    finished.abort();
  }
}
