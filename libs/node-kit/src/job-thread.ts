import type { Clock } from '@binnacle/cluster-state/clock';
import { Worker } from 'node:worker_threads';

/** What the thread answers to each job, in the order of the jobs; `failure` is what was wrong with this one. */
export type JobAnswer<Result> = { readonly result: Result } | { readonly failure: string };

/** What works on jobs: a thread, or a process that looks like one. */
export interface JobWorker {
  postMessage(job: unknown, transfer: readonly ArrayBuffer[]): void;
  on(event: 'message', listener: (answer: unknown) => void): unknown;
  once(event: 'error' | 'exit', listener: (error: NodeJS.ErrnoException) => void): unknown;
  /** It does not keep this process alive. */
  unref(): void;
  /** Ends it, whatever it does. */
  terminate(): Promise<unknown>;
}

export interface JobThreadOptions {
  /** The built file of the thread: it is plain Node.js and takes no TypeScript. */
  readonly file: URL;
  /** A thread of Node.js if absent. */
  readonly start?: (file: URL, heapMegabytesMax: number) => JobWorker;
  /** For messages: `rendering thread`. */
  readonly name: string;
  /** For one job. */
  readonly jobMsMax: number;
  /** Of the thread's heap, in megabytes of 2^20 bytes. */
  readonly heapMegabytesMax: number;
  /** Jobs, which hold what they work on, that wait for the thread. */
  readonly waitingMax: number;
  /** After that long without a job the thread ends. */
  readonly idleMs: number;
  readonly errors: {
    /** Something was wrong with the job, as the thread says it. */
    readonly failed: (failure: string) => Error;
    readonly tooSlow: () => Error;
    readonly tooLarge: (cause: Error) => Error;
    /** Too many wait already. Without it, one more waits until it may wait with them. */
    readonly tooMany?: () => Error;
  };
}

interface Waiting<Job, Result> {
  readonly job: Job;
  readonly transfer: readonly ArrayBuffer[];
  resolve(result: Result): void;
  reject(error: Error): void;
}

/**
 * Work that would keep the event loop, on a thread of its own, one job after the other. A job that takes too long or too much memory ends the
 * thread and fails alone; the next one gets a new thread. The thread does not keep its process alive.
 */
export class JobThread<Job, Result> {
  readonly #waiting: Waiting<Job, Result>[] = [];
  readonly #roomWaiters: (() => void)[] = [];
  #current: Waiting<Job, Result> | undefined;
  #worker: JobWorker | undefined;
  #cancelTimer = (): void => {};
  #stopped: Error | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly options: JobThreadOptions,
  ) {}

  /** Rejects with one of the `errors`, with the one given to `stop`, and with an Error when the thread breaks. The memory in `transfer` is given away. */
  async run(job: Job, transfer: readonly ArrayBuffer[] = []): Promise<Result> {
    const { waitingMax, errors } = this.options;
    while (this.#stopped === undefined && this.#waiting.length >= waitingMax) {
      if (errors.tooMany) throw errors.tooMany();
      await new Promise<void>((resolve) => this.#roomWaiters.push(resolve));
    }
    if (this.#stopped !== undefined) throw this.#stopped;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ job, transfer, resolve, reject });
      if (this.#current === undefined) this.#next();
    });
  }

  /** Every job that is not done, and every later one, is rejected with this. Resolves when the thread has ended. */
  async stop(error: Error): Promise<void> {
    this.#stopped = error;
    this.#cancelTimer();
    for (const { reject } of [this.#current, ...this.#waiting.splice(0)].filter((each) => each !== undefined)) reject(error);
    for (const resume of this.#roomWaiters.splice(0)) resume();
    this.#current = undefined;
    await this.#terminate();
  }

  #next(): void {
    this.#cancelTimer();
    const { idleMs, jobMsMax, errors } = this.options;
    const next = this.#waiting.shift();
    this.#roomWaiters.shift()?.();
    this.#current = next;
    if (next === undefined) {
      this.#cancelTimer = this.clock.after(idleMs, () => void this.#terminate());
      return;
    }
    this.#cancelTimer = this.clock.after(jobMsMax, () => this.#fail(errors.tooSlow()));
    this.#worker ??= this.#start();
    this.#worker.postMessage(next.job, next.transfer);
  }

  #start(): JobWorker {
    const { file, name, heapMegabytesMax, errors, start = startThread } = this.options;
    const worker = start(file, heapMegabytesMax);
    // Whatever a thread says after its end was decided is about a job that has failed already.
    const ifCurrent = (action: () => void): void => {
      if (this.#worker === worker) action();
    };
    worker.on('message', (answer) => ifCurrent(() => this.#settle(answer as JobAnswer<Result>)));
    worker.once('error', (error) =>
      ifCurrent(() => this.#fail(error.code === 'ERR_WORKER_OUT_OF_MEMORY' ? errors.tooLarge(error) : new Error(`the ${name} failed`, { cause: error }))),
    );
    worker.once('exit', () => ifCurrent(() => this.#fail(new Error(`the ${name} ended`))));
    worker.unref();
    return worker;
  }

  #settle(answer: JobAnswer<Result>): void {
    const current = this.#current;
    if ('result' in answer) current?.resolve(answer.result);
    else current?.reject(this.options.errors.failed(answer.failure));
    this.#next();
  }

  /** The job on the thread fails, and the thread ends with it. */
  #fail(error: Error): void {
    void this.#terminate();
    this.#current?.reject(error);
    this.#next();
  }

  async #terminate(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
  }
}

function startThread(file: URL, heapMegabytesMax: number): JobWorker {
  return new Worker(file, { resourceLimits: { maxOldGenerationSizeMb: heapMegabytesMax }, stdin: false, execArgv: [] });
}
