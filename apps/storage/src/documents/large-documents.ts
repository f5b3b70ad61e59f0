import { BinnacleError } from '@binnacle/contracts/errors';
import { JobThread } from '@binnacle/node-kit/job-thread';
import { NodeContext, type NodePart } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import type { CheckedTable } from '../tables/document-check.js';
import { isPatch, type WriteRequest } from './document.js';
import type { LargeDocument, LargeDocumentJob } from './large-document-job.js';

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

/** Parses, checks and patches large documents on a thread of their own, one after the other. A document that breaks the thread fails alone. */
@Injectable()
export class LargeDocuments implements NodePart {
  readonly name = 'large documents';
  readonly #thread: JobThread<LargeDocumentJob, LargeDocument>;

  constructor(node: NodeContext) {
    this.#thread = new JobThread(node.clock, {
      // From `src`, which tests run, as from `dist`, this is the built file.
      file: new URL('../../dist/documents/large-document.worker.js', import.meta.url),
      name: 'thread for large documents',
      jobMsMax,
      heapMegabytesMax,
      waitingMax,
      idleMs,
      errors: { failed: (refusal) => new BinnacleError('BAD_REQUEST', refusal), tooSlow: tooComplex, tooLarge: tooComplex },
    });
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
    await this.#thread.stop(new BinnacleError('NO_TARGET', 'this storage node stops', { retryAfterS: 1 }));
  }

  #run(job: LargeDocumentJob): Promise<LargeDocument> {
    return this.#thread.run(job, buffersOf(job));
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

function tooComplex(cause?: Error): BinnacleError {
  return new BinnacleError('BAD_REQUEST', 'The document takes too much time or memory to be read: it has too many values.', { cause });
}
