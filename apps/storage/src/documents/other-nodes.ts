import { BinnacleError } from '@binnacle/contracts/errors';
import { forwardedByHeader } from '@binnacle/contracts/internal-headers';
import { limitedBody } from '@binnacle/node-kit/limited-body';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { OwnRegions } from '../regions/own-regions.js';
import { writeNodesOf } from '../regions/region.js';
import type { Table } from '../tables/schema.js';
import { forwardedHeaders, WriteNodes } from '../tables/write-nodes.js';
import type { ImportElsewhere } from './import.js';

/** Of the answer to one batch of lines: a document a line at most, and what is said about it. */
const answerBytesMax = 64 * 2 ** 20;
/** A batch takes a node milliseconds; one that needs longer than this is away, as far as this import is concerned. */
const batchTimeoutMs = 30_000;

/** Requests about rows of a table that lies on several nodes: every node does its part, and one answers for all. */
@Injectable()
export class OtherNodes {
  constructor(
    private readonly node: NodeContext,
    private readonly own: OwnRegions,
    private readonly writeNodes: WriteNodes,
  ) {}

  /**
   * The same request at every write node of the table, and the sum of what they count as `name`. Rejects with the first failure once all have
   * ended: what was done stays done.
   */
  async sum(table: Table, request: FastifyRequest, name: string, body: Buffer | undefined, write: () => Promise<number>): Promise<number> {
    const here = async (): Promise<number> => {
      const refusal = this.own.refusalOfAny(table);
      if (refusal !== undefined) throw refusal;
      return write();
    };
    if (this.own.ownsAll(table)) return here();
    if (isPassedOn(request)) {
      if (!this.own.ownsSome(table)) this.writeNodes.refuseSecondHop(table, request);
      return here();
    }
    const counts = await Promise.allSettled(writeNodesOf(table).map((nodeId) => (nodeId === this.node.id ? here() : this.#count(nodeId, table, request, name, body))));
    let sum = 0;
    for (const count of counts) {
      if (count.status === 'rejected') throw count.reason;
      sum += count.value;
    }
    return sum;
  }

  /** Undefined: every line is written here. */
  forImport(newest: () => Table, request: FastifyRequest): ImportElsewhere | undefined {
    const table = newest();
    if (this.own.ownsAll(table) || isPassedOn(request)) return undefined;
    return {
      nodeOf: (id) => {
        const { writeNode } = this.own.regionOf(newest(), Buffer.from(id));
        return writeNode === this.node.id ? undefined : writeNode;
      },
      newId: () => this.own.newId(table),
      write: (nodeId, lines) => this.#import(nodeId, newest(), request, lines),
    };
  }

  async #count(nodeId: string, table: Table, request: FastifyRequest, name: string, body: Buffer | undefined): Promise<number> {
    const { status, text } = await this.#ask(nodeId, table, request, body ?? null);
    const answer = parsed(text);
    if (status !== 200) throw refusalOf(nodeId, status, answer);
    return Number(answer[name]);
  }

  async #import(nodeId: string, table: Table, request: FastifyRequest, lines: readonly Buffer[]): Promise<readonly string[]> {
    const body = Buffer.concat(lines.flatMap((line) => [line, newline]));
    const { status, text } = await this.#ask(nodeId, table, request, body, AbortSignal.timeout(batchTimeoutMs));
    if (status !== 200) throw refusalOf(nodeId, status, parsed(text));
    const results = text.split('\n');
    if (results.length !== lines.length) throw new BinnacleError('UPSTREAM_UNREACHABLE', `Node ${nodeId} broke off: what it wrote of these lines is not known.`, { retryAfterS: 1 });
    return results;
  }

  async #ask(nodeId: string, table: Table, request: FastifyRequest, body: Buffer | null, signal?: AbortSignal): Promise<{ status: number; text: string }> {
    const headers = forwardedHeaders(request);
    delete headers['content-length'];
    const path = request.raw.url ?? '/';
    const answer = await this.writeNodes.send(nodeId, table, { method: request.method, path, headers, body, ...(signal && { signal }) });
    const bytes = await limitedBody(answer.body, answerBytesMax, 'its answer').catch((error: unknown) => {
      throw new BinnacleError('UPSTREAM_UNREACHABLE', `Node ${nodeId} broke off: what it wrote is not known.`, { cause: error, retryAfterS: 1 });
    });
    return { status: answer.statusCode, text: bytes.toString() };
  }
}

const newline = Buffer.from('\n');

function isPassedOn({ headers }: FastifyRequest): boolean {
  return headers[forwardedByHeader] !== undefined;
}

function parsed(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return {};
  }
}

/** What the other node says to a client it says to this one's client. */
function refusalOf(nodeId: string, status: number, { message }: Record<string, unknown>): BinnacleError {
  const shown = typeof message === 'string' ? message : `Node ${nodeId} does not do its part.`;
  if (status === 400) return new BinnacleError('BAD_REQUEST', shown);
  if (status === 404) return new BinnacleError('NOT_FOUND', shown);
  if (status === 409) return new BinnacleError('CONFLICT', shown);
  return new BinnacleError('NO_TARGET', shown, { retryAfterS: 1 });
}
