import { EventStreams } from '@binnacle/node-kit/event-streams';
import { Controller, Get, Headers, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import type { ClusterChange } from './change.js';

@Controller()
export class EventsController {
  constructor(private readonly streams: EventStreams<ClusterChange>) {}

  @Get('/api/v1/cluster/events')
  events(@Headers('last-event-id') lastEventId: string | undefined, @Res() reply: FastifyReply): void {
    this.streams.answer(reply, lastEventId);
  }
}
