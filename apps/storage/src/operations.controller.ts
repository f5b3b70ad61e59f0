import { NodeContext } from '@binnacle/node-kit/node-context';
import { Controller, HttpCode, Post, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { Compaction } from './compaction.js';
import { ResultCache } from './search/result-cache.js';

interface Success {
  readonly success: boolean;
}

/** Typesense's `/operations` on one storage node; `snapshot` and `vote` are decided by the cluster role. */
@Controller()
export class OperationsController {
  constructor(
    private readonly node: NodeContext,
    private readonly compaction: Compaction,
    private readonly results: ResultCache,
  ) {}

  @Post('/operations/db/compact')
  @HttpCode(200)
  async compact(@Res({ passthrough: true }) reply: FastifyReply): Promise<Success> {
    const { bytesBefore, bytesAfter } = await this.compaction.run();
    void reply.headers({ 'x-binnacle-bytes-before': bytesBefore, 'x-binnacle-bytes-after': bytesAfter });
    return { success: true };
  }

  @Post('/operations/cache/clear')
  @HttpCode(200)
  clearCache(): Success {
    this.results.clear();
    return { success: true };
  }

  /** Peers are what the registry says, always: it is true when the registry can be read now and knows this node. */
  @Post('/operations/reset_peers')
  @HttpCode(200)
  async resetPeers(): Promise<Success> {
    const nodes = await this.node.state.nodes();
    return { success: nodes.some(({ id, incarnation }) => id === this.node.id && incarnation === this.node.incarnation) };
  }
}
