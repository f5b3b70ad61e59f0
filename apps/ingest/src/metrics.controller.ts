import { Controller, Get, Headers, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { Readable } from 'node:stream';
import { exposition, expositionFormat, expositionTypes } from './exposition.js';
import { Ingest } from './ingest.js';

@Controller()
export class MetricsController {
  constructor(private readonly ingest: Ingest) {}

  /** What has been ingested, for Prometheus; `/metrics` is about the node itself. */
  @Get('/metrics/ingested')
  ingested(@Headers('accept') accept: string | undefined, @Res() reply: FastifyReply): void {
    const format = expositionFormat(accept);
    void reply.type(expositionTypes[format]).send(Readable.from(exposition(this.ingest.store.all(), format)));
  }
}
