import { BinnacleError } from '@binnacle/contracts/errors';
import { bodyObject } from '@binnacle/node-kit/request-body';
import { Controller, Delete, Get, Param, Put, Req, type RawBodyRequest } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { Catalog } from './catalog.js';
import { checkedAliasName } from './schema-check.js';
import type { Alias } from './schema.js';

interface AliasView {
  readonly collection_name: string;
  readonly name: string;
}

/** Typesense's `/aliases`: second names of collections, which any node answers for. */
@Controller('aliases')
export class AliasesController {
  constructor(private readonly catalog: Catalog) {}

  @Get()
  list(): { aliases: AliasView[] } {
    return { aliases: this.catalog.aliases().map(viewOf) };
  }

  @Get(':alias')
  async get(@Param('alias') name: string): Promise<AliasView> {
    return viewOf(await this.catalog.lookUpAlias(name));
  }

  @Put(':alias')
  async put(@Param('alias') name: string, @Req() request: RawBodyRequest<FastifyRequest>): Promise<AliasView> {
    const { collection_name: table } = bodyObject(request);
    if (typeof table !== 'string' || table === '') throw new BinnacleError('BAD_REQUEST', 'Parameter `collection_name` is required.');
    const alias = { name: checkedAliasName(name), table };
    await this.catalog.setAlias(alias);
    return viewOf(alias);
  }

  @Delete(':alias')
  async delete(@Param('alias') name: string): Promise<AliasView> {
    const alias = await this.catalog.lookUpAlias(name);
    await this.catalog.dropAlias(name);
    return viewOf(alias);
  }
}

function viewOf({ name, table }: Alias): AliasView {
  return { collection_name: table, name };
}
