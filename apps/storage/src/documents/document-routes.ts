import { NodeContext } from '@binnacle/node-kit/node-context';
import { untilClientGone } from '@binnacle/node-kit/client-gone';
import { answerErrorsOf } from '@binnacle/node-kit/error-answers';
import { BinnacleError } from '@binnacle/contracts/errors';
import { Injectable, type OnModuleInit } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { FastifyInstance, FastifyReply, FastifyRequest, HTTPMethods } from 'fastify';
import { Readable } from 'node:stream';
import { OwnRegions } from '../regions/own-regions.js';
import { RegionRows, type WriteOptions } from '../regions/region-rows.js';
import { Compute } from '../compute/compute.js';
import type { Row } from '../engine/row.js';
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
import { largeBytesMin, LargeDocuments } from './large-documents.js';
import { MatchingRows } from './matching-rows.js';
import { OtherNodes } from './other-nodes.js';
import { RequestBodies } from './request-bodies.js';

interface DocumentRequest {
  readonly request: FastifyRequest;
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
    private readonly own: OwnRegions,
    private readonly rows: RowStore,
    private readonly regions: RegionRows,
    private readonly otherNodes: OtherNodes,
    private readonly writer: DocumentWriter,
    private readonly matching: MatchingRows,
    private readonly large: LargeDocuments,
    private readonly bodies: RequestBodies,
    private readonly compute: Compute,
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
    await this.own.arrived(table);
    const handle = Buffer.from(id ?? '');
    if (id !== undefined && !this.own.isOwn(table, handle)) {
      await this.writeNodes.forward(this.own.regionOf(table, handle).writeNode, table, request, reply, body);
      return reply;
    }
    return handler({
      request,
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

  async #write({ request, table, query, body, reply }: DocumentRequest, status: number, write: WriteRequest): Promise<FastifyReply> {
    const options = this.#writeOptionsOf(query);
    return this.bodies.use(body, documentBytesMax, async (bytes) => {
      // The text of a large document goes to another thread, and may have to go to another node after that.
      const sent = this.own.ownsAll(table) || bytes.length < largeBytesMin ? bytes : Buffer.from(bytes);
      const prepared = await this.writer.prepare(table, bytes, { ...write, ...this.own.newId(table) });
      const handle = Buffer.from(prepared.id);
      if (!this.own.isOwn(table, handle)) {
        await this.writeNodes.forward(this.own.regionOf(table, handle).writeNode, table, request, reply, sent);
        return reply;
      }
      const [result] = await this.writer.write(table, [prepared], options);
      if (result instanceof BinnacleError) throw result;
      return reply.code(status).type(jsonType).send(result?.document);
    });
  }

  async #get({ table, id, query, reply }: DocumentRequest): Promise<FastifyReply> {
    const handle = Buffer.from(id);
    const refusal = this.own.refusal(table, handle);
    if (refusal !== undefined) throw refusal;
    const row = await this.rows.get(table.id, handle);
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
    const [result] = await this.regions.write(table, [change], this.#writeOptionsOf(query));
    if (result instanceof BinnacleError) throw result;
    if (deleted === undefined && !mayBeAbsent) throw noDocument(id);
    return reply.type(jsonType).send(deleted ?? JSON.stringify({ id }));
  }

  async #deleteMatching({ request, table, query }: DocumentRequest): Promise<{ num_deleted: number }> {
    const filterBy = given(query, 'filter_by');
    if (flagOf(query, 'truncate') === (filterBy !== undefined)) throw missing('filter_by');
    for (const name of ['return_doc', 'return_id']) {
      if (flagOf(query, name)) throw new BinnacleError('BAD_REQUEST', `Parameter \`${name}\` is not supported here: export what matches first.`);
    }
    const options = this.#writeOptionsOf(query);
    return { num_deleted: await this.otherNodes.sum(table, request, 'num_deleted', undefined, () => this.matching.delete(table, filterBy, options)) };
  }

  async #patchMatching({ request, table, query, body }: DocumentRequest): Promise<{ num_updated: number }> {
    const filterBy = given(query, 'filter_by');
    if (filterBy === undefined) throw missing('filter_by');
    const how = { dirtyValues: dirtyValuesOf(query), ...this.#writeOptionsOf(query) };
    return this.bodies.use(body, documentBytesMax, async (bytes) => ({
      num_updated: await this.otherNodes.sum(table, request, 'num_updated', bytes, () => this.matching.patch(table, filterBy, bytes, how)),
    }));
  }

  async #export({ request, table, query, reply }: DocumentRequest): Promise<FastifyReply> {
    const filterBy = given(query, 'filter_by');
    if (this.own.ownsAll(table)) {
      const refusal = this.own.refusalOfAny(table);
      if (refusal !== undefined) throw refusal;
      return this.#exportRows(this.matching.read(table, filterBy), query, reply);
    }
    const remote = this.compute.search();
    if (remote === undefined) await this.writeNodes.forward(this.compute.nodeFor(table), table, request, reply, undefined);
    else await remote.export(table, filterBy, untilClientGone(reply), async (rows) => void (await this.#exportRows(rows, query, reply)));
    return reply;
  }

  async #exportRows(rows: AsyncIterable<Pick<Row, 'document'>>, query: Query, reply: FastifyReply): Promise<FastifyReply> {
    const lines = exportedLines(rows, projectionOf(query), this.large);
    // The first chunk before the head: what is wrong with the filter is still told by the status then.
    const first = await lines.next();
    await this.#stream(reply, Readable.from(first.done ? [] : startingWith(first.value, lines), { objectMode: false }));
    return reply;
  }

  async #import({ request, table, query, body, reply }: DocumentRequest): Promise<FastifyReply> {
    const options = {
      request: { action: actionOf(query), dirtyValues: dirtyValuesOf(query) },
      batchSize: Math.min(positiveOf(query, 'batch_size') ?? batchSizeMax, batchSizeMax),
      returnDocument: flagOf(query, 'return_doc'),
      returnId: flagOf(query, 'return_id'),
      ...this.#writeOptionsOf(query),
    };
    const results = new ImportResults(this.node.clock);
    const onFailure = (error: unknown): void => this.node.log.error({ err: error, table: table.name }, 'an import could not write');
    const newest = (): Table => this.catalog.newest(table);
    const running = new Import(this.writer, newest, options, results, onFailure, this.otherNodes.forImport(newest, request)).run(body);
    running.catch((error: Error) => results.destroy(error));
    // The results end only once everything is written, so this waits for the import too.
    await this.#stream(reply, results);
    await running.catch(() => undefined);
    return reply;
  }

  #writeOptionsOf(query: Query): WriteOptions {
    const options = writeOptionsOf(query);
    this.regions.check(options);
    return options;
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
