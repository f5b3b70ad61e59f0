import { BinnacleError } from '@binnacle/contracts/errors';
import type { NodePart } from '@binnacle/node-kit/node-context';
import type { QueryFailure } from './query-messages.js';
import { QueryError, QueryProcess } from './query-process.js';

export interface QueryLimits {
  /** Queries that run at the same time, each in a process of its own. */
  readonly queriesMax: number;
  /** Queries that wait for one of them; more are refused. */
  readonly waitingMax: number;
  readonly memoryMegabytes: number;
  readonly threads: number;
}

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

const answered: ReadonlySet<QueryFailure> = new Set(['sql', 'rows', 'file']);
/** A process that has had nothing to do for this long ends; the next query waits for a new one, about a tenth of a second. */
const idleMs = 60_000;

/** The processes that run queries: started when they are needed, and never more than may run. */
export class QueryProcesses implements NodePart {
  readonly name = 'query processes';
  readonly #idle: { process: QueryProcess; end: NodeJS.Timeout }[] = [];
  readonly #busy = new Set<QueryProcess>();
  readonly #waiting: Waiter[] = [];
  #running = 0;
  #isStopped = false;

  constructor(private readonly limits: QueryLimits) {}

  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const { reject } of this.#waiting.splice(0)) reject(stopping());
    for (const process of this.#busy) process.kill();
    for (const { process, end } of this.#idle.splice(0)) {
      clearTimeout(end);
      process.kill();
    }
  }

  running(): number {
    return this.#running;
  }

  waiting(): number {
    return this.#waiting.length;
  }

  /**
   * Gives `use` a process with a new DuckDB. When the signal is aborted the process is ended, which ends whatever `use` waits for. Rejects with
   * OVERLOADED when too many wait, with the signal's reason, or with what `use` rejects with.
   */
  async use<T>(signal: AbortSignal, use: (process: QueryProcess) => Promise<T>): Promise<T> {
    await this.#turn(signal);
    try {
      signal.throwIfAborted();
      if (this.#isStopped) throw stopping();
      return await this.#useOne(signal, use);
    } finally {
      // The turn is handed on, so that nobody who comes now gets in between.
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      else next.resolve();
    }
  }

  async #useOne<T>(signal: AbortSignal, use: (process: QueryProcess) => Promise<T>): Promise<T> {
    const process = await this.#take();
    this.#busy.add(process);
    const kill = (): void => process.kill();
    signal.addEventListener('abort', kill, { once: true });
    let isGood = false;
    try {
      // It may have come to that while the process was waited for.
      signal.throwIfAborted();
      if (this.#isStopped) throw stopping();
      const result = await use(process);
      isGood = true;
      return result;
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (this.#isStopped) throw stopping();
      // It has said so itself, and waits for the next request.
      isGood = error instanceof QueryError && answered.has(error.failure);
      throw error;
    } finally {
      signal.removeEventListener('abort', kill);
      this.#busy.delete(process);
      this.#giveBack(process, isGood);
    }
  }

  /** One with a DuckDB that nobody has used. */
  async #take(): Promise<QueryProcess> {
    for (;;) {
      const idle = this.#idle.pop();
      const process = idle?.process ?? this.#open(new QueryProcess(this.limits.memoryMegabytes));
      clearTimeout(idle?.end);
      await process.opened;
      // Of a new one it is told by the first question why it has ended.
      if (idle === undefined || !process.isEnded()) return process;
    }
  }

  #open(process: QueryProcess): QueryProcess {
    process.opened = process.open(this.limits.memoryMegabytes, this.limits.threads).catch(() => process.kill());
    return process;
  }

  /** One whose query was broken off may be in the middle of its answer; a new one costs less than to find out. */
  #giveBack(process: QueryProcess, isGood: boolean): void {
    if (!isGood || this.#isStopped || process.isEnded()) return process.kill();
    // For the next query, which need not wait for it then; what this one had is freed by it.
    this.#open(process);
    this.#idle.push({ process, end: setTimeout(() => this.#endIdle(process), idleMs).unref() });
  }

  #endIdle(process: QueryProcess): void {
    const index = this.#idle.findIndex((entry) => entry.process === process);
    if (index >= 0) this.#idle.splice(index, 1);
    process.kill();
  }

  async #turn(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#running >= this.limits.queriesMax) {
      if (this.#waiting.length >= this.limits.waitingMax) {
        throw new BinnacleError('OVERLOADED', `${this.#running} queries run and ${this.#waiting.length} wait, which is all there is room for.`, { retryAfterS: 1 });
      }
      await new Promise<void>((resolve, reject) => {
        const waiter: Waiter = { resolve: () => (signal.removeEventListener('abort', gone), resolve()), reject };
        const gone = (): void => {
          this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
          reject(signal.reason as Error);
        };
        signal.addEventListener('abort', gone, { once: true });
        this.#waiting.push(waiter);
      });
      return;
    }
    this.#running += 1;
  }
}

function stopping(): BinnacleError {
  return new BinnacleError('NOT_READY', 'this node stops');
}
