import { BinnacleError } from '@binnacle/contracts/errors';
import { NodeContext, type NodePart } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import { Worker } from 'node:worker_threads';
import type { CheckedTable } from '../tables/document-check.js';
import { isPatch, type WriteRequest } from './document.js';
import type { LargeDocument, LargeDocumentAnswer, LargeDocumentJob } from './large-document-job.js';

/** From this length on, a document is not parsed on the thread that answers requests: at worst that takes some 10 ms. */
export const largeBytesMin = 256 * 1024;

/** For one document; one of 16 MiB takes a few hundred. */
const jobMsMax = 30_000;
/** Of the thread's heap: 16 MiB of the smallest values there are take about 300 MB. */
const heapMegabytesMax = 768;
/** Jobs that wait, with their documents: formula 8 x 16 MiB. */
const waitingMax = 8;
/** After that long without a job the thread ends. */
const idleMs = 30_000;

interface Waiting {
  readonly job: LargeDocumentJob;
  resolve(result: LargeDocument): void;
  reject(error: Error): void;
}

/** Parses, checks and patches large documents on a thread of their own, one after the other. A document that breaks the thread fails alone. */
@Injectable()
export class LargeDocuments implements NodePart {
  readonly name = 'large documents';
  readonly #waiting: Waiting[] = [];
  readonly #roomWaiters: (() => void)[] = [];
  #current: Waiting | undefined;
  #worker: Worker | undefined;
  #cancelTimer: () => void = () => {};
  #isStopped = false;

  constructor(private readonly node: NodeContext) {
    node.addPart(this);
  }

  /**
   * The id and, unless it is only a patch, the checked text. The bytes of what is no patch are given away: the buffer is empty afterwards.
   * Rejects as `parseDocument` throws.
   */
  async prepare(table: CheckedTable, bytes: Buffer, request: WriteRequest): Promise<LargeDocument> {
    return this.#run({ kind: 'prepare', table: checked(table), bytes: isPatch(request) ? copied(bytes) : owned(bytes), request });
  }

  /** The present document with the patch applied. Rejects as `patchedDocument` throws. */
  async patch(table: CheckedTable, bytes: Buffer, request: WriteRequest, current: Buffer): Promise<Buffer> {
    const job = { kind: 'patch', table: checked(table), bytes: copied(bytes), request, current: copied(current) } as const;
    return bufferOf(await this.#run(job));
  }

  async project(bytes: Buffer, include: readonly string[], exclude: readonly string[]): Promise<Buffer> {
    return bufferOf(await this.#run({ kind: 'project', bytes: copied(bytes), include, exclude }));
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#cancelTimer();
    const gone = new BinnacleError('NO_TARGET', 'this storage node stops', { retryAfterS: 1 });
    for (const { reject } of [this.#current, ...this.#waiting.splice(0)].filter((each) => each !== undefined)) reject(gone);
    for (const resume of this.#roomWaiters.splice(0)) resume();
    this.#current = undefined;
    await this.#terminate();
  }

  async #run(job: LargeDocumentJob): Promise<LargeDocument> {
    while (this.#waiting.length >= waitingMax && !this.#isStopped) await new Promise<void>((resolve) => this.#roomWaiters.push(resolve));
    if (this.#isStopped) throw new BinnacleError('NO_TARGET', 'this storage node stops', { retryAfterS: 1 });
    return new Promise((resolve, reject) => {
      this.#waiting.push({ job, resolve, reject });
      if (this.#current === undefined) this.#next();
    });
  }

  #next(): void {
    this.#cancelTimer();
    const next = this.#waiting.shift();
    this.#roomWaiters.shift()?.();
    this.#current = next;
    if (next === undefined) {
      this.#cancelTimer = this.node.clock.after(idleMs, () => void this.#terminate());
      return;
    }
    this.#cancelTimer = this.node.clock.after(jobMsMax, () => this.#fail(tooComplex()));
    this.#worker ??= this.#start();
    this.#worker.postMessage(next.job, buffersOf(next.job));
  }

  #start(): Worker {
    // From `src`, which tests run, as from `dist`, this is the built file: a thread is plain Node.js and takes no TypeScript here.
    const worker = new Worker(new URL('../../dist/documents/large-document.worker.js', import.meta.url), {
      resourceLimits: { maxOldGenerationSizeMb: heapMegabytesMax },
      stdin: false,
      execArgv: [],
    });
    // Whatever a thread says after its end was decided is about a job that has failed already.
    const ifCurrent = (action: () => void): void => {
      if (this.#worker === worker) action();
    };
    worker.on('message', (answer: LargeDocumentAnswer) => ifCurrent(() => this.#settle(answer)));
    worker.once('error', (error) => ifCurrent(() => this.#fail(brokenBy(error))));
    worker.once('exit', () => ifCurrent(() => this.#fail(new Error('the thread for large documents ended'))));
    worker.unref();
    return worker;
  }

  #settle(answer: LargeDocumentAnswer): void {
    const current = this.#current;
    if ('result' in answer) current?.resolve(answer.result);
    else current?.reject(new BinnacleError('BAD_REQUEST', answer.refusal));
    this.#next();
  }

  #fail(error: Error): void {
    void this.#terminate();
    this.#current?.reject(error);
    this.#next();
  }

  async #terminate(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
  }
}

function copied(bytes: Buffer): Uint8Array {
  return new Uint8Array(bytes);
}

/** The same memory, if nothing else is in it. */
function owned(bytes: Buffer): Uint8Array {
  return bytes.buffer.byteLength === bytes.length ? new Uint8Array(bytes.buffer) : copied(bytes);
}

/** The thread gets the memory, not one more copy. */
function buffersOf(job: LargeDocumentJob): ArrayBuffer[] {
  return (job.kind === 'patch' ? [job.bytes, job.current] : [job.bytes]).map(({ buffer }) => buffer as ArrayBuffer);
}

function checked({ fields, defaultSortingField, enableNestedFields }: CheckedTable): CheckedTable {
  return { fields, defaultSortingField, enableNestedFields };
}

export function bufferOf({ whole }: LargeDocument): Buffer {
  const { buffer, byteOffset, byteLength } = whole as Uint8Array;
  return Buffer.from(buffer, byteOffset, byteLength);
}

function brokenBy(error: Error): Error {
  return (error as NodeJS.ErrnoException).code === 'ERR_WORKER_OUT_OF_MEMORY' ? tooComplex(error) : new Error('a large document could not be read', { cause: error });
}

function tooComplex(cause?: Error): BinnacleError {
  return new BinnacleError('BAD_REQUEST', 'The document takes too much time or memory to be read: it has too many values.', { cause });
}
