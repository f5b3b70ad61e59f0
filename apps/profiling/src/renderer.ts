import { Worker } from 'node:worker_threads';
import { BinnacleError } from '@binnacle/contracts/errors';
import type { NodeContext } from '@binnacle/node-kit/node-context';
import type { ProfileOfNode, RenderAnswer, RenderFormat, RenderJob } from './render-job.js';

export interface RendererLimits {
  /** For one job; a flame graph of 100,000 stacks takes half a second. */
  readonly jobMs: number;
  /** Of the thread's heap, in megabytes of 2^20 bytes: a profile of 256 MB takes about four times that. */
  readonly heapMegabytes: number;
  /** Jobs, which hold their profiles, that wait for the thread. */
  readonly waitingMax: number;
  /** After that long without a job the thread ends: it holds 50 MB. */
  readonly idleMs: number;
}

const defaultLimits: RendererLimits = { jobMs: 60_000, heapMegabytes: 1_024, waitingMax: 64, idleMs: 30_000 };

interface Waiting {
  readonly job: RenderJob;
  resolve(result: Uint8Array | string[]): void;
  reject(error: Error): void;
}

/**
 * Reads, draws, merges and converts profiles on a thread of its own, one job after the other. A job that takes too long or too much memory
 * ends the thread and fails alone; the next one gets a new thread. Every method rejects with OVERLOADED when too many wait or one takes
 * too much memory, with UPSTREAM_TIMEOUT when it takes too long, and with an Error for what is no profile.
 */
export class Renderer {
  readonly #waiting: Waiting[] = [];
  #current: Waiting | undefined;
  #worker: Worker | undefined;
  #cancelTimer = (): void => {};

  constructor(
    private readonly node: NodeContext,
    private readonly limits: RendererLimits = defaultLimits,
  ) {
    node.addPart({ name: 'renderer', stop: () => this.#end(new BinnacleError('NO_TARGET', 'this profiling node stops')) });
  }

  async render(pprof: Buffer, format: RenderFormat, title: string): Promise<Buffer> {
    return this.#bytes({ kind: 'render', pprof, format, title });
  }

  /** `other` less `base`. */
  async diff(base: Buffer, other: Buffer, format: 'svg' | 'pprof', title: string): Promise<Buffer> {
    return this.#bytes({ kind: 'diff', base, other, format, title });
  }

  /** One profile, in which every sample has the label `node`. `comments` are shown by `go tool pprof -comments`. */
  async merge(parts: readonly ProfileOfNode[], comments: readonly string[] = []): Promise<Buffer> {
    return this.#bytes({ kind: 'merge', parts, comments });
  }

  /** The addresses in a dump of jemalloc's heap, hexadecimal. */
  async addressesOf(dump: Buffer): Promise<string[]> {
    return (await this.#run({ kind: 'addresses', dump })) as string[];
  }

  /** A dump of jemalloc's heap as pprof. `names[i]` is what `addresses[i]` is called. */
  async convertHeap(dump: Buffer, addresses: readonly string[], names: readonly string[]): Promise<Buffer> {
    return this.#bytes({ kind: 'convert', dump, addresses, names });
  }

  async #bytes(job: RenderJob): Promise<Buffer> {
    const { buffer, byteOffset, byteLength } = (await this.#run(job)) as Uint8Array;
    return Buffer.from(buffer, byteOffset, byteLength);
  }

  #run(job: RenderJob): Promise<Uint8Array | string[]> {
    if (this.#waiting.length >= this.limits.waitingMax) {
      throw new BinnacleError('OVERLOADED', `${this.#waiting.length} profiles wait to be rendered already`, { retryAfterS: 5 });
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ job, resolve, reject });
      if (this.#current === undefined) this.#next();
    });
  }

  #next(): void {
    this.#cancelTimer();
    const next = this.#waiting.shift();
    this.#current = next;
    if (next === undefined) {
      this.#cancelTimer = this.node.clock.after(this.limits.idleMs, () => void this.#terminate());
      return;
    }
    this.#cancelTimer = this.node.clock.after(this.limits.jobMs, () => {
      const message = `a profile was not rendered within ${this.limits.jobMs} ms: take it as it is (format=pprof)`;
      this.#fail(new BinnacleError('UPSTREAM_TIMEOUT', message));
    });
    this.#worker ??= this.#start();
    this.#worker.postMessage(next.job);
  }

  #start(): Worker {
    // From `src`, which tests run, as from `dist`, this is the built file: a thread is plain Node.js and takes no TypeScript here.
    const worker = new Worker(new URL('../dist/render.worker.js', import.meta.url), {
      resourceLimits: { maxOldGenerationSizeMb: this.limits.heapMegabytes },
      stdin: false,
      execArgv: [],
    });
    // Whatever a thread says after its end was decided is about a job that has failed already.
    const ifCurrent = (action: () => void): void => {
      if (this.#worker === worker) action();
    };
    worker.on('message', (answer: RenderAnswer) => ifCurrent(() => this.#settle(answer)));
    worker.once('error', (error) => ifCurrent(() => this.#fail(brokenBy(error))));
    worker.once('exit', () => ifCurrent(() => this.#fail(new Error('the rendering thread ended'))));
    return worker;
  }

  #settle(answer: RenderAnswer): void {
    const current = this.#current;
    if ('result' in answer) current?.resolve(answer.result);
    else current?.reject(new Error(`the profile could not be read: ${answer.failure}`));
    this.#next();
  }

  /** The job on the thread fails, and the thread ends with it. */
  #fail(error: Error): void {
    void this.#terminate();
    this.#current?.reject(error);
    this.#next();
  }

  async #end(error: Error): Promise<void> {
    this.#cancelTimer();
    for (const { reject } of [this.#current, ...this.#waiting.splice(0)].filter((each) => each !== undefined)) reject(error);
    this.#current = undefined;
    await this.#terminate();
  }

  async #terminate(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
  }
}

function brokenBy(error: Error): Error {
  if ((error as NodeJS.ErrnoException).code !== 'ERR_WORKER_OUT_OF_MEMORY') return new Error('the rendering thread failed', { cause: error });
  return new BinnacleError('OVERLOADED', 'the profile takes too much memory to be rendered: take it as it is (format=pprof)', { cause: error });
}
