import { BinnacleError } from '@binnacle/contracts/errors';
import { untilClientGone } from '@binnacle/node-kit/client-gone';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Controller, Delete, Get, Param, Query, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { given, targetOf } from './capture-query.js';
import { HeapDumps, type DumpList } from './heap-dumps.js';
import type { Query as ParsedQuery } from './profile-query.js';

const intervalDefaultS = 60;
const intervalMaxS = 86_400;
const textType = 'text/plain';

/** TiFlash's periodic heap dumps, and what profiling nodes ask of each other about them. */
@Controller()
export class HeapDumpsController {
  constructor(
    private readonly node: NodeContext,
    private readonly heapDumps: HeapDumps,
  ) {}

  @Get('/debug/pprof/heap_activate')
  async activate(@Query() query: ParsedQuery, @Res({ passthrough: true }) reply: FastifyReply): Promise<string> {
    await this.heapDumps.activate(targetOf(query, this.node.id), intervalOf(query), untilClientGone(reply));
    void reply.type(textType);
    return 'activate heap profile success';
  }

  @Get('/debug/pprof/heap_list')
  async list(@Query() query: ParsedQuery, @Res({ passthrough: true }) reply: FastifyReply): Promise<string> {
    const { dumps, away } = await this.heapDumps.list(targetOf(query, this.node.id));
    void reply.type(textType);
    if (away.length > 0) void reply.header('x-binnacle-failed-nodes', away.join(','));
    return dumps.map(({ path, takenAtMs }) => `${path}\t\t${new Date(takenAtMs).toISOString().slice(0, 19).replace('T', ' ')}`).join('\n');
  }

  @Get('/debug/pprof/heap_deactivate')
  async deactivate(@Query() query: ParsedQuery, @Res({ passthrough: true }) reply: FastifyReply): Promise<string> {
    const wasActive = await this.heapDumps.deactivate(targetOf(query, this.node.id));
    void reply.type(textType);
    return wasActive ? 'deactivate heap profile success' : 'no heap profile is running';
  }

  @Get('/agent/v1/heap-dumps/:node')
  async listOwn(@Param('node') nodeId: string): Promise<DumpList> {
    return this.heapDumps.listOwn(nodeId);
  }

  @Delete('/agent/v1/heap-dumps/:node')
  async deactivateOwn(@Param('node') nodeId: string): Promise<{ deactivated: boolean }> {
    return { deactivated: await this.heapDumps.deactivateOwn(nodeId) };
  }
}

function intervalOf(query: ParsedQuery): number {
  const text = given(query, 'interval');
  if (text === undefined) return intervalDefaultS;
  const interval = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (interval < 1 || interval > intervalMaxS) throw new BinnacleError('BAD_REQUEST', `interval must be a whole number of seconds from 1 to ${intervalMaxS}`);
  return interval;
}
