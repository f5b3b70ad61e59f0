import { BinnacleError } from '@binnacle/contracts/errors';
import { forwardedByHeader } from '@binnacle/contracts/internal-headers';
import { untilClientGone } from '@binnacle/node-kit/client-gone';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { bodyText } from '@binnacle/node-kit/request-body';
import { Controller, HttpCode, Post, Query, Req, Res, type RawBodyRequest } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Table } from '../tables/schema.js';
import { WriteNodes } from '../tables/write-nodes.js';
import { AnswerStream } from './answer-stream.js';
import { Compute } from './compute.js';
import { mediaTypeOf, parseSqlRequest } from './sql-request.js';

/** In what is said when the other node goes away meanwhile. */
const anyTable = { name: 'of the query' } as Table;

/** SQL over the tables of a keyspace. Compute nodes answer it; another storage node passes it on to one of them. */
@Controller()
export class SqlController {
  constructor(
    private readonly node: NodeContext,
    private readonly compute: Compute,
    private readonly nodes: WriteNodes,
  ) {}

  @Post('/api/v1/sql')
  @HttpCode(200)
  async sql(@Req() request: RawBodyRequest<FastifyRequest>, @Query() query: Record<string, unknown>, @Res() reply: FastifyReply): Promise<void> {
    const text = bodyText(request);
    if (!this.compute.isCompute()) return this.#passOn(request, reply, Buffer.from(text));
    const parsed = parseSqlRequest(text, query, request.headers.accept);
    const gone = untilClientGone(reply);
    const answer = new AnswerStream(reply, { 'content-type': mediaTypeOf[parsed.format], 'x-content-type-options': 'nosniff' }, gone);
    try {
      await this.compute.sql().answer(parsed, answer, gone);
      await answer.end();
    } catch (error) {
      if (gone.aborted) return;
      if (!answer.breakOff()) throw error;
      this.node.log.warn({ err: error }, 'an answer to SQL was broken off');
    }
  }

  async #passOn(request: FastifyRequest, reply: FastifyReply, body: Buffer): Promise<void> {
    if (request.headers[forwardedByHeader] !== undefined) throw new BinnacleError('NO_TARGET', 'The nodes do not agree yet on which of them answer queries.', { retryAfterS: 1 });
    await this.nodes.forward(this.compute.otherNode(), anyTable, request, reply, body);
  }
}
