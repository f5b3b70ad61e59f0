import { BinnacleError } from '@binnacle/contracts/errors';
import { asBinnacleError } from '@binnacle/node-kit/error-answers';
import { bodyObject } from '@binnacle/node-kit/request-body';
import { Controller, Get, HttpCode, Param, Post, Query, type RawBodyRequest, Req } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import type { TrafficReport } from '../report/traffic-report.js';
import type { PartAnswer } from './capture-run.js';
import type { PartEnd, PartOrder, PartProgress } from './node-capture.js';
import type { TrafficJob } from './traffic-job.js';
import { TrafficJobs } from './traffic-jobs.js';

type Request = RawBodyRequest<FastifyRequest>;

/** What proxy nodes ask of each other about traffic jobs. Nodes know the cluster secret, so what they send is taken as it is. */
@Controller('agent/v1/proxy/traffic')
export class TrafficAgentController {
  constructor(private readonly jobs: TrafficJobs) {}

  @Post('capture/start')
  @HttpCode(200)
  start(@Req() request: Request): Promise<PartAnswer> {
    return answered(() => this.jobs.capture.start(bodyObject(request) as unknown as PartOrder));
  }

  @Post('capture/progress')
  @HttpCode(200)
  progress(@Query('job') job: string): Promise<PartAnswer> {
    return answered(() => this.jobs.capture.progress(job));
  }

  @Post('capture/stop')
  @HttpCode(200)
  stop(@Query('job') job: string, @Req() request: Request): Promise<PartAnswer> {
    return answered(() => this.jobs.capture.stop(job, bodyObject(request) as unknown as PartEnd));
  }

  @Post('capture/left')
  @HttpCode(200)
  left(@Query('job') job: string, @Query('node') node: string, @Req() request: Request): object {
    this.jobs.partLeft(job, node, bodyObject(request) as unknown as PartProgress);
    return {};
  }

  @Post('cancel')
  @HttpCode(200)
  async cancel(@Query('job') job: string): Promise<{ job?: TrafficJob }> {
    const ended = await this.jobs.cancelOwn(job);
    return ended === undefined ? {} : { job: ended };
  }

  @Get('jobs/:id')
  job(@Param('id') id: string): TrafficJob {
    return orNotFound(this.jobs.ownJob(id), id);
  }

  @Get('reports/:id')
  async report(@Param('id') id: string): Promise<TrafficReport> {
    return orNotFound(await this.jobs.ownReport(id), id);
  }
}

/** Refusals travel in the answer, because their words are for the operator at the other node. */
async function answered(work: () => Promise<PartProgress | undefined>): Promise<PartAnswer> {
  let progress: PartProgress | undefined;
  try {
    progress = await work();
  } catch (error) {
    return { error: asBinnacleError(error).message };
  }
  if (progress === undefined) throw new BinnacleError('NOT_FOUND', 'this node has no part in that capture');
  return { progress };
}

function orNotFound<Found>(found: Found | undefined, id: string): Found {
  if (found === undefined) throw new BinnacleError('NOT_FOUND', `there is no traffic job ${id.slice(0, 64)} here`);
  return found;
}
