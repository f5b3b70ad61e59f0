import { BinnacleError } from '@binnacle/contracts/errors';
import { Worker } from 'node:worker_threads';
import type { FromSearchThread, ResultRow, Statement, ToSearchThread } from './index-messages.js';

/** The file of the index is damaged. */
export class IndexSpoilt extends Error {
  override readonly name = 'IndexSpoilt';
}

interface Job extends ToSearchThread {
  readonly resolve: (results: readonly (readonly ResultRow[])[]) => void;
  readonly reject: (error: Error) => void;
}

interface Thread {
  readonly worker: Worker;
  job: Job | undefined;
  watchdog: NodeJS.Timeout | undefined;
}

/** Searches that wait for a thread; a thread answers some thousands a second. */
const waitingMax = 1_000;
/** The thread looks at the clock between rows; one that does not answer this long after its time is given up. */
const graceMs = 5_000;

/** The threads that read the index. They begin with the first search, and again after `reopen`. */
export class SearchThreads {
  readonly #threads = new Set<Thread>();
  readonly #waiting: Job[] = [];
  #lastId = 0;
  #closed = false;

  constructor(
    private readonly folder: string,
    private readonly threadsMax: number,
  ) {}

  /**
   * Runs the statements at one moment of the index. Rejects with OVERLOADED when too many wait, REQUEST_TIMEOUT when the time is over,
   * NOT_READY when the index has just been made anew, `IndexSpoilt` when it has to be.
   */
  run(statements: readonly Statement[], timeoutMs: number): Promise<readonly (readonly ResultRow[])[]> {
    if (this.#waiting.length >= waitingMax || this.#closed) {
      return Promise.reject(new BinnacleError('OVERLOADED', `${waitingMax} searches wait already`, { retryAfterS: 1 }));
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ id: ++this.#lastId, statements, timeoutMs, resolve, reject });
      this.#next();
    });
  }

  /** The file is another one from now on. */
  reopen(): void {
    for (const thread of this.#threads) this.#end(thread, new BinnacleError('NOT_READY', 'the search index is made anew'));
  }

  async close(): Promise<void> {
    this.#closed = true;
    const stopping = new BinnacleError('NOT_READY', 'this node stops');
    for (const job of this.#waiting.splice(0)) job.reject(stopping);
    await Promise.all([...this.#threads].map((thread) => this.#end(thread, stopping)));
  }

  #next(): void {
    const job = this.#waiting[0];
    if (job === undefined) return;
    const thread = [...this.#threads].find((candidate) => candidate.job === undefined) ?? this.#newThread();
    if (thread === undefined) return;
    this.#waiting.shift();
    thread.job = job;
    thread.watchdog = setTimeout(() => this.#end(thread, timeIsOver()), job.timeoutMs + graceMs);
    thread.worker.postMessage({ id: job.id, statements: job.statements, timeoutMs: job.timeoutMs } satisfies ToSearchThread);
  }

  #newThread(): Thread | undefined {
    if (this.#threads.size >= this.threadsMax) return undefined;
    // From `src`, which tests run, as from `dist`, this is the built file: a thread is plain Node.js and takes no TypeScript here.
    const worker = new Worker(new URL('../../dist/search/search.worker.js', import.meta.url), { workerData: { folder: this.folder }, execArgv: [] });
    const thread: Thread = { worker, job: undefined, watchdog: undefined };
    worker.on('message', (answer: FromSearchThread) => this.#answered(thread, answer));
    worker.once('error', (error) => this.#end(thread, error));
    worker.once('exit', () => this.#end(thread, new Error('a search thread ended')));
    this.#threads.add(thread);
    return thread;
  }

  #answered(thread: Thread, answer: FromSearchThread): void {
    const { job } = thread;
    clearTimeout(thread.watchdog);
    thread.job = undefined;
    if ('results' in answer) job?.resolve(answer.results);
    else job?.reject(failureOf(answer));
    this.#next();
  }

  async #end(thread: Thread, error: Error): Promise<void> {
    if (!this.#threads.delete(thread)) return;
    clearTimeout(thread.watchdog);
    thread.job?.reject(error);
    thread.job = undefined;
    this.#next();
    await thread.worker.terminate();
  }
}

function failureOf({ failure, reason }: Extract<FromSearchThread, { failure: string }>): Error {
  if (failure === 'time') return timeIsOver();
  if (failure === 'table') return new BinnacleError('NOT_READY', 'the search index of this collection is made anew');
  return failure === 'spoilt' ? new IndexSpoilt(reason) : new Error(`a search failed: ${reason}`);
}

function timeIsOver(): BinnacleError {
  return new BinnacleError('REQUEST_TIMEOUT', 'Request Timeout');
}
