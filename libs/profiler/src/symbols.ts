import { Worker } from 'node:worker_threads';
import { CapabilityMissing } from './capture-errors.js';

/** Both ways through the worker's channel. */
export interface SymbolRequest {
  readonly id: number;
  readonly addresses: BigUint64Array;
}
export type SymbolAnswer = { readonly id: number; readonly names: string[] } | { readonly id: number; readonly failure: string };

export const addressesMax = 100_000;
const addressLimit = 1n << 64n;
/** Loading is 0.1 s for a node binary, and some seconds for a browser's. */
const answerTimeoutMs = 30_000;
/** The tables of a node binary are 20 MB, which is worth keeping for a while only. */
const idleMs = 30_000;

interface Waiting {
  readonly resolve: (names: string[]) => void;
  readonly reject: (error: Error) => void;
  readonly deadline: NodeJS.Timeout;
}

/** A thread that reads symbol tables, so that the event loop does not wait for them. It ends when it has had nothing to do for a while. */
class SymbolThread {
  // From `src`, which tests run, as from `dist`, this is the built file: a thread is plain Node.js and takes no TypeScript here.
  readonly #worker = new Worker(new URL('../dist/symbols.worker.js', import.meta.url), {
    workerData: { perfMapPath: perfMapPath() },
    stdin: false,
    execArgv: [],
  });
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 0;
  #idle: NodeJS.Timeout | undefined;

  constructor() {
    this.#worker.on('message', (answer: SymbolAnswer) => this.#answer(answer));
    this.#worker.once('error', (error) => this.#end(new Error('the symbol thread failed', { cause: error })));
    this.#worker.once('exit', () => this.#end(new Error('the symbol thread ended')));
  }

  resolve(addresses: BigUint64Array): Promise<string[]> {
    clearTimeout(this.#idle);
    this.#worker.ref();
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      const deadline = setTimeout(() => this.#end(new Error(`no symbols within ${answerTimeoutMs} ms`)), answerTimeoutMs);
      this.#waiting.set(id, { resolve, reject, deadline });
      this.#worker.postMessage({ id, addresses } satisfies SymbolRequest);
    });
  }

  #answer(answer: SymbolAnswer): void {
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    clearTimeout(waiting?.deadline);
    if ('names' in answer) waiting?.resolve(answer.names);
    else waiting?.reject(new Error(`symbols could not be read: ${answer.failure}`));
    if (this.#waiting.size > 0) return;
    this.#worker.unref();
    this.#idle = setTimeout(() => this.#end(new Error('idle')), idleMs).unref();
  }

  #end(error: Error): void {
    if (thread === this) thread = undefined;
    clearTimeout(this.#idle);
    for (const { reject, deadline } of this.#waiting.values()) {
      clearTimeout(deadline);
      reject(error);
    }
    this.#waiting.clear();
    void this.#worker.terminate();
  }
}

let thread: SymbolThread | undefined;

/**
 * The names of functions of this process by addresses in their code; `??` for what has none. C++ names stay mangled. Functions that V8
 * compiled have names when the process was started with `--perf-basic-prof`. At most 100,000 at once (`RangeError`).
 */
export async function resolveSymbols(addresses: readonly bigint[]): Promise<string[]> {
  if (addresses.length > addressesMax) throw new RangeError(`at most ${addressesMax} addresses at once, not ${addresses.length}`);
  if (process.platform !== 'linux') throw new CapabilityMissing(`addresses have names on Linux only, and this is ${process.platform}`);
  if (addresses.length === 0) return [];
  thread ??= new SymbolThread();
  return thread.resolve(BigUint64Array.from(addresses, (address) => (address >= 0n && address < addressLimit ? address : 0n)));
}

/** Where V8 lists the functions that it compiled; undefined where it does not. A file of that name would then be another process's. */
function perfMapPath(): string | undefined {
  const flags = [...process.execArgv, ...(process.env['NODE_OPTIONS'] ?? '').split(/\s+/)];
  return flags.some((flag) => /^--perf[-_]basic[-_]prof$/.test(flag)) ? `/tmp/perf-${process.pid}.map` : undefined;
}
