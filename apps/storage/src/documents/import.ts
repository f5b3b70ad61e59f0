import { BinnacleError, errorStatus } from '@binnacle/contracts/errors';
import { asBinnacleError } from '@binnacle/node-kit/error-answers';
import type { Readable } from 'node:stream';
import type { WriteOptions } from '../row-store.js';
import type { Table } from '../tables/schema.js';
import { documentBytesMax, type WriteRequest } from './document.js';
import type { DocumentWriter, PreparedWrite, WriteResult } from './document-writer.js';
import type { ImportResults } from './import-results.js';
import { largeBytesMin } from './large-documents.js';
import { LineSplitter, type Line } from './line-splitter.js';

export interface ImportOptions extends WriteOptions {
  readonly request: WriteRequest;
  /** Documents written together. */
  readonly batchSize: number;
  readonly returnDocument: boolean;
  readonly returnId: boolean;
}

/** Memory of an import, formula: lines of the batches on their way, each up to 512 KiB or one document, and the batch being read; four times, as each is copied on its way. */
const batchBytesMax = 512 * 1024;
const batchesUnderWayMax = 2;
const bytesUnderWayMax = 32 * 1024 * 1024;
/** Lines are read for that long at most before others get their turn. */
const sliceMsMax = 8;
/** Of a line that failed, a longer one is shown in its result only by its beginning. */
const shownBytesMax = 16 * 1024;

interface Item {
  /** What the client sent, or its beginning; kept for the result of a failure. */
  readonly line: Buffer;
  readonly write: PreparedWrite | BinnacleError;
}

/** One import: lines in, results out, a few batches under way at once. */
export class Import {
  readonly #lines = new LineSplitter(documentBytesMax);
  readonly #deferred = new Map<string, number>();
  #batch: Line[] = [];
  #batchBytes = 0;
  #batchesUnderWay = 0;
  #bytesUnderWay = 0;
  #written: Promise<void> = Promise.resolve();
  #roomWaiter: (() => void) | undefined;
  /** The log is told once, not once a line. */
  #hasFailed = false;
  #sliceEndsAtMs = performance.now() + sliceMsMax;

  constructor(
    private readonly writer: DocumentWriter,
    /** As it is now: an import may take hours. Throws when it is gone. */
    private readonly table: () => Table,
    private readonly options: ImportOptions,
    private readonly results: ImportResults,
    private readonly onFailure: (error: unknown) => void,
  ) {}

  /** Resolves when every line has its result. Rejects when the stream breaks; what came before it is written all the same. */
  async run(body: Readable): Promise<void> {
    try {
      for await (const chunk of body) {
        for (const line of this.#lines.push(chunk as Buffer)) await this.#take(line);
        // Nothing under way: who sends a few lines and waits for their results gets them.
        if (this.#batchesUnderWay === 0) await this.#submit();
        await this.results.room();
      }
      for (const line of this.#lines.end()) await this.#take(line);
    } finally {
      await this.#submit();
      await this.#written;
    }
    this.results.complete();
  }

  async #take(line: Line): Promise<void> {
    this.#batchBytes += line.length;
    this.#batch.push(line);
    if (this.#batch.length >= this.options.batchSize || this.#batchBytes >= batchBytesMax) await this.#submit();
  }

  async #item(line: Line): Promise<Item> {
    if (performance.now() > this.#sliceEndsAtMs) await this.#yield();
    if (line === 'too long') return { line: Buffer.alloc(0), write: tooLong() };
    // Before the line is given to another thread.
    const shown = line.length < largeBytesMin ? line : beginning(line);
    return { line: shown, write: await this.#prepared(line) };
  }

  async #prepared(line: Buffer): Promise<PreparedWrite | BinnacleError> {
    const { request } = this.options;
    try {
      const table = this.table();
      if (line.length < largeBytesMin) return this.writer.prepareSmall(table, line, request);
      return await this.writer.prepare(table, line, request);
    } catch (error) {
      return this.#failure(error);
    }
  }

  async #yield(): Promise<void> {
    await new Promise<void>((resolve) => void setImmediate(resolve));
    this.#sliceEndsAtMs = performance.now() + sliceMsMax;
  }

  async #submit(): Promise<void> {
    if (this.#batch.length === 0) return;
    const lines = this.#batch;
    const bytes = this.#batchBytes;
    this.#batch = [];
    this.#batchBytes = 0;
    while (this.#batchesUnderWay >= batchesUnderWayMax || (this.#batchesUnderWay > 0 && this.#bytesUnderWay + bytes > bytesUnderWayMax)) {
      await new Promise<void>((resolve) => (this.#roomWaiter = resolve));
    }
    this.#batchesUnderWay++;
    this.#bytesUnderWay += bytes;
    // Not before there is room: what is read from a line takes ten times its memory, and what waits long grows old.
    const batch: Item[] = [];
    for (const line of lines) batch.push(await this.#item(line));
    const previous = this.#written;
    const writing = this.#write(batch, previous);
    this.#written = (async () => {
      const answers = await writing;
      await previous;
      for (const [index, item] of batch.entries()) this.#answer(item, answers[index] as WriteResult);
      this.#batchesUnderWay--;
      this.#bytesUnderWay -= bytes;
      this.#roomWaiter?.();
    })();
  }

  /** Never rejects. */
  async #write(batch: readonly Item[], previous: Promise<void>): Promise<WriteResult[]> {
    const writes = batch.map(({ write }) => write).filter((write) => !(write instanceof BinnacleError)) as PreparedWrite[];
    let results: readonly WriteResult[] | BinnacleError = [];
    try {
      if (writes.length > 0) results = await this.writer.write(this.table(), writes, this.options, { deferred: this.#deferred, previous });
    } catch (error) {
      results = this.#failure(error);
    }
    let next = 0;
    const resultOf = (): WriteResult => (results instanceof BinnacleError ? results : (results[next++] as WriteResult));
    return batch.map(({ write }) => (write instanceof BinnacleError ? write : resultOf()));
  }

  #failure(error: unknown): BinnacleError {
    const shown = asBinnacleError(error);
    if (shown.code === 'INTERNAL' && !this.#hasFailed) this.onFailure(error);
    this.#hasFailed ||= shown.code === 'INTERNAL';
    return shown;
  }

  #answer({ line, write }: Item, result: WriteResult): void {
    const { returnDocument, returnId } = this.options;
    const id = returnId && !(write instanceof BinnacleError) ? { id: write.id } : {};
    if (result instanceof BinnacleError) {
      const error = result.code === 'INTERNAL' ? 'internal error' : result.message;
      this.results.add(JSON.stringify({ code: errorStatus(result.code, 'typesense'), document: shownText(line), error, ...id, success: false }));
    } else if (returnDocument) {
      const fields = returnId ? `,${JSON.stringify(id).slice(1, -1)}` : '';
      this.results.add(`{"document":${result.document.toString()}${fields},"success":true}`);
    } else if (returnId) {
      this.results.add(JSON.stringify({ ...id, success: true }));
    } else {
      this.results.addSuccess();
    }
  }
}

/** Long enough to be seen to be only that. */
function beginning(line: Buffer): Buffer {
  return Buffer.from(line.subarray(0, shownBytesMax + 1));
}

function shownText(line: Buffer): string {
  return line.length <= shownBytesMax ? line.toString() : `${line.toString('utf8', 0, shownBytesMax)}...`;
}

function tooLong(): BinnacleError {
  return new BinnacleError('BODY_TOO_LARGE', `The line is too long: a document has at most ${documentBytesMax} bytes.`);
}
