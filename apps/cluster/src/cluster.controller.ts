import { Controller, Get, HttpCode, Param, Post, Query, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { ClusterSnapshot, type ClusterSnapshotAnswer } from './cluster-snapshot.js';
import { ClusterView, type LeaseView, type TenureView, type WholeView } from './cluster-view.js';
import { type OwnerAnswer, RemoteGcOwner } from './owner.js';
import { historyLimitOf, leaseNameOf, nodeIdOf, type Query as ParsedQuery } from './query.js';
import { RemoteUpload } from './remote-upload.js';
import { Vote, type VoteAnswer } from './vote.js';

@Controller()
export class ClusterController {
  constructor(
    private readonly view: ClusterView,
    private readonly owner: RemoteGcOwner,
    private readonly vote: Vote,
    private readonly snapshot: ClusterSnapshot,
    private readonly upload: RemoteUpload,
  ) {}

  @Get('/api/v1/cluster')
  async cluster(): Promise<WholeView> {
    return this.view.whole();
  }

  @Get('/api/v1/leases')
  async leases(): Promise<{ leases: LeaseView[] }> {
    return { leases: await this.view.leases() };
  }

  @Get('/api/v1/leases/:name/history')
  async history(@Param('name') name: string, @Query() query: ParsedQuery): Promise<{ name: string; tenures: TenureView[] }> {
    const limit = historyLimitOf(query);
    return { name, tenures: await this.view.history(leaseNameOf(name), limit) };
  }

  @Get('/tiflash/remote/owner/info')
  async ownerInfo(@Query() query: ParsedQuery, @Res({ passthrough: true }) reply: FastifyReply): Promise<OwnerAnswer['body']> {
    return answer(reply, await this.owner.info(nodeIdOf(query)));
  }

  @Get('/tiflash/remote/owner/resign')
  async ownerResign(@Query() query: ParsedQuery, @Res({ passthrough: true }) reply: FastifyReply): Promise<OwnerAnswer['body']> {
    return answer(reply, await this.owner.resign(nodeIdOf(query)));
  }

  /** `?node=*` is what no name is: every write node. */
  @Get('/tiflash/remote/upload')
  async remoteUpload(@Query() query: ParsedQuery, @Res({ passthrough: true }) reply: FastifyReply): Promise<OwnerAnswer['body']> {
    return answer(reply, await this.upload.request(query.node === '*' ? undefined : nodeIdOf(query)));
  }

  @Post('/operations/vote')
  @HttpCode(200)
  async voteFor(@Query() query: ParsedQuery): Promise<VoteAnswer> {
    return this.vote.run(nodeIdOf(query));
  }

  /** `?node=*`: of all storage nodes, 201 only when each of them has made one. */
  @Post('/operations/snapshot')
  async takeSnapshot(@Query() query: ParsedQuery, @Res({ passthrough: true }) reply: FastifyReply): Promise<{ success: true } | ClusterSnapshotAnswer> {
    const { snapshot_path: path } = query;
    if (query.node !== '*') {
      await this.snapshot.ofOne(nodeIdOf(query), path);
      void reply.code(201);
      return { success: true };
    }
    const answer = await this.snapshot.ofAll(path);
    void reply.code(answer.success ? 201 : 500);
    return answer;
  }
}

/** The status and the message are the original's; the header tells programs what the message tells people. */
function answer(reply: FastifyReply, { body, wrongMode }: OwnerAnswer): OwnerAnswer['body'] {
  if (wrongMode !== undefined) void reply.header('x-binnacle-role', wrongMode);
  return body;
}
