import { NodeContext } from '@binnacle/node-kit/node-context';
import { Controller, Get, Param, Query, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { pathOf, tiflashJson, wrongMode } from '../tiflash-answer.js';
import { cacheInfoJson } from './cache-info.js';
import { parseSizeEviction, parseTypeEviction, requestText, type EvictRequest, type RefusedRequest } from './evict-request.js';
import { FileCache } from './file-cache.js';

type ParsedQuery = Readonly<Record<string, unknown>>;

/** TiFlash's `/tiflash/remote/cache` and `/tiflash/cache`, byte for byte. */
@Controller()
export class CacheController {
  constructor(
    private readonly node: NodeContext,
    private readonly cache: FileCache,
  ) {}

  @Get('/tiflash/remote/cache/info')
  async info(@Res() reply: FastifyReply): Promise<FastifyReply> {
    if (!this.#isCompute()) return wrongMode(reply, this.node.config.storage.modes, 'can not get remote cache info');
    if (!this.cache.isEnabled()) return notEnabled(reply);
    return tiflashJson(reply, 200, cacheInfoJson(await this.cache.info(this.node.clock.nowMs())));
  }

  @Get('/tiflash/remote/cache/evict/size/:size')
  async evictSize(@Param('size') size: string, @Query() query: ParsedQuery, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<FastifyReply> {
    return this.#evict(reply, parseSizeEviction(pathOf(request), size, query, this.node.settings.value().dtFilecacheMinAgeSeconds));
  }

  @Get(['/tiflash/remote/cache/evict/type/:type', '/tiflash/remote/cache/evict/:type'])
  async evictType(@Param('type') type: string, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<FastifyReply> {
    return this.#evict(reply, parseTypeEviction(pathOf(request), type));
  }

  @Get('/tiflash/remote/cache/evict')
  async evictNothing(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<FastifyReply> {
    return this.#evict(reply, { message: `invalid remote cache evict request: ${pathOf(request)}` });
  }

  /** TiFlash's caches of parsed marks and of minimum-maximum indexes: DuckDB keeps what it needs of a file by itself. */
  @Get('/tiflash/cache/evict/mark')
  evictMark(@Res() reply: FastifyReply): FastifyReply {
    return tiflashJson(reply, 200, { status: 'ok', cache: 'mark', message: 'cache not enabled' });
  }

  @Get('/tiflash/cache/evict/minmax')
  evictMinMax(@Res() reply: FastifyReply): FastifyReply {
    return tiflashJson(reply, 200, { status: 'ok', cache: 'minmax', message: 'cache not enabled' });
  }

  async #evict(reply: FastifyReply, request: EvictRequest | RefusedRequest): Promise<FastifyReply> {
    if (!this.#isCompute()) return wrongMode(reply, this.node.config.storage.modes, 'can not trigger remote cache evict');
    if ('message' in request) return tiflashJson(reply, 400, request);
    if (!this.cache.isEnabled()) return notEnabled(reply);
    const released =
      request.method === 'ByFileType'
        ? await this.cache.evictByType(request.type)
        : await this.cache.evictBySize({ reserveBytes: Number(request.reserveBytes), minAgeMs: request.minAgeS * 1_000, force: request.force });
    return tiflashJson(reply, 200, { req: requestText(request), released_size: String(released) });
  }

  #isCompute(): boolean {
    return this.node.config.storage.modes.includes('compute');
  }
}

const notEnabled = (reply: FastifyReply): FastifyReply => tiflashJson(reply, 500, { message: 'file cache is not enabled' });
