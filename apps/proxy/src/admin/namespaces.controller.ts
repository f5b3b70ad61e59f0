import { BinnacleError } from '@binnacle/contracts/errors';
import { bodyObject } from '@binnacle/node-kit/request-body';
import { Controller, Delete, Get, Header, HttpCode, Param, Post, Put, Query, Req, type RawBodyRequest } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import type { NamespaceBody } from '../tenants/namespace-body.js';
import { Namespaces } from '../tenants/namespaces.js';
import { done, json } from './done.js';

/** `/api/admin/namespace`, in TiProxy's forms. */
@Controller('api/admin/namespace')
export class NamespacesController {
  constructor(private readonly namespaces: Namespaces) {}

  @Get()
  list(): NamespaceBody[] {
    return this.namespaces.list();
  }

  @Get(':namespace')
  one(@Param('namespace') name: string): NamespaceBody {
    const found = this.namespaces.get(name);
    if (found === undefined) throw noSuch(name);
    return found;
  }

  @Put(':namespace')
  @Header('content-type', json)
  async put(@Param('namespace') name: string, @Req() request: RawBodyRequest<FastifyRequest>): Promise<string> {
    await this.namespaces.put(name, namespaceJson(request));
    return done;
  }

  @Delete(':namespace')
  @Header('content-type', json)
  async remove(@Param('namespace') name: string): Promise<string> {
    if (!(await this.namespaces.remove(name))) throw noSuch(name);
    return done;
  }

  @Post('commit')
  @HttpCode(200)
  @Header('content-type', json)
  async commit(@Query('namespace') names: unknown): Promise<string> {
    await this.namespaces.commit([names ?? []].flat().map(String));
    return done;
  }
}

function namespaceJson(request: RawBodyRequest<FastifyRequest>): Record<string, unknown> {
  try {
    return bodyObject(request);
  } catch (error) {
    throw new BinnacleError('BAD_REQUEST', 'bad namespace json', { cause: error });
  }
}

function noSuch(name: string): BinnacleError {
  return new BinnacleError('NOT_FOUND', `there is no namespace ${JSON.stringify(name.slice(0, 64))}`);
}
