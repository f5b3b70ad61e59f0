import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { AgentClient } from '@binnacle/node-kit/agent-client';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Controller, Get, Headers, Query, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { Readable } from 'node:stream';
import { exposition, type ExpositionFormat, expositionFormat, expositionTypes } from './exposition.js';
import { Ingest } from './ingest.js';
import { mergedExposition } from './ownership/merged-exposition.js';

const agentPath = '/agent/v1/ingest/exposition';
/** Of one node: a hundred bytes or so for each sample. */
const expositionBytesMax = 256 * 2 ** 20;
const askTimeoutMs = 10_000;

/** What has been ingested, for Prometheus; `/metrics` is about the node itself. */
@Controller()
export class MetricsController {
  constructor(
    private readonly node: NodeContext,
    private readonly agent: AgentClient,
    private readonly ingest: Ingest,
  ) {}

  /** Of all ingest nodes. Those that could not be asked are in the header, and a gauge says so too: Prometheus reads no headers. */
  @Get('/metrics/ingested')
  async all(@Headers('accept') accept: string | undefined, @Res() reply: FastifyReply): Promise<void> {
    const others = this.node.directory.byRole('ingest').filter(({ id, state }) => id !== this.node.id && state !== 'starting');
    const format = expositionFormat(accept);
    if (others.length === 0) return this.own(format, reply);
    const away: string[] = [];
    const ask = (other: NodeRecord): Promise<string> =>
      this.#ask(other, format).catch((error: unknown) => {
        this.node.log.debug({ err: error, nodeId: other.id }, 'an ingest node does not say what it has');
        away.push(other.id);
        return '';
      });
    const texts = await Promise.all([whole(this.#own(format)), ...others.map(ask)]);
    if (away.length > 0) void reply.header('x-binnacle-failed-nodes', away.sort().join(','));
    void reply.type(expositionTypes[format]).send(Readable.from(mergedExposition(texts, away, format)));
  }

  /** Of what this node adds up alone. */
  @Get(agentPath)
  own(@Query('format') asked: unknown, @Res() reply: FastifyReply): void {
    const format = asked === 'openMetrics' ? asked : 'prometheus';
    void reply.type(expositionTypes[format]).send(Readable.from(this.#own(format)));
  }

  #own(format: ExpositionFormat): AsyncGenerator<string> {
    return exposition(this.ingest.ownSeries(), format);
  }

  async #ask(other: NodeRecord, format: ExpositionFormat): Promise<string> {
    const path = `${agentPath}?format=${format}`;
    const { status, bytes } = await this.agent.requestBytes(other, { method: 'GET', path, timeoutMs: askTimeoutMs }, expositionBytesMax);
    if (status !== 200) throw new Error(`it answered ${status}`);
    return bytes.toString();
  }
}

async function whole(pieces: AsyncIterable<string>): Promise<string> {
  const all: string[] = [];
  for await (const piece of pieces) all.push(piece);
  return all.join('');
}
