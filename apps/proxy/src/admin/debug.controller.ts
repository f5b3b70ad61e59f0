import { crc32 } from 'node:zlib';
import { Controller, Delete, Get, Header, HttpCode, Post, Put, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { ProxySettings } from '../settings/proxy-settings.js';
import { done, json } from './done.js';
import { ProxyOperations } from './proxy-operations.js';

/** What load balancers in front of the SQL port ask, and people who want it to look ill; in TiProxy's forms. */
@Controller('api')
export class DebugController {
  /** Only here and until the next start: who takes a proxy out this way does it to this one. */
  #reportedIll = false;

  constructor(
    private readonly operations: ProxyOperations,
    private readonly settings: ProxySettings,
  ) {}

  @Get('debug/health')
  async health(@Res() reply: FastifyReply): Promise<void> {
    const isWell = this.operations.isOpen() && !this.#reportedIll;
    await reply.code(isWell ? 200 : 502).send({ config_checksum: crc32(JSON.stringify(this.settings.current)) });
  }

  @Put('debug/health')
  @Header('content-type', json)
  reportIll(): string {
    this.#reportedIll = true;
    return done;
  }

  @Delete('debug/health')
  @Header('content-type', json)
  reportAsIs(): string {
    this.#reportedIll = false;
    return done;
  }

  @Post('debug/redirect')
  @HttpCode(200)
  @Header('content-type', json)
  async redirect(): Promise<string> {
    await this.operations.redistribute();
    return done;
  }

  @Get('backend/metrics')
  async backendMetrics(@Res() reply: FastifyReply): Promise<void> {
    await reply.type(json).send(JSON.stringify(this.operations.backendReadings()));
  }
}
