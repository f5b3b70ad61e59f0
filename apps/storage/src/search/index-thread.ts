import { BinnacleError } from '@binnacle/contracts/errors';
import { Worker } from 'node:worker_threads';
import type { Logger } from 'pino';
import type { RowStore } from '../row-store.js';
import type { RunningTask, Tasks } from '../tasks.js';
import type { IndexedChange } from './index-database.js';
import { IndexLag } from './index-lag.js';
import type { FromIndexThread, IndexThreadOptions, TableProgress, ToIndexThread } from './index-messages.js';
import type { TableLayout } from './table-layout.js';

/** What of the row store the index needs. */
export type IndexedRows = Pick<RowStore, 'logFolder' | 'scan' | 'count' | 'durableVersion' | 'appliedVersion' | 'onDurable' | 'keepLogFor' | 'paceWritesFor'>;

interface Waiter {
  readonly isDone: () => boolean;
  readonly resolve: () => void;
}

/** While no search waits, writes are gathered for so long: one large transaction costs much less than many small ones. */
const gatherMs = 100;
/** Rows of a scan in one message, which takes the main thread some two milliseconds to put together; each is one transaction. */
const scanRows = 2_000;
const scanBytes = 2 ** 20;
const closeTimeoutMs = 10_000;
/** Three times the 8 MB that its young objects may fill: 64 MB, which is Node.js's own limit, would make it no faster. */
const resourceLimits = { maxYoungGenerationSizeMb: 24 };
const restartMs = [100, 1_000, 5_000, 30_000];
/** A thread that lived this long had no trouble with its start. */
const steadyMs = 60_000;

/** The thread that writes the index, as the main thread sees it. When it fails it begins again, if need be with a new index. */
export class IndexThread {
  readonly #layouts = new Map<number, TableLayout>();
  readonly #tables = new Map<number, TableProgress>();
  readonly #waiters = new Set<Waiter>();
  readonly #lag = new IndexLag();
  #worker: Worker | undefined;
  #position = 0;
  #neededFrom = 0;
  #failures = 0;
  #discard = false;
  /** The thread has told nothing yet. */
  #isNew = false;
  #gathering: NodeJS.Timeout | undefined;
  #restarting: NodeJS.Timeout | undefined;
  /** By scan: called when its rows have been taken, with whether more are wanted. */
  readonly #scans = new Map<number, (goOn: boolean) => void>();
  #closing: (() => void) | undefined;
  #unlisten: () => void = () => {};

  /** `onBegun`: the thread has begun, perhaps with a new file. */
  constructor(
    private readonly folder: string,
    private readonly rows: IndexedRows,
    private readonly log: Logger,
    private readonly tasks: Pick<Tasks, 'run'>,
    private readonly onBegun: () => void,
  ) {}

  start(): void {
    this.rows.keepLogFor({ position: () => this.#neededFrom });
    this.rows.paceWritesFor({ lag: () => ({ ms: this.#lag.lagMs(this.rows.durableVersion()), msPerVersion: 1 / this.#lag.versionsPerMs() }) });
    this.#unlisten = this.rows.onDurable(() => this.#durableMoved());
    this.#begin();
  }

  /** Tables whose rows this node holds. */
  setTable(layout: TableLayout): void {
    this.#layouts.set(layout.tableId, layout);
    this.#tables.delete(layout.tableId);
    this.#post({ kind: 'table', layout });
  }

  dropTable(tableId: number): void {
    this.#layouts.delete(tableId);
    this.#tables.delete(tableId);
    this.#post({ kind: 'drop', tableId });
  }

  /** The log is needed from the version after this one. */
  position(): number {
    return this.#neededFrom;
  }

  /** What the index holds of the table in this layout; undefined while it is not all there. */
  table({ tableId, rowTable }: TableLayout): TableProgress | undefined {
    const table = this.#tables.get(tableId);
    return table?.isReady === true && table.rowTable === rowTable ? table : undefined;
  }

  /** Resolves when all rows of the table are in the index as they were at this version, or later. Rejects with NOT_READY after the time. */
  async reached(version: number, layout: TableLayout, timeoutMs: number): Promise<TableProgress> {
    const isDone = (): boolean => this.#position >= version && this.table(layout) !== undefined;
    if (!isDone()) await this.#until(isDone, timeoutMs);
    return this.table(layout) as TableProgress;
  }

  /** The index is damaged: it is deleted and made again. */
  discard(reason: string): void {
    this.#discard = true;
    this.#failed(this.#worker, reason);
  }

  async close(): Promise<void> {
    this.#unlisten();
    clearTimeout(this.#gathering);
    clearTimeout(this.#restarting);
    const worker = this.#worker;
    if (worker === undefined) return;
    await new Promise<void>((resolve) => {
      // An index that was not closed well is good for the next start, unless the machine stops too.
      const deadline = setTimeout(resolve, closeTimeoutMs);
      this.#closing = () => {
        clearTimeout(deadline);
        resolve();
      };
      worker.once('exit', this.#closing);
      this.#post({ kind: 'close' });
    });
    this.#worker = undefined;
    await worker.terminate();
  }

  #until(isDone: () => boolean, timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiter = {
        isDone,
        resolve: () => {
          clearTimeout(deadline);
          resolve();
        },
      };
      const deadline = setTimeout(() => {
        this.#waiters.delete(waiter);
        reject(new BinnacleError('NOT_READY', 'the search index lags behind the writes', { retryAfterS: 1 }));
      }, timeoutMs);
      this.#waiters.add(waiter);
      this.#announce();
    });
  }

  #begin(): void {
    const options: IndexThreadOptions = {
      folder: this.folder,
      logFolder: this.rows.logFolder(),
      freshPosition: this.rows.appliedVersion(),
      newestPosition: this.rows.durableVersion(),
      discard: this.#discard,
      layouts: [...this.#layouts.values()],
    };
    this.#discard = false;
    this.#isNew = true;
    const worker = new Worker(new URL('../../dist/search/index.worker.js', import.meta.url), { workerData: options, resourceLimits, execArgv: [] });
    this.#worker = worker;
    worker.on('message', (message: FromIndexThread) => {
      if (worker === this.#worker) this.#receive(message, worker);
    });
    worker.once('error', (error) => this.#failed(worker, String(error)));
    worker.once('exit', () => this.#failed(worker, 'it ended'));
    const steady = setTimeout(() => (this.#failures = 0), steadyMs).unref();
    worker.once('exit', () => clearTimeout(steady));
    this.#announce();
  }

  #receive(message: FromIndexThread, worker: Worker): void {
    if (message.kind === 'progress') this.#progress(message);
    else if (message.kind === 'scan') void this.#streamRows(message.scan, message.tableId, worker);
    else if (message.kind === 'taken') this.#scans.get(message.scan)?.(message.goOn);
    else if (message.kind === 'closed') this.#closing?.();
    else {
      this.#discard ||= message.isSpoilt;
      this.#failed(worker, message.reason);
    }
  }

  #progress({ position, neededFrom, tables }: Extract<FromIndexThread, { kind: 'progress' }>): void {
    // Those who read open the file again, which may be another one since.
    if (this.#isNew) this.onBegun();
    this.#isNew = false;
    this.#position = position;
    this.#lag.progressed(position, performance.now());
    this.#neededFrom = neededFrom;
    for (const table of tables) this.#tables.set(table.tableId, table);
    for (const waiter of this.#waiters) {
      if (!waiter.isDone()) continue;
      this.#waiters.delete(waiter);
      waiter.resolve();
    }
  }

  #failed(worker: Worker | undefined, reason: string): void {
    if (worker !== this.#worker || worker === undefined || this.#closing !== undefined) return;
    this.#worker = undefined;
    void worker.terminate();
    this.#tables.clear();
    this.#position = 0;
    this.#lag.begunAnew();
    for (const stop of this.#scans.values()) stop(false);
    // What fails twice in a row may fail because of what lies in the file.
    if (++this.#failures > 1) this.#discard = true;
    const delayMs = restartMs[Math.min(this.#failures, restartMs.length) - 1] as number;
    this.log.warn({ reason, delayMs, anew: this.#discard }, 'the search index thread failed and begins again');
    this.#restarting = setTimeout(() => this.#begin(), delayMs);
  }

  #durableMoved(): void {
    if (this.#waiters.size > 0) this.#announce();
    else this.#gathering ??= setTimeout(() => this.#announce(), gatherMs).unref();
  }

  #announce(): void {
    clearTimeout(this.#gathering);
    this.#gathering = undefined;
    const version = this.rows.durableVersion();
    this.#lag.announced(version, performance.now());
    this.#post({ kind: 'durable', version });
  }

  /** To a thread that is not there, nothing: the next one begins with everything there is to know. */
  #post(message: ToIndexThread): void {
    this.#worker?.postMessage(message);
  }

  /** Nobody has to hear of a table that is small, or new. */
  async #streamRows(scan: number, tableId: number, worker: Worker): Promise<void> {
    const total = this.rows.count(tableId);
    try {
      const stream = (task?: RunningTask): Promise<void> => this.#stream(scan, tableId, worker, (done) => task?.progress({ done, total, unit: 'rows' }));
      await (total > scanRows ? this.tasks.run('index-rebuild', `table ${tableId}`, stream) : stream());
    } catch (error) {
      this.#failed(worker, `the rows of table ${tableId} could not be read: ${String(error)}`);
    } finally {
      this.#scans.delete(scan);
    }
  }

  async #stream(scan: number, tableId: number, worker: Worker, onRows: (done: number) => void): Promise<void> {
    let done = 0;
    const asOf = this.rows.appliedVersion();
    let [chunk, bytes]: [IndexedChange[], number] = [[], 0];
    const hand = async (isLast: boolean): Promise<boolean> => {
      const { rows, memory } = packed(chunk, bytes);
      const taken = new Promise<boolean>((resolve) => this.#scans.set(scan, resolve));
      worker.postMessage({ kind: 'rows', scan, asOf, rows, isLast } satisfies ToIndexThread, [memory]);
      done += chunk.length;
      [chunk, bytes] = [[], 0];
      const goOn = await taken;
      onRows(done);
      return goOn;
    };
    for await (const row of this.rows.scan(tableId)) {
      chunk.push(row);
      bytes += row.handle.length + row.document.length;
      if ((chunk.length >= scanRows || bytes >= scanBytes) && !(await hand(false))) return;
    }
    await hand(true);
  }
}

/** The rows in memory of their own, which can change hands: what they lie in otherwise would be copied as a whole. */
function packed(changes: readonly IndexedChange[], bytes: number): { rows: IndexedChange[]; memory: ArrayBuffer } {
  const memory = new ArrayBuffer(bytes);
  let offset = 0;
  const copy = (from: Uint8Array): Uint8Array => {
    const to = new Uint8Array(memory, offset, from.length);
    to.set(from);
    offset += from.length;
    return to;
  };
  const rows = changes.map(({ version, handle, document }) => ({ version, handle: copy(handle), document: document && copy(document) }));
  return { rows, memory };
}
