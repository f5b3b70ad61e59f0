import { NodeContext } from '@binnacle/node-kit/node-context';
import { answerErrorsOf } from '@binnacle/node-kit/error-answers';
import { BinnacleError } from '@binnacle/contracts/errors';
import { Injectable, type OnModuleInit } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { FastifyInstance, FastifyReply, FastifyRequest, HTTPMethods } from 'fastify';
import { Readable } from 'node:stream';
import { RowStore } from '../row-store.js';
import { Catalog } from '../tables/catalog.js';
import type { Table } from '../tables/schema.js';
import { streamAnswer } from '../tables/streamed-answer.js';
import { WriteNodes } from '../tables/write-nodes.js';
import { documentBytesMax, type WriteRequest } from './document.js';
import { checkId } from './document-id.js';
import { actionOf, dirtyValuesOf, flagOf, given, namesOf, positiveOf, writeOptionsOf, type Query } from './document-query.js';
import { DocumentWriter } from './document-writer.js';
import { exportedLines, projected, type Projection } from './export.js';
import { Import } from './import.js';
import { ImportResults } from './import-results.js';
import { LargeDocuments } from './large-documents.js';
import { MatchingRows } from './matching-rows.js';
import { RequestBodies } from './request-bodies.js';

interface DocumentRequest {
  readonly table: Table;
  /** Of the document the path names. */
  readonly id: string;
  readonly query: Query;
  readonly body: Readable;
  readonly reply: FastifyReply;
}

type Handler = (request: DocumentRequest) => Promise<unknown>;

const jsonType = 'application/json; charset=utf-8';
const linesType = 'text/plain; charset=utf-8';
/**
 * Documents an import writes together, unless the client says fewer. Two such batches are little beside what V8 collects at once, so their objects
 * die young; with four of a thousand, an eighth of all that is allocated grew old. With a hundred, the hops between threads would cost more.
 */
const batchSizeMax = 250;

/**
 * `/collections/:collection/documents` and what is under it, but for the search. Past Nest, whose routes read a body before they know what
 * to do with it: here every body is a stream, which is worked on, or passed on to the table's write node, as it comes.
 */
@Injectable()
export class DocumentRoutes implements OnModuleInit {
  constructor(
    private readonly node: NodeContext,
    private readonly adapter: HttpAdapterHost,
    private readonly catalog: Catalog,
    private readonly writeNodes: WriteNodes,
    private readonly rows: RowStore,
    private readonly writer: DocumentWriter,
    private readonly matching: MatchingRows,
    private readonly large: LargeDocuments,
    private readonly bodies: RequestBodies,
  ) {}

  onModuleInit(): void {
    const app = this.adapter.httpAdapter.getInstance<FastifyInstance>();
    void app.register(async (scope) => this.#addRoutes(scope));
  }

  #addRoutes(scope: FastifyInstance): void {
    answerErrorsOf(scope, this.node.log);
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
    const documents = '/collections/:collection/documents';
    const serve = (method: HTTPMethods, url: string, handler: Handler): void => {
      const config = { streamsBody: true };
      scope.route({ method, url, config, handler: (request, reply) => this.#serve(request, reply, handler) });
    };
    serve('POST', documents, (request) => this.#create(request));
    serve('PATCH', documents, (request) => this.#patchMatching(request));
    serve('DELETE', documents, (request) => this.#deleteMatching(request));
    serve('POST', `${documents}/import`, (request) => this.#import(request));
    serve('GET', `${documents}/export`, (request) => this.#export(request));
    serve('GET', `${documents}/:document`, (request) => this.#get(request));
    serve('PATCH', `${documents}/:document`, (request) => this.#patch(request));
    serve('DELETE', `${documents}/:document`, (request) => this.#delete(request));
  }

  async #serve(request: FastifyRequest, reply: FastifyReply, handler: Handler): Promise<unknown> {
    const { collection = '', document: id } = request.params as Record<string, string>;
    if (id !== undefined) checkId(id);
    const table = this.catalog.find(collection) ?? (await this.catalog.lookUp(collection));
    const body = request.body instanceof Readable ? request.body : undefined;
    if (!this.writeNodes.isOwn(table)) {
      await this.writeNodes.forward(table, request, reply, body);
      return reply;
    }
    return handler({
      table,
      id: id ?? '',
      query: request.query as Query,
      // An empty stream costs as much as reading a row: only who asks for a body gets one.
      get body() {
        return body ?? Readable.from([]);
      },
      reply,
    });
  }

  async #create(request: DocumentRequest): Promise<FastifyReply> {
    return this.#write(request, 201, { action: actionOf(request.query), dirtyValues: dirtyValuesOf(request.query) });
  }

  async #patch(request: DocumentRequest): Promise<FastifyReply> {
    return this.#write(request, 200, { action: 'update', dirtyValues: dirtyValuesOf(request.query), id: request.id });
  }

  async #write({ table, query, body, reply }: DocumentRequest, status: number, request: WriteRequest): Promise<FastifyReply> {
    const options = writeOptionsOf(query);
    return this.bodies.use(body, documentBytesMax, async (bytes) => {
      const [result] = await this.writer.write(table, [await this.writer.prepare(table, bytes, request)], options);
      if (result instanceof BinnacleError) throw result;
      return reply.code(status).type(jsonType).send(result?.document);
    });
  }

  async #get({ table, id, query, reply }: DocumentRequest): Promise<FastifyReply> {
    const row = await this.rows.get(table.id, Buffer.from(id));
    if (row === undefined) throw noDocument(id);
    return reply.type(jsonType).send(await projected(row.document, projectionOf(query), this.large));
  }

  async #delete({ table, id, query, reply }: DocumentRequest): Promise<FastifyReply> {
    const mayBeAbsent = flagOf(query, 'ignore_not_found');
    let deleted: Buffer | undefined;
    const change = {
      handle: Buffer.from(id),
      decide: (current: { document: Buffer } | undefined) => {
        deleted = current?.document;
        return current === undefined ? ('keep' as const) : ('delete' as const);
      },
    };
    const [result] = await this.rows.write(table.id, [change], writeOptionsOf(query));
    if (result instanceof BinnacleError) throw result;
    if (deleted === undefined && !mayBeAbsent) throw noDocument(id);
    return reply.type(jsonType).send(deleted ?? JSON.stringify({ id }));
  }

  async #deleteMatching({ table, query }: DocumentRequest): Promise<{ num_deleted: number }> {
    const filterBy = given(query, 'filter_by');
    if (flagOf(query, 'truncate') === (filterBy !== undefined)) throw missing('filter_by');
    for (const name of ['return_doc', 'return_id']) {
      if (flagOf(query, name)) throw new BinnacleError('BAD_REQUEST', `Parameter \`${name}\` is not supported here: export what matches first.`);
    }
    return { num_deleted: await this.matching.delete(table, filterBy, writeOptionsOf(query)) };
  }

  async #patchMatching({ table, query, body }: DocumentRequest): Promise<{ num_updated: number }> {
    const filterBy = given(query, 'filter_by');
    if (filterBy === undefined) throw missing('filter_by');
    const how = { dirtyValues: dirtyValuesOf(query), ...writeOptionsOf(query) };
    return this.bodies.use(body, documentBytesMax, async (bytes) => ({ num_updated: await this.matching.patch(table, filterBy, bytes, how) }));
  }

  async #export({ table, query, reply }: DocumentRequest): Promise<FastifyReply> {
    const rows = this.matching.read(table, given(query, 'filter_by'));
    const lines = exportedLines(rows, projectionOf(query), this.large);
    // The first chunk before the head: what is wrong with the filter is still told by the status then.
    const first = await lines.next();
    await this.#stream(reply, Readable.from(first.done ? [] : startingWith(first.value, lines), { objectMode: false }));
    return reply;
  }

  async #import({ table, query, body, reply }: DocumentRequest): Promise<FastifyReply> {
    const options = {
      request: { action: actionOf(query), dirtyValues: dirtyValuesOf(query) },
      batchSize: Math.min(positiveOf(query, 'batch_size') ?? batchSizeMax, batchSizeMax),
      returnDocument: flagOf(query, 'return_doc'),
      returnId: flagOf(query, 'return_id'),
      ...writeOptionsOf(query),
    };
    const results = new ImportResults(this.node.clock);
    const onFailure = (error: unknown): void => this.node.log.error({ err: error, table: table.name }, 'an import could not write');
    const running = new Import(this.writer, () => this.catalog.newest(table), options, results, onFailure).run(body);
    running.catch((error: Error) => results.destroy(error));
    // The results end only once everything is written, so this waits for the import too.
    await this.#stream(reply, results);
    await running.catch(() => undefined);
    return reply;
  }

  async #stream(reply: FastifyReply, body: Readable): Promise<void> {
    const broken: NodeJS.ErrnoException | undefined = await streamAnswer(reply, 200, { 'content-type': linesType }, body);
    // A client that goes away is no fault of this node.
    if (broken !== undefined && !clientGoneCodes.has(broken.code)) this.node.log.warn({ err: broken }, 'an answer was broken off');
  }
}

const clientGoneCodes: ReadonlySet<string | undefined> = new Set(['ERR_STREAM_PREMATURE_CLOSE', 'ECONNRESET', 'EPIPE']);

async function* startingWith(first: Buffer, rest: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  yield first;
  yield* rest;
}

function projectionOf(query: Query): Projection {
  return { include: namesOf(query, 'include_fields'), exclude: namesOf(query, 'exclude_fields') };
}

function noDocument(id: string): BinnacleError {
  return new BinnacleError('NOT_FOUND', `Could not find a document with id: ${id}`);
}

function missing(name: string): BinnacleError {
  return new BinnacleError('BAD_REQUEST', `Parameter \`${name}\` must be provided.`);
}
