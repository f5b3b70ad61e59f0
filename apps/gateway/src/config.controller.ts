import { BinnacleError } from '@binnacle/contracts/errors';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { bodyObject, bodyText } from '@binnacle/node-kit/request-body';
import { Controller, Get, Headers, HttpCode, Post, Put, Query, Req, Res, type RawBodyRequest } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { parse, stringify, TomlError } from 'smol-toml';
import { changedConfiguration, changedSettings, configurationOnTheWire, settingsOnTheWire } from './settings-change.js';

/** The dynamic configuration: as Typesense changes it (JSON, `/config`), and with TiProxy's sections as TiProxy does (TOML or JSON, `/api/admin/config`). */
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
    const change = bodyObject(request);
    await this.node.settings.update((current) => changedSettings(current, change));
    this.node.log.info({ change }, 'configuration changed');
    return { success: true };
  }

  @Get('api/admin/config')
  async showAll(@Query('format') format: unknown, @Headers('accept') accept: unknown, @Res() reply: FastifyReply): Promise<void> {
    const all = configurationOnTheWire(this.node.config, this.node.settings.value());
    if (format === 'json' || String(accept).includes('application/json')) await reply.send(all);
    else await reply.type('application/toml').send(stringify(all));
  }

  /** Merges: a key that is not named stays as it is. Answers as TiProxy does, with an empty JSON text. */
  @Put('api/admin/config')
  async changeAll(@Req() request: RawBodyRequest<FastifyRequest>, @Res() reply: FastifyReply): Promise<void> {
    // No TOML begins like this; curl declares both as a form.
    const change = bodyText(request).trimStart().startsWith('{') ? bodyObject(request) : tomlTable(bodyText(request));
    const warnings = new Set<string>();
    await this.node.settings.update((current) => changedConfiguration(this.node.config, current, change, (text) => warnings.add(text)));
    this.node.log.info({ change }, 'configuration changed');
    for (const warning of warnings) this.node.log.warn(warning);
    await reply.type('application/json; charset=utf-8').send('""');
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
