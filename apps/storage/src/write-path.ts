import { BinnacleError } from '@binnacle/contracts/errors';
import type { Clock } from '@binnacle/cluster-state/clock';
import type { AppliedBatch, Engine } from './engine/engine.js';
import { type FoundRow, type Row, tableIdMax } from './engine/row.js';
import type { CommitLog, Durability } from './log/commit-log.js';
import type { LogOperation } from './log/log-record.js';
import type { WritePace } from './write-pace.js';
import { type KnownRow, type RowInFlight, RowOverlay } from './row-overlay.js';

/** What becomes of a row: a new document, a delete mark, nothing, or nothing and an error for whoever asked. */
export type Decision = { readonly put: Buffer } | 'delete' | 'keep' | BinnacleError;

/** `version` is also that of a delete mark; 0 where there is nothing. */
export type Decide = (current: Row | undefined, version: number) => Decision;

/** A change that depends on the row as it is, or one that does not (`put`). Either way the row is read: a table knows how many rows it has. */
export type RowChange =
  | { readonly handle: Buffer; readonly decide: Decide }
  | { readonly handle: Buffer; readonly put: Buffer };

/** `document` is what was written; absent when the row was deleted. */
export type RowResult = { readonly version: number; readonly document?: Buffer } | 'kept' | BinnacleError;

export interface WritePathOptions {
  readonly clock: Clock;
  /** Taken in and not applied yet; further writes wait beyond it. */
  readonly pendingBytesMax: number;
  /** Asked for one batch after the other, before it is let in. */
  readonly pace: Pick<WritePace, 'wait'>;
  /** After each group that was applied. */
  readonly onApplied: () => void;
  readonly onApplyFailure: (error: Error) => void;
}

/** A batch of changes from the call to the decision. */
interface Call {
  readonly tableId: number;
  readonly changes: readonly RowChange[];
  /** Of the changes, by position. */
  readonly rows: readonly RowInFlight[];
  readonly durability: Durability;
  readonly release: () => void;
}

/** What the engine has of a row; null: it was not asked. */
type ReadRow = FoundRow | null;

/** A batch in the log on its way to the engine. */
interface Commit {
  readonly batch: AppliedBatch;
  readonly bytes: number;
  /** Lets the rows of the write go: it is applied, or will not happen. */
  readonly release: () => void;
  readonly finish: (error?: Error) => void;
  /** The log has it as durable as was asked for. */
  ready: boolean;
  /** The log did not take it. */
  failed: boolean;
}

/** Of one group given to the engine: enough to be worth the hop, too little to keep the event loop for long. */
const groupOperationsMax = 2_048;
const groupBytesMax = 4 * 2 ** 20;
const retryMs = 500;
/** Of the batches that are let in and not decided yet: how much they will add to what is on its way is not known before. */
const undecidedChangesMax = 4_096;

/**
 * What happens to a write: it waits for room, the rows it depends on are read, it is decided in its turn, appended to the log, and,
 * once durable, applied to the engine and acknowledged. Turns are in the order of the calls; everything else overlaps.
 */
export class WritePath {
  readonly #overlay = new RowOverlay();
  #pendingBytes = 0;
  #undecidedChanges = 0;
  #roomWaiter: (() => void) | undefined;
  #admission: Promise<void> = Promise.resolve();
  #turn: Promise<void> = Promise.resolve();
  #commits: Commit[] = [];
  /** Settles with the newest commit, and never rejects. */
  #newest: Promise<unknown> = Promise.resolve();
  #applying: Promise<void> | undefined;
  #wake: (() => void) | undefined;
  #applyFailure: Error | undefined;
  #closed = false;

  constructor(
    private readonly engine: Engine,
    private readonly log: CommitLog,
    private readonly options: WritePathOptions,
  ) {}

  /** Of the writes that are taken in and not applied yet. */
  pendingBytes(): number {
    return this.#pendingBytes;
  }

  pendingRows(): number {
    return this.#overlay.rows();
  }

  /** Why the engine takes nothing in; undefined when all is well. It is asked again until it does. */
  applyFailure(): Error | undefined {
    return this.#applyFailure;
  }

  /** The writes newer than `version` could not be written to the log. */
  takeBack(version: number): void {
    this.#overlay.takeBack(version);
  }

  /** Results in the order of the changes. All of them are decided in one turn of the event loop: a thousand at once, not a million. */
  async write(tableId: number, changes: readonly RowChange[], durability: Durability): Promise<RowResult[]> {
    if (tableId < 1 || tableId > tableIdMax) throw new RangeError(`${tableId} is no table id`);
    // In the log, a row without a handle that goes is its whole table.
    if (changes.some(({ handle }) => handle.length === 0)) throw new RangeError('a row has no handle');
    await this.#admit(changes.length);
    const rows = changes.map(({ handle }) => this.#overlay.use(tableId, handle));
    const release = () => rows.forEach((row) => this.#overlay.release(tableId, row));
    const call = { tableId, changes, rows, durability, release };
    const { results, committed } = await this.#inTurn(changes.length, this.#readUnknown(call), async (early) => {
      let read = early;
      // A row that was known when the reads began is unknown when the write it was known from has been taken back.
      while (rows.some(({ latest }, index) => latest === undefined && read[index] === null)) read = await this.#readUnknown(call);
      return this.#decideAll(call, read);
    }).catch((error: unknown) => {
      release();
      throw error;
    });
    await committed;
    return results;
  }

  /** Everything in the table goes, after the writes that came before and before those that come after. */
  async dropTable(tableId: number): Promise<void> {
    await this.#admit(1);
    const operations = [{ tableId, handle: Buffer.alloc(0), document: undefined }];
    await this.#inTurn(1, Promise.resolve(), async () => {
      // Nobody's turn until it is applied: what it does to the rows of other calls cannot be told before.
      await this.#newest;
      await this.#commit({ operations, rowsAdded: 0 }, [], 'fsync', () => undefined);
      this.#overlay.forget(tableId);
    });
  }

  /** Resolves once what was taken in is applied; what the engine does not take stays in the log, for the next start. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#roomWaiter?.();
    await this.#admission;
    await this.#turn;
    await this.#applying;
  }

  /** First come, first served. */
  async #admit(changes: number): Promise<void> {
    const admitted = this.#admission.then(async () => {
      if (!this.#closed) await this.options.pace.wait(changes);
      while (!this.#closed && !this.#hasRoom()) await new Promise<void>((resolve) => (this.#roomWaiter = resolve));
      if (this.#closed) throw stopping();
      this.#undecidedChanges += changes;
    });
    this.#admission = admitted.catch(() => undefined);
    await admitted;
  }

  #hasRoom(): boolean {
    return this.#pendingBytes < this.options.pendingBytesMax && this.#undecidedChanges < undecidedChangesMax;
  }

  #wakeRoomWaiter(): void {
    if (!this.#hasRoom()) return;
    this.#roomWaiter?.();
    this.#roomWaiter = undefined;
  }

  /** Runs `decide` with what was read, after the decisions of all the calls before this one. */
  async #inTurn<R, T>(changes: number, read: Promise<R>, decide: (read: R) => Promise<T>): Promise<T> {
    const before = this.#turn;
    const turn = Promise.allSettled([read, before]).then(async () => decide(await read));
    const end = (): void => {
      this.#undecidedChanges -= changes;
      this.#wakeRoomWaiter();
    };
    this.#turn = turn.then(end, end);
    return turn;
  }

  /** By position, from the engine: the rows that are in no other write; null for the others. */
  async #readUnknown({ tableId, changes, rows }: Call): Promise<ReadRow[]> {
    const read: ReadRow[] = changes.map(() => null);
    const asked = rows.flatMap(({ latest }, index) => (latest === undefined ? [index] : []));
    if (asked.length === 0) return read;
    const found = await this.engine.getFound(
      tableId,
      asked.map((index) => (changes[index] as RowChange).handle),
    );
    asked.forEach((index, position) => (read[index] = found[position] ?? null));
    return read;
  }

  #decideAll({ tableId, changes, rows, durability, release }: Call, read: readonly ReadRow[]): { results: RowResult[]; committed: Promise<unknown> } {
    const operations: LogOperation[] = [];
    const written: KnownRow[] = [];
    let rowsAdded = 0;
    const firstVersion = this.log.nextVersion();
    const results = changes.map((change, index): RowResult => {
      const row = rows[index] as RowInFlight;
      const { handle } = change;
      if (row.latest === undefined) {
        const { row: found, version = 0 } = read[index] ?? {};
        row.latest = { row: found, version, previous: undefined };
      }
      const decision = 'decide' in change ? decided(change.decide, row.latest) : change;
      if (decision instanceof BinnacleError) return decision;
      if (decision === 'keep' || (decision === 'delete' && row.latest.row === undefined)) return 'kept';
      const version = firstVersion + operations.length;
      const document = decision === 'delete' ? undefined : decision.put;
      operations.push({ tableId, handle, document });
      rowsAdded += Number(document !== undefined) - Number(row.latest.row !== undefined);
      row.latest = { row: document && { handle, version, document }, version, previous: row.latest };
      written.push(row.latest);
      return document === undefined ? { version } : { version, document };
    });
    if (operations.length > 0) return { results, committed: this.#commit({ operations, rowsAdded }, written, durability, release) };
    release();
    // The answer may rest on a write that is not acknowledged yet.
    return { results, committed: this.#newest };
  }

  #commit(change: Omit<AppliedBatch, 'firstVersion'>, written: readonly KnownRow[], durability: Durability, release: () => void): Promise<void> {
    const { operations } = change;
    const before = this.log.nextVersion() - 1;
    let appended;
    try {
      appended = this.log.append(operations, durability);
    } catch (error) {
      this.#overlay.takeBack(before);
      throw error;
    }
    const bytes = operations.reduce((sum, { handle, document }) => sum + handle.length + (document?.length ?? 0), 0);
    this.#pendingBytes += bytes;
    const committed = new Promise<void>((resolve, reject) => {
      const finish = (error?: Error) => (error === undefined ? resolve() : reject(error));
      const commit: Commit = { batch: { firstVersion: appended.firstVersion, ...change }, bytes, release, finish, ready: false, failed: false };
      this.#commits.push(commit);
      appended.durable
        .then(
          () => {
            for (const each of written) each.previous = undefined;
            commit.ready = true;
          },
          (error: Error) => {
            // At once: what is before it may wait for the engine.
            commit.finish(error);
            commit.failed = true;
          },
        )
        .finally(() => this.#wake?.());
    });
    this.#newest = committed.catch(() => undefined);
    this.#applying ??= this.#applyAll();
    return committed;
  }

  async #applyAll(): Promise<void> {
    for (let head = this.#commits[0]; head !== undefined; head = this.#commits[0]) {
      if (head.failed) {
        this.#commits.shift();
        this.#settle(head);
      } else if (!head.ready) {
        await new Promise<void>((resolve) => (this.#wake = resolve));
      } else if (!(await this.#applyGroup())) {
        if (this.#closed) break;
        await new Promise<void>((resolve) => this.options.clock.after(retryMs, resolve));
      }
    }
    for (const { finish } of this.#commits) finish(stopping());
    this.#applying = undefined;
  }

  /** False: the engine did not take it. Then everybody who waits is told, and the writes, which are in the log, wait for another try. */
  async #applyGroup(): Promise<boolean> {
    let operations = 0;
    let bytes = 0;
    let count = 0;
    for (const commit of this.#commits) {
      if (!commit.ready || (count > 0 && (operations + commit.batch.operations.length > groupOperationsMax || bytes >= groupBytesMax))) break;
      operations += commit.batch.operations.length;
      bytes += commit.bytes;
      count += 1;
    }
    const group = this.#commits.slice(0, count);
    try {
      await this.engine.apply(group.map(({ batch }) => batch));
    } catch (error) {
      this.#applyFailure = error as Error;
      this.options.onApplyFailure(error as Error);
      const reason = new BinnacleError('OUT_OF_DISK', 'the write is in the log, but could not be applied yet: the node has no disk space, or its disk fails', { cause: error });
      for (const { ready, finish } of this.#commits) if (ready) finish(reason);
      return false;
    }
    this.#applyFailure = undefined;
    this.#commits.splice(0, count);
    for (const commit of group) this.#settle(commit);
    this.options.onApplied();
    return true;
  }

  #settle(commit: Commit): void {
    commit.release();
    commit.finish();
    this.#pendingBytes -= commit.bytes;
    this.#wakeRoomWaiter();
  }
}

function stopping(): BinnacleError {
  return new BinnacleError('NOT_READY', 'the node stops');
}

function decided(decide: Decide, { row, version }: KnownRow): Decision {
  try {
    return decide(row, version);
  } catch (error) {
    return error instanceof BinnacleError ? error : new BinnacleError('INTERNAL', 'a change could not be decided', { cause: error });
  }
}
