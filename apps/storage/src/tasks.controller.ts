import { EventStreams } from '@binnacle/node-kit/event-streams';
import { Controller, Get, Headers, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { type Task, type TaskChange, Tasks } from './tasks.js';

@Controller()
export class TasksController {
  constructor(
    private readonly tasks: Tasks,
    private readonly streams: EventStreams<TaskChange>,
  ) {}

  @Get('/api/v1/tasks')
  list(): { tasks: Task[] } {
    return { tasks: this.tasks.all() };
  }

  @Get('/api/v1/tasks/events')
  events(@Headers('last-event-id') lastEventId: string | undefined, @Res() reply: FastifyReply): void {
    this.streams.answer(reply, lastEventId);
  }
}
