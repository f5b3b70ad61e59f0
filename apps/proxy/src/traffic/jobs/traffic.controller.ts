import { BinnacleError, errorStatus } from '@binnacle/contracts/errors';
import { asBinnacleError } from '@binnacle/node-kit/error-answers';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Controller, Get, Post, Query, type RawBodyRequest, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { htmlReport, htmlReportSecurityPolicy } from '../report/html-report.js';
import { textReport } from '../report/text-report.js';
import { captureWish } from './capture-form.js';
import { replayWish } from './replay-form.js';
import { shownJob, type TrafficJob } from './traffic-job.js';
import { bad, TrafficForm } from './traffic-form.js';
import { TrafficJobs } from './traffic-jobs.js';

const text = 'text/plain; charset=utf-8';
const json = 'application/json; charset=utf-8';

/**
 * `/api/traffic`, in TiProxy's forms and texts: tiproxyctl and TiDB print what they get, and look at nothing but whether the status is 200. What is
 * wrong with a request is 400 and not TiProxy's 500, and a job that runs already is 409.
 */
@Controller('api/traffic')
export class TrafficController {
  constructor(
    private readonly jobs: TrafficJobs,
    private readonly node: NodeContext,
  ) {}

  /** With `Accept: application/json` the answer is the job, for programs that follow it. */
  @Post('capture')
  capture(@Req() request: RawBodyRequest<FastifyRequest>, @Res() reply: FastifyReply): Promise<void> {
    return this.#answer(reply, 'capture', 'start capture failed', async () => {
      const job = await this.jobs.startCapture(captureWish(TrafficForm.of(request), this.node.clock.nowMs()));
      await reply.send(began(request, reply, 'capture started', job));
    });
  }

  @Post('replay')
  replay(@Req() request: RawBodyRequest<FastifyRequest>, @Res() reply: FastifyReply): Promise<void> {
    return this.#answer(reply, 'replay', 'start replay failed', async () => {
      const job = await this.jobs.startReplay(replayWish(TrafficForm.of(request), this.node.clock.nowMs()));
      await reply.send(began(request, reply, 'replay started', job));
    });
  }

  /** Answers when the job has ended. It is always graceful: what is buffered is written, what was sent is waited for. */
  @Post('cancel')
  cancel(@Req() request: RawBodyRequest<FastifyRequest>, @Res() reply: FastifyReply): Promise<void> {
    return this.#answer(reply, 'cancel', 'cancel failed', async () => {
      const form = TrafficForm.of(request);
      const type = form.text('type');
      form.boolean('graceful', true);
      form.end();
      if (!['', 'capture', 'replay'].includes(type)) throw bad(`type is capture or replay, not ${JSON.stringify(type.slice(0, 100))}`);
      const ended = await this.jobs.cancel(type === '' ? ['capture', 'replay'] : [type as TrafficJob['type']]);
      if (ended === 'none') return void (await reply.send('no job running'));
      if (ended === 'other type') return void (await reply.send('no privilege to stop the job'));
      await reply.send(`stopped: ${JSON.stringify(shownJob(ended))}`);
    });
  }

  @Get('show')
  show(@Res() reply: FastifyReply): Promise<void> {
    return this.#answer(reply, 'show', 'show failed', async () => {
      const jobs = await this.jobs.show();
      await reply.type(json).send(JSON.stringify(jobs.map(shownJob), undefined, 2));
    });
  }

  @Get('report')
  report(@Query('job') job: unknown, @Query('format') format: unknown, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    return this.#answer(reply, 'report', 'report failed', async () => {
      const wanted = formatOf(format, request);
      const report = await this.jobs.report(typeof job === 'string' && job !== '' ? job : undefined);
      void reply.header('cache-control', 'no-store').header('x-content-type-options', 'nosniff');
      if (wanted === 'text') return void (await reply.send(textReport(report)));
      if (wanted === 'json') return void (await reply.type(json).send(JSON.stringify(report)));
      await reply.type('text/html; charset=utf-8').header('content-security-policy', htmlReportSecurityPolicy).send(htmlReport(report));
    });
  }

  /** TiProxy says what is wrong as plain text, here as on the gateway. */
  async #answer(reply: FastifyReply, what: string, failed: string, work: () => Promise<void>): Promise<void> {
    void reply.type(text).code(200);
    try {
      this.jobs.checkEnabled(what);
      await work();
    } catch (error) {
      const told = asBinnacleError(error);
      if (told.code === 'INTERNAL') this.node.log.error({ err: error, route: `/api/traffic/${what}` }, 'a request failed');
      const message = /^traffic \w+ is disabled$/.test(told.message) ? told.message : `${failed}: ${told.message}`;
      if (told.retryAfterS !== undefined) void reply.header('retry-after', String(told.retryAfterS));
      await reply.type(text).code(errorStatus(told.code, 'tiproxy')).send(message);
    }
  }
}

function began(request: FastifyRequest, reply: FastifyReply, message: string, job: TrafficJob): string {
  if (!request.headers.accept?.includes('application/json')) return message;
  void reply.type(json);
  return JSON.stringify(shownJob(job));
}

function formatOf(format: unknown, { headers: { accept = '' } }: FastifyRequest): 'json' | 'html' | 'text' {
  if (format === 'json' || format === 'html' || format === 'text') return format;
  if (format !== undefined && format !== '') throw new BinnacleError('BAD_REQUEST', 'format is json, html or text');
  return accept.includes('text/html') ? 'html' : accept.includes('text/plain') ? 'text' : 'json';
}
