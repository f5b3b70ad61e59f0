import { BinnacleError } from '@binnacle/contracts/errors';
import { Controller, Get, Param, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Catalog } from '../tables/catalog.js';
import { pathOf, tiflashJson } from '../tiflash-answer.js';
import { RegionLagView } from './region-lag.js';
import { parseKeyspaceId, parseTableId, syncStatusText } from './sync-status.js';

/** A catalog that has not come here by then does not. */
const schemaWaitMsMax = 5_000;

/** TiFlash's `/tiflash/sync-*`: what the replicas of this node show. */
@Controller()
export class SyncController {
  constructor(
    private readonly catalog: Catalog,
    private readonly lag: RegionLagView,
  ) {}

  @Get('/tiflash/sync-status/:table')
  ofTable(@Param('table') table: string, @Res() reply: FastifyReply): FastifyReply {
    return text(reply, syncStatusText(this.catalog.byId(parseTableId(table)), (id) => this.lag.lagMs(id)));
  }

  @Get('/tiflash/sync-status/keyspace/:keyspace/table/:table')
  ofKeyspaceTable(@Param('keyspace') keyspace: string, @Param('table') table: string, @Res() reply: FastifyReply): FastifyReply {
    const keyspaceId = parseKeyspaceId(keyspace);
    const found = this.catalog.byId(parseTableId(table));
    return text(reply, syncStatusText(found?.keyspace === keyspaceId ? found : undefined, (id) => this.lag.lagMs(id)));
  }

  @Get('/tiflash/sync-region/keyspace/:keyspace')
  ofKeyspace(@Param('keyspace') keyspace: string, @Res() reply: FastifyReply): FastifyReply {
    const keyspaceId = parseKeyspaceId(keyspace);
    const ids = this.catalog.all().filter((table) => table.keyspace === keyspaceId).flatMap(({ regions }) => regions.map(({ id }) => id));
    const regions = ids.filter((id) => Number.isFinite(this.lag.lagMs(id)));
    return tiflashJson(reply, 200, { count: regions.length, regions });
  }

  /** Done once this node has the table as cluster state has it at the moment of the question. */
  @Get('/tiflash/sync-schema/keyspace/:keyspace/table/:table')
  async schema(@Param('keyspace') keyspace: string, @Param('table') table: string, @Res() reply: FastifyReply): Promise<FastifyReply> {
    const keyspaceId = parseKeyspaceId(keyspace);
    const tableId = parseTableId(table);
    const stored = await this.catalog.stored().catch(() => undefined);
    const wanted = stored?.tables.find(({ id, keyspace: of }) => id === tableId && of === keyspaceId);
    const isDone = wanted !== undefined && (await this.catalog.hasSchema(tableId, wanted.schemaVersion, schemaWaitMsMax));
    return isDone ? text(reply, '') : tiflashJson(reply, 500, { errMsg: 'sync schema failed' });
  }

  @Get(['/tiflash/sync-status', '/tiflash/sync-status/keyspace/:keyspace', '/tiflash/sync-region', '/tiflash/sync-region/keyspace'])
  refused(@Req() request: FastifyRequest): never {
    throw new BinnacleError('BAD_REQUEST', `invalid request: ${pathOf(request)}`);
  }
}

const text = (reply: FastifyReply, body: string): FastifyReply => reply.code(200).type('text/plain').send(body);
