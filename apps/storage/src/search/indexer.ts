import { setImmediate as nextTurn } from 'node:timers/promises';
import { LogTrimmedError } from '../log/log-error.js';
import { LogTail, readLog } from '../log/log-reader.js';
import type { LogBatch } from '../log/log-record.js';
import { IndexDatabase, type IndexedChange } from './index-database.js';
import type { FromIndexThread, IndexThreadOptions, ToIndexThread } from './index-messages.js';
import type { TableLayout } from './table-layout.js';

/** Changes in one transaction, some tenths of a second when that many wait: the more together, the less each costs. */
const changesMax = 5_000;
const bytesMax = 4 * 2 ** 20;

/** Rows of one table are being read in. `from`: the log is needed from the version after this one, once they are. */
interface Scan {
  readonly number: number;
  readonly tableId: number;
  from: number;
}

/**
 * Keeps the index up with the commit log. A table that is new here is filled by a scan of its rows; what happens to it meanwhile is
 * read from the log afterwards, so a row that is deleted during the scan does not stay.
 */
export class Indexer {
  readonly #database: IndexDatabase;
  readonly #tail: LogTail;
  readonly #commands: ToIndexThread[] = [];
  readonly #wanted: TableLayout[] = [];
  #scan: Scan | undefined;
  #lastScan = 0;
  #durable = 0;
  #wake: () => void = () => {};
  #closed = false;

  constructor(
    private readonly options: IndexThreadOptions,
    private readonly send: (message: FromIndexThread) => void,
  ) {
    this.#database = IndexDatabase.open(options.folder, options);
    this.#tail = new LogTail(options.logFolder, this.#database.position() + 1);
    const kept = new Map(options.layouts.map((layout) => [layout.tableId, layout]));
    for (const { layout } of this.#database.tables()) if (!kept.has(layout.tableId)) this.#database.dropTable(layout.tableId);
    for (const layout of options.layouts) this.#tableIs(layout);
  }

  receive(message: ToIndexThread): void {
    if (message.kind === 'durable') this.#durable = Math.max(this.#durable, message.version);
    else this.#commands.push(message);
    this.#wake();
  }

  /** Until it is closed or something fails, which is told. */
  async run(): Promise<void> {
    try {
      this.#progress();
      while (!this.#closed) {
        const command = this.#commands.shift();
        if (command !== undefined) await this.#obey(command);
        // Before the log: it may grow for longer than a new table can wait.
        else if (this.#beginScan()) continue;
        else if (this.#durable > this.#database.position()) await this.#follow();
        else await new Promise<void>((resolve) => (this.#wake = resolve));
        // Messages come in between.
        await nextTurn();
      }
      this.#database.close();
      this.send({ kind: 'closed' });
    } catch (error) {
      const isSpoilt = error instanceof LogTrimmedError || /malformed|not a database|corrupt/i.test(String(error));
      this.send({ kind: 'failed', reason: String(error), isSpoilt });
    } finally {
      await this.#tail.close();
    }
  }

  async #obey(command: ToIndexThread): Promise<void> {
    if (command.kind === 'close') this.#closed = true;
    if (command.kind === 'table') this.#tableIs(command.layout);
    if (command.kind === 'drop') this.#tableIsGone(command.tableId);
    if (command.kind === 'rows') await this.#takeRows(command);
    if (command.kind !== 'close') this.#progress();
  }

  #tableIs(layout: TableLayout): void {
    const known = this.#database.table(layout.tableId);
    if (known?.isReady === true && known.layout.rowTable === layout.rowTable) return;
    this.#forget(layout.tableId);
    this.#database.beginTable(layout);
    this.#wanted.push(layout);
    this.#wake();
  }

  #tableIsGone(tableId: number): void {
    this.#forget(tableId);
    this.#database.dropTable(tableId);
  }

  #forget(tableId: number): void {
    if (this.#scan?.tableId === tableId) this.#scan = undefined;
    const waiting = this.#wanted.findIndex((layout) => layout.tableId === tableId);
    if (waiting >= 0) this.#wanted.splice(waiting, 1);
  }

  /** One table after the other. */
  #beginScan(): boolean {
    if (this.#scan !== undefined) return false;
    const layout = this.#wanted.shift();
    if (layout === undefined) return false;
    this.#scan = { number: ++this.#lastScan, tableId: layout.tableId, from: this.#database.position() };
    this.send({ kind: 'scan', scan: this.#scan.number, tableId: layout.tableId });
    return true;
  }

  async #takeRows({ scan: number, asOf, rows, isLast }: Extract<ToIndexThread, { kind: 'rows' }>): Promise<void> {
    const scan = this.#scan;
    if (scan?.number !== number) return this.send({ kind: 'taken', scan: number, goOn: false });
    // The log may have been followed further than the rows show it.
    scan.from = Math.min(scan.from, asOf);
    this.#database.apply(new Map([[scan.tableId, rows]]));
    this.send({ kind: 'taken', scan: number, goOn: !isLast });
    if (!isLast) return;
    await this.#catchUp(scan);
    this.#scan = undefined;
    this.#database.finishTable(scan.tableId);
  }

  /** What the log says of the scanned table from before the scan up to where the other tables are. */
  async #catchUp({ tableId, from }: Scan): Promise<void> {
    for await (const batch of readLog(this.options.logFolder, from + 1, this.#database.position())) {
      for (const piece of piecesOf([batch])) {
        const ofTable = piece.changes.get(tableId);
        if (ofTable !== undefined) this.#database.apply(new Map([[tableId, ofTable]]));
        await nextTurn();
      }
    }
  }

  /** Some of what is new in the log. */
  async #follow(): Promise<void> {
    const batches: LogBatch[] = [];
    let [count, bytes] = [0, 0];
    for await (const batch of this.#tail.read(this.#durable)) {
      batches.push(batch);
      count += batch.operations.length;
      for (const { document } of batch.operations) bytes += document?.length ?? 0;
      if (count >= changesMax || bytes >= bytesMax) break;
    }
    for (const { changes, dropped, lastVersion } of piecesOf(batches)) {
      for (const tableId of dropped) this.#tableIsGone(tableId);
      if (this.#scan !== undefined) changes.delete(this.#scan.tableId);
      for (const { tableId } of this.#wanted) changes.delete(tableId);
      this.#database.apply(changes, lastVersion);
      this.#progress();
      await nextTurn();
    }
  }

  #progress(): void {
    const position = this.#database.position();
    const tables = this.#database.takeChanged().map(({ layout: { tableId, rowTable }, isReady, lastVersion, rowCount }) => ({ tableId, rowTable, isReady, lastVersion, rowCount }));
    this.send({ kind: 'progress', position, neededFrom: Math.min(position, this.#scan?.from ?? position), tables });
  }
}

interface Piece {
  /** By table. */
  readonly changes: Map<number, IndexedChange[]>;
  /** Tables whose rows all go. Their ids are never used again, so it does not matter when in the piece. */
  readonly dropped: Set<number>;
  readonly lastVersion: number;
}

/** Batches cut into transactions. */
function* piecesOf(batches: readonly LogBatch[]): Generator<Piece> {
  let piece: Piece & { count: number; bytes: number; lastVersion: number } | undefined;
  for (const { firstVersion, operations } of batches) {
    for (const [index, { tableId, handle, document }] of operations.entries()) {
      piece ??= { changes: new Map(), dropped: new Set(), lastVersion: 0, count: 0, bytes: 0 };
      piece.lastVersion = firstVersion + index;
      piece.count++;
      piece.bytes += document?.length ?? 0;
      if (handle.length === 0 && document === undefined) piece.dropped.add(tableId);
      else changesOf(piece.changes, tableId).push({ version: piece.lastVersion, handle, document });
      if (piece.count < changesMax && piece.bytes < bytesMax) continue;
      yield piece;
      piece = undefined;
    }
  }
  if (piece !== undefined) yield piece;
}

function changesOf(changes: Map<number, IndexedChange[]>, tableId: number): IndexedChange[] {
  const known = changes.get(tableId);
  if (known !== undefined) return known;
  const fresh: IndexedChange[] = [];
  changes.set(tableId, fresh);
  return fresh;
}
