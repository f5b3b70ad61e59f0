import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { AgentClient } from '@binnacle/node-kit/agent-client';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Controller, Get, Headers, Query, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { Readable } from 'node:stream';
import { exposition, type ExpositionFormat, expositionFormat, expositionTypes } from './exposition.js';
import { ExpositionReaders } from './exposition-readers.js';
import { Ingest } from './ingest.js';
import { mergedExposition } from './ownership/merged-exposition.js';

const agentPath = '/agent/v1/ingest/exposition';
/** Of one node: a hundred bytes or so for each sample. */
const expositionBytesMax = 256 * 2 ** 20;
const askTimeoutMs = 10_000;

interface Exposition {
  readonly pieces: readonly string[];
  /** Ids of nodes that could not be asked. */
  readonly away: readonly string[];
}

/** What has been ingested, for Prometheus; `/metrics` is about the node itself. */
@Controller()
export class MetricsController {
  readonly #readers: ExpositionReaders<Exposition>;
  /** Other nodes: clients cannot take their places. */
  readonly #nodes: ExpositionReaders<Exposition>;

  constructor(
    private readonly node: NodeContext,
    private readonly agent: AgentClient,
    private readonly ingest: Ingest,
  ) {
    this.#readers = new ExpositionReaders(node.clock);
    this.#nodes = new ExpositionReaders(node.clock);
  }

  /** Of all ingest nodes. Those that could not be asked are in the header, and a gauge says so too: Prometheus reads no headers. */
  @Get('/metrics/ingested')
  async all(@Headers('accept') accept: string | undefined, @Res() reply: FastifyReply): Promise<void> {
    this.#readers.begin(reply.raw);
    const format = expositionFormat(accept);
    const { pieces, away } = await this.#readers.shared(format, () => this.#all(format));
    if (away.length > 0) void reply.header('x-binnacle-failed-nodes', away.join(','));
    void reply.type(expositionTypes[format]).send(Readable.from(pieces));
  }

  /** Of what this node adds up alone. */
  @Get(agentPath)
  async own(@Query('format') asked: unknown, @Res() reply: FastifyReply): Promise<void> {
    this.#nodes.begin(reply.raw);
    const format = asked === 'openMetrics' ? asked : 'prometheus';
    const { pieces } = await this.#nodes.shared(format, async () => ({ pieces: await all(this.#own(format)), away: [] }));
    void reply.type(expositionTypes[format]).send(Readable.from(pieces));
  }

  async #all(format: ExpositionFormat): Promise<Exposition> {
    const others = this.node.directory.byRole('ingest').filter(({ id, state }) => id !== this.node.id && state !== 'starting');
    if (others.length === 0) return { pieces: await all(this.#own(format)), away: [] };
    const away: string[] = [];
    const ask = (other: NodeRecord): Promise<string> =>
      this.#ask(other, format).catch((error: unknown) => {
        this.node.log.debug({ err: error, nodeId: other.id }, 'an ingest node does not say what it has');
        away.push(other.id);
        return '';
      });
    const [own, ...texts] = await Promise.all([all(this.#own(format)), ...others.map(ask)]);
    away.sort();
    return { pieces: await all(mergedExposition([own.join(''), ...texts], away, format)), away };
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

async function all(pieces: AsyncIterable<string>): Promise<string[]> {
  const found: string[] = [];
  for await (const piece of pieces) found.push(piece);
  return found;
}
