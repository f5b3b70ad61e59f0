import { BinnacleError } from '@binnacle/contracts/errors';
import { bodyObject } from '@binnacle/node-kit/request-body';
import { Controller, HttpCode, Post, Req, Res, type RawBodyRequest } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Compute } from './compute.js';
import { encodeFreshAnswer, type FreshRegionQuestion } from './fresh-format.js';
import type { PendingQuestion } from './manifest-follower.js';

const regionsMax = 65_536;

/** What compute nodes ask a write node; as everything on the node listener it wants the cluster secret. */
@Controller()
export class FreshRowsController {
  constructor(private readonly compute: Compute) {}

  @Post('/internal/v1/fresh-rows')
  @HttpCode(200)
  async rows(@Req() request: RawBodyRequest<FastifyRequest>, @Res() reply: FastifyReply): Promise<FastifyReply> {
    const questions = questionsOf<FreshRegionQuestion>(request, ['regionId', 'term', 'after']);
    const answer = await this.compute.source.answer(questions);
    return reply.type('application/octet-stream').send(Buffer.concat(encodeFreshAnswer(answer)));
  }

  @Post('/internal/v1/pending-writes')
  @HttpCode(200)
  async pending(@Req() request: RawBodyRequest<FastifyRequest>): Promise<[number, number][]> {
    return [...(await this.compute.source.pending(questionsOf<PendingQuestion>(request, ['regionId', 'term', 'uploadedVersion'])))];
  }
}

function questionsOf<T>(request: RawBodyRequest<FastifyRequest>, names: readonly (keyof T & string)[]): T[] {
  const { regions } = bodyObject(request);
  const isGood = Array.isArray(regions) && regions.length <= regionsMax && regions.every((region) => names.every((name) => Number.isSafeInteger((region as Record<string, unknown> | null)?.[name])));
  if (!isGood) throw new BinnacleError('BAD_REQUEST', 'regions must be a list of questions');
  return regions as T[];
}
