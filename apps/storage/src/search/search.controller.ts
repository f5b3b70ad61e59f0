import { BinnacleError, errorStatus } from '@binnacle/contracts/errors';
import { asBinnacleError } from '@binnacle/node-kit/error-answers';
import { AgentClient } from '@binnacle/node-kit/agent-client';
import { searchCacheHeader } from '@binnacle/contracts/internal-headers';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { bodyObject } from '@binnacle/node-kit/request-body';
import { Controller, Get, HttpCode, Param, Post, Query, Req, Res, type RawBodyRequest } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { untilClientGone } from '@binnacle/node-kit/client-gone';
import { Compute } from '../compute/compute.js';
import { OwnRegions } from '../regions/own-regions.js';
import { Catalog } from '../tables/catalog.js';
import type { Table } from '../tables/schema.js';
import { WriteNodes } from '../tables/write-nodes.js';
import { SearchIndex, type SearchAnswer } from './search-index.js';
import type { SearchRequest } from './search-query.js';

/** Typesense's `limit_multi_searches`. */
const searchesMax = 50;
/** Answers of one multi_search, which are in memory together. */
const answerBytesMax = 64 * 2 ** 20;
const jsonType = 'application/json; charset=utf-8';
const before = Buffer.from('{"results":[');
const comma = Buffer.from(',');
const after = Buffer.from(']}');

/** Typesense's searches. One is answered from the search index of the node that has the whole table, or by a compute node. */
@Controller()
export class SearchController {
  constructor(
    private readonly node: NodeContext,
    private readonly catalog: Catalog,
    private readonly own: OwnRegions,
    private readonly writeNodes: WriteNodes,
    private readonly index: SearchIndex,
    private readonly agents: AgentClient,
    private readonly compute: Compute,
  ) {}

  @Get('/collections/:collection/documents/search')
  async search(
    @Param('collection') name: string,
    @Query() query: SearchRequest,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<unknown> {
    const table = await this.catalog.lookUp(name);
    const isHere = this.own.ownsAll(table);
    const remote = this.compute.search();
    if (!isHere && remote === undefined) return this.writeNodes.forward(this.compute.nodeFor(table), table, request, reply, undefined);
    const answer = await (isHere || remote === undefined ? this.#here(table, query) : remote.search(table, query, untilClientGone(reply)));
    tellCache([answer], reply);
    void reply.type(jsonType);
    return answer.body;
  }

  /** One after the other, so that one request does not take every thread there is. What is wrong with one says nothing of the others. */
  @Post('/multi_search')
  @HttpCode(200)
  async multiSearch(
    @Req() request: RawBodyRequest<FastifyRequest>,
    @Query() common: SearchRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<Buffer> {
    const gone = untilClientGone(reply);
    const answers: SearchAnswer[] = [];
    let bytes = 0;
    for (const search of searchesOf(bodyObject(request))) {
      const answer = await this.#oneOf({ ...common, ...search }, gone).catch(asAnswer);
      bytes += answer.body.length;
      answers.push(bytes <= answerBytesMax ? answer : asAnswer(new BinnacleError('BAD_REQUEST', 'The answers before have used up the room for all.')));
    }
    tellCache(answers, reply);
    void reply.type(jsonType);
    const results = answers.flatMap((answer, index) => (index === 0 ? [answer.body] : [comma, answer.body]));
    return Buffer.concat([before, ...results, after]);
  }

  async #oneOf(search: SearchRequest, gone: AbortSignal): Promise<SearchAnswer> {
    const { collection } = search;
    if (typeof collection !== 'string') throw new BinnacleError('BAD_REQUEST', 'Parameter `collection` is required.');
    const table = await this.catalog.lookUp(collection);
    if (this.own.ownsAll(table)) return this.#here(table, search);
    return this.compute.search()?.search(table, search, gone) ?? this.#elsewhere(table, search);
  }

  /** Rejects with NOT_READY while rows of the table are being loaded. */
  async #here(table: Table, search: SearchRequest): Promise<SearchAnswer> {
    await this.own.arrived(table);
    const refusal = this.own.refusalOfAny(table);
    if (refusal !== undefined) throw refusal;
    return this.index.search(table, search);
  }

  /** As a multi_search of its own at a node that has the whole table, whose own error, if any, is a part of the answer. */
  async #elsewhere(table: Table, search: SearchRequest): Promise<SearchAnswer> {
    const nodeId = this.compute.nodeFor(table);
    const record = this.node.directory.byId(nodeId);
    if (record === undefined) throw new BinnacleError('NO_TARGET', `Node ${nodeId}, which holds collection \`${table.name}\`, is away.`);
    const { searchWaitMs, searchTimeoutMs } = this.node.config.storage;
    const request = { method: 'POST', path: '/multi_search', body: { searches: [search] }, timeoutMs: searchWaitMs + searchTimeoutMs } as const;
    const { status, bytes } = await this.agents.requestBytes(record, request, answerBytesMax);
    if (status !== 200) throw new BinnacleError('UPSTREAM_UNREACHABLE', `Node ${nodeId} does not answer the search.`);
    return { body: bytes.subarray(before.length, bytes.length - after.length) };
  }
}

/** Browsers send it as text, to be spared a question beforehand. */
function searchesOf(body: unknown): readonly SearchRequest[] {
  const parsed = typeof body === 'string' || Buffer.isBuffer(body) ? parse(body.toString()) : body;
  const { searches, union } = (parsed ?? {}) as { searches?: unknown; union?: unknown };
  if (!Array.isArray(searches)) throw new BinnacleError('BAD_REQUEST', 'Missing `searches` array.');
  if (union === true) throw new BinnacleError('BAD_REQUEST', '`union` is not supported.');
  if (searches.length > searchesMax) throw new BinnacleError('BAD_REQUEST', 'Number of multi searches exceeds `limit_multi_searches` parameter.');
  return searches.map((search: unknown) => (typeof search === 'object' && search !== null ? (search as SearchRequest) : {}));
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new BinnacleError('BAD_REQUEST', 'Bad JSON.', { cause: error });
  }
}

function asAnswer(error: unknown): SearchAnswer {
  const { code, message } = asBinnacleError(error);
  return { body: Buffer.from(JSON.stringify({ code: errorStatus(code), error: message })) };
}

function tellCache(answers: readonly SearchAnswer[], reply: FastifyReply): void {
  const asked = answers.map(({ cache }) => cache).filter((cache) => cache !== undefined);
  // On the raw answer a gateway in this process sees it too, without reading the head as it was sent.
  if (asked.length > 0) reply.raw.setHeader(searchCacheHeader, asked.join(', '));
}
