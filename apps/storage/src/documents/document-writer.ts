import { BinnacleError } from '@binnacle/contracts/errors';
import { Injectable } from '@nestjs/common';
import type { Row } from '../engine/row.js';
import { RegionRows, type WriteOptions } from '../regions/region-rows.js';
import type { Decision, RowChange, RowResult } from '../row-store.js';
import { Catalog } from '../tables/catalog.js';
import { checkDocument } from '../tables/document-check.js';
import { jsonBytes, parseJson, type JsonObject } from '../tables/json.js';
import type { Table } from '../tables/schema.js';
import { isPatch, newDocument, parseDocument, patchedDocument, type ParsedDocument, type WriteRequest } from './document.js';
import { bufferOf, largeBytesMin, LargeDocuments } from './large-documents.js';

/** A document that was read and checked, on its way to its row. */
export interface PreparedWrite {
  readonly id: string;
  /** As it was when the document was checked. */
  readonly table: Table;
  readonly request: WriteRequest;
  /** What is applied to the row that is there; of a large patch the text. */
  readonly patch?: ParsedDocument | Buffer;
  /** The row as it is to be where there is none; an error where the patch is no whole document. Of a small patch it is found out when needed. */
  readonly whole?: Buffer | BinnacleError;
  /** Whether the row is one that is meant; one that is not counts as none. May throw what is then the result. */
  readonly isMeant?: (current: Row) => boolean;
}

type Put = Exclude<Decision, string>;

export type WriteResult = { readonly document: Buffer } | BinnacleError;

/** Present documents patched in one batch on this thread, in bytes: formula, about 15 ms of work. The rest goes to the other thread. */
const patchedInlineBytesMax = 1024 * 1024;
const patchedInlineEachBytesMax = 64 * 1024;
/** Times a patch is made anew because somebody else changed the row meanwhile. */
const patchAttemptsMax = 10;

/** Batches of one client that are written one after the other without waiting for each other. */
export interface WriteStream {
  /** Patches that wait for the other thread, by id, so that later ones do not overtake them. */
  readonly deferred: Map<string, number>;
  /** Settles, and never rejects, when the batch before is done with. */
  readonly previous: Promise<unknown>;
}

function newStream(): WriteStream {
  return { deferred: new Map(), previous: Promise.resolve() };
}

/** Writes documents as their actions say. */
@Injectable()
export class DocumentWriter {
  constructor(
    private readonly rows: RegionRows,
    private readonly large: LargeDocuments,
    private readonly catalog: Catalog,
  ) {}

  /** Reads and checks what a client sent. Rejects with BAD_REQUEST in Typesense's words. */
  async prepare(table: Table, bytes: Buffer, request: WriteRequest): Promise<PreparedWrite> {
    return bytes.length < largeBytesMin ? this.prepareSmall(table, bytes, request) : this.#prepareLarge(table, bytes, request);
  }

  /** The same at once, for less than `largeBytesMin`. */
  prepareSmall(table: Table, bytes: Buffer, request: WriteRequest): PreparedWrite {
    const parsed = parseDocument(table, bytes, request);
    const write = { id: parsed.id, table, request };
    // Not both: while they wait to be written, thousands of parsed documents are what fills the heap.
    return isPatch(request) ? { ...write, patch: parsed } : { ...write, whole: newDocument(table, parsed, request) };
  }

  async #prepareLarge(table: Table, bytes: Buffer, request: WriteRequest): Promise<PreparedWrite> {
    const result = await this.large.prepare(table, bytes, request);
    const whole = result.whole === undefined ? new BinnacleError('BAD_REQUEST', result.refusal ?? '') : bufferOf(result);
    return { id: result.id, table, request, patch: bytes, whole };
  }

  /** Results in the order of the writes, which happen as if one after the other, and after those of `stream` that came before. */
  async write(table: Table, writes: readonly PreparedWrite[], options: WriteOptions, stream: WriteStream = newStream()): Promise<WriteResult[]> {
    const { deferred, previous } = stream;
    const batch = new Batch(deferred, this.catalog);
    const results = await this.rows.write(table, writes.map((write) => batch.change(write)), options);
    if (batch.hasDeferred()) await previous;
    const answers: WriteResult[] = [];
    for (const [index, write] of writes.entries()) {
      if (batch.isDeferred(write)) answers.push(await this.#patchApart(table, write, options, deferred));
      else answers.push(answerOf(results[index] as RowResult));
    }
    return answers;
  }

  /** Patches on the other thread, and writes if the row is still the one that was patched. */
  async #patchApart(table: Table, write: PreparedWrite, options: WriteOptions, deferred: WriteStream['deferred']): Promise<WriteResult> {
    try {
      const handle = Buffer.from(write.id);
      const { patch } = write;
      const bytes = Buffer.isBuffer(patch) ? patch : jsonBytes((patch as ParsedDocument).document);
      for (let attempt = 0; attempt < patchAttemptsMax; attempt++) {
        const current = meant(write, await this.rows.get(table.id, handle));
        const now = this.catalog.newest(table);
        const put = current === undefined ? recheckedFor(now, write, absent(write)) : { put: await this.large.patch(now, bytes, write.request, current.document) };
        if (put instanceof BinnacleError) return put;
        const decide = (now: Row | undefined): Decision => (now?.version === current?.version ? put : 'keep');
        const [result] = await this.rows.write(table, [{ handle, decide }], options);
        if (result !== 'kept') return answerOf(result as RowResult);
      }
      return new BinnacleError('CONFLICT', `The document with id ${write.id} is changed by others all the time: try again.`, { retryAfterS: 1 });
    } catch (error) {
      if (error instanceof BinnacleError) return error;
      throw error;
    } finally {
      const left = (deferred.get(write.id) ?? 1) - 1;
      if (left === 0) deferred.delete(write.id);
      else deferred.set(write.id, left);
    }
  }
}

/** Decides for the writes of one batch. */
class Batch {
  readonly #deferred = new Set<PreparedWrite>();
  #patchedBytes = 0;

  constructor(
    private readonly deferred: WriteStream['deferred'],
    private readonly catalog: Catalog,
  ) {}

  hasDeferred(): boolean {
    return this.#deferred.size > 0;
  }

  isDeferred(write: PreparedWrite): boolean {
    return this.#deferred.has(write);
  }

  change(write: PreparedWrite): RowChange {
    return { handle: Buffer.from(write.id), decide: (current) => this.#decide(write, current) };
  }

  #decide(write: PreparedWrite, present: Row | undefined): Decision {
    const table = this.catalog.newest(write.table);
    if (this.deferred.has(write.id)) return this.#defer(write);
    const { action } = write.request;
    const current = meant(write, present);
    if (current === undefined || action === 'upsert') return recheckedFor(table, write, absent(write));
    if (action === 'create') return new BinnacleError('CONFLICT', `A document with id ${write.id} already exists.`);
    const { patch } = write;
    const { length } = current.document;
    if (!patch || Buffer.isBuffer(patch) || length > patchedInlineEachBytesMax || this.#patchedBytes + length > patchedInlineBytesMax) return this.#defer(write);
    this.#patchedBytes += length;
    const put = orRefusal(() => patchedDocument(table, patch, current.document));
    return put instanceof BinnacleError ? put : { put };
  }

  #defer(write: PreparedWrite): Decision {
    this.#deferred.add(write);
    this.deferred.set(write.id, (this.deferred.get(write.id) ?? 0) + 1);
    return 'keep';
  }
}

function meant({ isMeant }: PreparedWrite, current: Row | undefined): Row | undefined {
  return current === undefined || isMeant?.(current) === false ? undefined : current;
}

/** What becomes of a write where there is no document. */
function absent({ id, table, request, patch, whole }: PreparedWrite): Put {
  if (request.action === 'update') return new BinnacleError('NOT_FOUND', `Could not find a document with id: ${id}`);
  const put = whole ?? orRefusal(() => newDocument(table, patch as ParsedDocument, request));
  return put instanceof BinnacleError ? put : { put };
}

/** The fields may have changed since the document was checked, and a table that has a field relies on its documents having it. */
function recheckedFor(now: Table, { table }: PreparedWrite, decision: Put): Put {
  if (decision instanceof BinnacleError || now.schemaVersion === table.schemaVersion) return decision;
  if (decision.put.length >= largeBytesMin) return new BinnacleError('CONFLICT', 'The schema of the collection has just changed: try again.');
  return orRefusal(() => {
    checkDocument(now, parseJson(decision.put.toString()) as JsonObject);
    return decision;
  });
}

function answerOf(result: RowResult): WriteResult {
  if (result instanceof BinnacleError) return result;
  if (result === 'kept' || result.document === undefined) throw new Error('a write led to no document');
  return { document: result.document };
}

function orRefusal<T>(work: () => T): T | BinnacleError {
  try {
    return work();
  } catch (error) {
    if (error instanceof BinnacleError) return error;
    throw error;
  }
}
