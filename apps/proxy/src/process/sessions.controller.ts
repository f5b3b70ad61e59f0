import { Controller, Delete, Get, HttpCode, Param, Post, Query, type RawBodyRequest, Req, Res } from '@nestjs/common';
import { BinnacleError } from '@binnacle/contracts/errors';
import { bodyObject, bodyText } from '@binnacle/node-kit/request-body';
import { validBody } from '@binnacle/node-kit/valid-body';
import { IsOptional, IsString, Matches } from 'class-validator';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type PlacedList, type PlacedSession, SessionDirectory } from './session-directory.js';
import { sessionFilter, sessionId } from './session-query.js';
import { SqlProxy } from './sql-proxy.js';
import type { MoveOutcome, SessionList, SessionSummary } from './worker-protocol.js';

class MigrateBody {
  /** A backend, `host:port`; absent: the best one that fits. */
  @IsOptional() @IsString() @Matches(/^\S{1,262}$/) to?: string;
}

/** `/api/v1/sessions`, of all proxy nodes or the named one. */
@Controller('api/v1/sessions')
export class SessionsController {
  constructor(private readonly directory: SessionDirectory) {}

  @Get()
  async list(@Query() query: Record<string, unknown>): Promise<object> {
    const { sessions, total, away }: PlacedList = await this.directory.list(sessionFilter(query), nodeOf(query));
    return { sessions: sessions.map(shown), total, ...(away.length > 0 && { away }) };
  }

  @Get(':id')
  async one(@Param('id') id: string, @Query() query: Record<string, unknown>): Promise<object> {
    return shown(await this.directory.one(sessionId(id), nodeOf(query)));
  }

  /** 200 with where it went and how long its client waited, 409 with exactly why it could not. */
  @Post(':id/migrate')
  async migrate(@Param('id') given: string, @Query() query: Record<string, unknown>, @Req() request: RawBodyRequest<FastifyRequest>, @Res({ passthrough: true }) reply: FastifyReply): Promise<object> {
    const { sessionId: id, node, from, to, result, why, pauseMs } = await this.directory.migrate(sessionId(given), wishedTarget(request), nodeOf(query));
    void reply.code(result === 'moved' ? 200 : 409);
    if (result === 'moved') return { id, node, from, to, result, pauseMs: Math.round(pauseMs * 100) / 100 };
    return { error: { code: 'CONFLICT', message: why.map(({ text }) => text).join('; ') || `the session could not be moved: ${result}` }, id, node, from, to, result, why };
  }

  @Delete(':id')
  async close(@Param('id') id: string, @Query() query: Record<string, unknown>): Promise<object> {
    const number = sessionId(id);
    if (!(await this.directory.close(number, nodeOf(query)))) throw new BinnacleError('NOT_FOUND', `there is no session ${number}`);
    return { id: number, closed: true };
  }
}

/** What proxy nodes ask of each other: about their own sessions alone. */
@Controller('agent/v1/proxy')
export class ProxyAgentController {
  constructor(private readonly proxy: SqlProxy) {}

  @Get('sessions')
  list(@Query() query: Record<string, unknown>): Promise<SessionList> {
    return this.proxy.workers.list(sessionFilter(query));
  }

  @Get('sessions/:id')
  async one(@Param('id') id: string): Promise<SessionSummary> {
    return orNotFound(await this.proxy.workers.session(sessionId(id)), id);
  }

  @Post('sessions/:id/migrate')
  @HttpCode(200)
  async migrate(@Param('id') id: string, @Req() request: RawBodyRequest<FastifyRequest>): Promise<MoveOutcome> {
    return orNotFound(await this.proxy.directory.migrateOwn(sessionId(id), wishedTarget(request)), id);
  }

  @Delete('sessions/:id')
  async close(@Param('id') id: string): Promise<{ closed: boolean }> {
    return { closed: (await this.proxy.workers.askHolder('close', { id: sessionId(id) })) ?? false };
  }
}

/** No body at all is no wish. */
function wishedTarget(request: RawBodyRequest<FastifyRequest>): string | undefined {
  return bodyText(request).trim() === '' ? undefined : validBody(MigrateBody, bodyObject(request)).to;
}

function orNotFound<Found>(found: Found | undefined, id: string): Found {
  if (found === undefined) throw new BinnacleError('NOT_FOUND', `there is no session ${id} here`);
  return found;
}

function nodeOf({ node }: Readonly<Record<string, unknown>>): string | undefined {
  return typeof node === 'string' ? node : undefined;
}

/** As people read it: times as they write them. */
function shown({ sinceMs, ...session }: PlacedSession): object {
  return { ...session, since: new Date(sinceMs).toISOString() };
}
