import { ClusterStateUnavailable } from '@binnacle/cluster-state/cluster-state';
import { BinnacleError } from '@binnacle/contracts/errors';
import { isInMode } from '@binnacle/contracts/disagg-mode';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { ObjectStoreUnavailable } from '@binnacle/object-store/object-store';
import { Controller, Get, HttpCode, Param, Post, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { OwnRegions } from '../regions/own-regions.js';
import { pathOf, tiflashJson, wrongMode } from '../tiflash-answer.js';
import { Collector } from './collector.js';
import type { Leaks } from './leaks.js';
import { parseStoreIds, remoteInfo } from './remote-info.js';
import { RemoteStore } from './remote-store.js';
import { type RegionLags, RegionLagView } from './region-lag.js';
import { Uploader } from './uploader.js';

const infoDeadlineMs = 55_000;

/** TiFlash's `/tiflash/remote` but for its file cache, byte for byte, and what there is to know of the remote store besides. */
@Controller()
export class RemoteController {
  constructor(
    private readonly node: NodeContext,
    private readonly remote: RemoteStore,
    private readonly regions: OwnRegions,
    private readonly uploader: Uploader,
    private readonly collector: Collector,
    private readonly lag: RegionLagView,
  ) {}

  @Get('/tiflash/remote/gc')
  async collect(@Res() reply: FastifyReply): Promise<FastifyReply> {
    if (!this.#isWriteNode()) return wrongMode(reply, this.node.config.storage.modes, 'can not trigger gc');
    this.remote.store();
    const isOwner = this.collector.isOwner();
    if (isOwner) this.collector.wake();
    return tiflashJson(reply, 200, { ...(isOwner ? this.#owns() : await this.#ownedBy()), execute: String(isOwner) });
  }

  /** `/tiflash/remote/upload` comes in at the cluster role, which knows all write nodes. */
  @Post('/agent/v1/remote/upload')
  @HttpCode(200)
  upload(): { isRequested: true } {
    this.remote.store();
    this.uploader.request();
    return { isRequested: true };
  }

  @Get('/tiflash/remote/info')
  async infoOfAll(@Res() reply: FastifyReply): Promise<FastifyReply> {
    return this.#info(reply, undefined);
  }

  @Get('/tiflash/remote/info/:stores')
  async info(@Param('stores') stores: string, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<FastifyReply> {
    const wanted = parseStoreIds(stores);
    if (wanted !== undefined || !this.#isWriteNode()) return this.#info(reply, wanted);
    return tiflashJson(reply, 400, { message: `invalid store_id in request: ${pathOf(request)}` });
  }

  @Get('/api/v1/remote/leaks')
  async leaks(): Promise<Leaks> {
    return this.collector.leaks().catch(storeError);
  }

  /** What the cluster role asks for `/api/v1/cluster`. */
  @Get('/agent/v1/region-lag')
  regionLag(): RegionLags | Record<string, never> {
    return this.lag.lags() ?? {};
  }

  async #info(reply: FastifyReply, wanted: readonly number[] | undefined): Promise<FastifyReply> {
    if (!this.#isWriteNode()) return wrongMode(reply, this.node.config.storage.modes, 'can not get remote info');
    const nodeIds = this.node.directory.byRole('storage').filter((node) => isInMode(node, 'write')).map(({ id }) => id);
    const options = { signal: AbortSignal.timeout(infoDeadlineMs) };
    const stores = await remoteInfo(this.remote.store(), this.regions.manifests, { nodeIds, wanted }, options).catch(storeError);
    return tiflashJson(reply, 200, { stores });
  }

  #owns(): { status: string; owner_id: string } {
    return { status: 'IsOwner', owner_id: this.node.candidate().address };
  }

  async #ownedBy(): Promise<{ status: string; owner_id: string }> {
    try {
      const owner = (await this.node.state.lease('remote-gc'))?.owner;
      return owner === undefined ? { status: 'NoLeader', owner_id: '' } : { status: 'NotOwner', owner_id: owner.address };
    } catch (error) {
      if (!(error instanceof ClusterStateUnavailable)) throw error;
      // The original's word for an election service that does not answer.
      return { status: 'GrpcError', owner_id: '' };
    }
  }

  #isWriteNode(): boolean {
    return this.node.config.storage.modes.includes('write');
  }
}

function storeError(error: unknown): never {
  if (error instanceof ObjectStoreUnavailable) throw new BinnacleError('NO_TARGET', 'The remote store does not answer.', { cause: error, retryAfterS: 5 });
  if ((error as Error).name === 'TimeoutError') throw new BinnacleError('UPSTREAM_TIMEOUT', `The remote store was not gone through within ${infoDeadlineMs} ms.`, { cause: error });
  throw error;
}
