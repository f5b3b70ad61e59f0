import { BinnacleError, errorStatus } from '@binnacle/contracts/errors';
import { asBinnacleError } from '@binnacle/node-kit/error-answers';
import type { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { WriteOptions } from '../regions/region-rows.js';
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
  /** The line is another node's, which gets it as it is. */
  readonly elsewhere?: { readonly nodeId: string; readonly line: Buffer };
}

/** What an import asks about rows that are not here. */
export interface ImportElsewhere {
  /** Undefined: the row is here. */
  nodeOf(id: string): string | undefined;
  /** For a line without an id. */
  newId(): Pick<WriteRequest, 'newId'>;
  /** Writes the lines at that node; a result a line, as its client sees it. Rejects with BinnacleError: none is known to be written. */
  write(nodeId: string, lines: readonly Buffer[]): Promise<readonly string[]>;
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
  /** By node, its requests one after the other: lines about one row stay in their order. */
  readonly #atNodes = new Map<string, Promise<unknown>>();
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
    private readonly elsewhere?: ImportElsewhere,
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
    const isLarge = line.length >= largeBytesMin;
    // Before the line is given to another thread.
    const shown = isLarge ? beginning(line) : line;
    const whole = isLarge && this.elsewhere !== undefined ? Buffer.from(line) : line;
    const write = await this.#prepared(line);
    const nodeId = write instanceof BinnacleError ? undefined : this.elsewhere?.nodeOf(write.id);
    return { line: shown, write, ...(nodeId !== undefined && { elsewhere: { nodeId, line: whole } }) };
  }

  async #prepared(line: Buffer): Promise<PreparedWrite | BinnacleError> {
    const { request: asked } = this.options;
    const request = this.elsewhere === undefined ? asked : { ...asked, ...this.elsewhere.newId() };
    try {
      const table = this.table();
      if (line.length < largeBytesMin) return this.writer.prepareSmall(table, line, request);
      return await this.writer.prepare(table, line, request);
    } catch (error) {
      return this.#failure(error);
    }
  }

  async #yield(): Promise<void> {
    await nextTurn();
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
      for (const [index, item] of batch.entries()) this.#answer(item, answers[index] as WriteResult | string);
      this.#batchesUnderWay--;
      this.#bytesUnderWay -= bytes;
      this.#roomWaiter?.();
    })();
  }

  /** Never rejects. What another node answers is a line already. */
  async #write(batch: readonly Item[], previous: Promise<void>): Promise<(WriteResult | string)[]> {
    const answers: (WriteResult | string)[] = [];
    const byNode = new Map<string | undefined, number[]>();
    for (const [index, { elsewhere }] of batch.entries()) {
      const indexes = byNode.get(elsewhere?.nodeId);
      if (indexes === undefined) byNode.set(elsewhere?.nodeId, [index]);
      else indexes.push(index);
    }
    await Promise.all(
      [...byNode].map(async ([nodeId, indexes]) => {
        const items = indexes.map((index) => batch[index] as Item);
        const results = nodeId === undefined ? await this.#writeHere(items, previous) : await this.#writeElsewhere(nodeId, items);
        for (const [position, index] of indexes.entries()) answers[index] = results[position] as WriteResult | string;
      }),
    );
    return answers;
  }

  async #writeElsewhere(nodeId: string, items: readonly Item[]): Promise<readonly (WriteResult | string)[]> {
    const lines = items.map(({ elsewhere }) => elsewhere?.line as Buffer);
    const written = (this.#atNodes.get(nodeId) ?? Promise.resolve()).then(() => (this.elsewhere as ImportElsewhere).write(nodeId, lines));
    this.#atNodes.set(nodeId, written.catch(() => undefined));
    return written.catch((error: unknown) => items.map(() => this.#failure(error)));
  }

  async #writeHere(batch: readonly Item[], previous: Promise<void>): Promise<WriteResult[]> {
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

  #answer({ line, write }: Item, result: WriteResult | string): void {
    if (typeof result === 'string') return result === plainSuccess ? this.results.addSuccess() : this.results.add(result);
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

const plainSuccess = '{"success":true}';

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
