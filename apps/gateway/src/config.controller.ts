import { BinnacleError } from '@binnacle/contracts/errors';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { bodyObject, bodyText } from '@binnacle/node-kit/request-body';
import { Controller, Get, Headers, HttpCode, Post, Put, Query, Req, Res, type RawBodyRequest } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { parse, stringify, TomlError } from 'smol-toml';
import { changedSettings, settingsOnTheWire } from './settings-change.js';

/** The dynamic configuration, as Typesense changes it (JSON, `/config`) and as TiProxy does (TOML, `/api/admin/config`). */
@Controller()
export class ConfigController {
  constructor(private readonly node: NodeContext) {}

  @Get('config')
  show(): Record<string, number | boolean> {
    return settingsOnTheWire(this.node.settings.value());
  }

  @Post('config')
  @HttpCode(201)
  async change(@Req() request: RawBodyRequest<FastifyRequest>): Promise<{ success: true }> {
    await this.#change(bodyObject(request));
    return { success: true };
  }

  @Get('api/admin/config')
  async showToml(@Query('format') format: unknown, @Headers('accept') accept: unknown, @Res() reply: FastifyReply): Promise<void> {
    const settings = this.show();
    if (format === 'json' || String(accept).includes('application/json')) await reply.send(settings);
    else await reply.type('application/toml').send(stringify(settings));
  }

  /** Merges: a key that is not named stays as it is. Answers as TiProxy does, with an empty JSON text. */
  @Put('api/admin/config')
  async changeByToml(@Req() request: RawBodyRequest<FastifyRequest>, @Res() reply: FastifyReply): Promise<void> {
    await this.#change(tomlTable(bodyText(request)));
    await reply.type('application/json; charset=utf-8').send('""');
  }

  async #change(change: Readonly<Record<string, unknown>>): Promise<void> {
    await this.node.settings.update((current) => changedSettings(current, change));
    this.node.log.info({ change }, 'configuration changed');
  }
}

function tomlTable(text: string): Record<string, unknown> {
  try {
    return parse(text);
  } catch (error) {
    const where = error instanceof TomlError ? ` in line ${error.line}, column ${error.column}` : '';
    throw new BinnacleError('BAD_REQUEST', `Bad TOML${where}.`, { cause: error });
  }
}
