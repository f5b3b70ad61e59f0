import { BinnacleError } from '@binnacle/contracts/errors';
import { JobThread } from '@binnacle/node-kit/job-thread';
import type { NodeContext } from '@binnacle/node-kit/node-context';
import type { ProfileOfNode, RenderFormat, RenderJob, RenderResult } from './render-job.js';

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

/**
 * Reads, draws, merges and converts profiles on a thread of its own, one job after the other. A job that takes too long or too much memory
 * ends the thread and fails alone; the next one gets a new thread. Every method rejects with OVERLOADED when too many wait or one takes
 * too much memory, with UPSTREAM_TIMEOUT when it takes too long, and with an Error for what is no profile.
 */
export class Renderer {
  readonly #thread: JobThread<RenderJob, RenderResult>;

  constructor(node: NodeContext, { jobMs, heapMegabytes, waitingMax, idleMs }: RendererLimits = defaultLimits) {
    this.#thread = new JobThread(node.clock, {
      // From `src`, which tests run, as from `dist`, this is the built file.
      file: new URL('../dist/render.worker.js', import.meta.url),
      name: 'rendering thread',
      jobMsMax: jobMs,
      heapMegabytesMax: heapMegabytes,
      waitingMax,
      idleMs,
      errors: {
        failed: (failure) => new Error(`the profile could not be read: ${failure}`),
        tooSlow: () => new BinnacleError('UPSTREAM_TIMEOUT', `a profile was not rendered within ${jobMs} ms: take it as it is (format=pprof)`),
        tooLarge: (cause) => new BinnacleError('OVERLOADED', 'the profile takes too much memory to be rendered: take it as it is (format=pprof)', { cause }),
        tooMany: () => new BinnacleError('OVERLOADED', `${waitingMax} profiles wait to be rendered already`, { retryAfterS: 5 }),
      },
    });
    node.addPart({ name: 'renderer', stop: () => this.#thread.stop(new BinnacleError('NO_TARGET', 'this profiling node stops')) });
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
    return (await this.#thread.run({ kind: 'addresses', dump })) as string[];
  }

  /** A dump of jemalloc's heap as pprof. `names[i]` is what `addresses[i]` is called. */
  async convertHeap(dump: Buffer, addresses: readonly string[], names: readonly string[]): Promise<Buffer> {
    return this.#bytes({ kind: 'convert', dump, addresses, names });
  }

  async #bytes(job: RenderJob): Promise<Buffer> {
    const { buffer, byteOffset, byteLength } = (await this.#thread.run(job)) as Uint8Array;
    return Buffer.from(buffer, byteOffset, byteLength);
  }
}
