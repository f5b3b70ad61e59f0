import { BinnacleError } from '@binnacle/contracts/errors';
import { Controller, Get, Query, Res } from '@nestjs/common';
import { HealthCheck } from '@nestjs/terminus';
import type { FastifyReply } from 'fastify';
import { ClusterHealth, type HealthAnswer } from './cluster-health.js';
import { DeepCheck, type DeepCheckAnswer } from './deep-check.js';

@Controller()
export class HealthController {
  constructor(
    private readonly deep: DeepCheck,
    private readonly cluster: ClusterHealth,
  ) {}

  @Get('/deepcheck')
  @HealthCheck({ noCache: true })
  async deepcheck(@Res({ passthrough: true }) reply: FastifyReply): Promise<DeepCheckAnswer['body']> {
    const { status, body } = await this.deep.run();
    void reply.code(status);
    return body;
  }

  @Get('/health')
  health(@Query('node') node: unknown, @Res({ passthrough: true }) reply: FastifyReply): HealthAnswer['body'] {
    if (node !== undefined && typeof node !== 'string') throw new BinnacleError('BAD_REQUEST', 'node is given more than once');
    const { status, body } = this.cluster.answer(node || undefined);
    void reply.code(status);
    return body;
  }
}
