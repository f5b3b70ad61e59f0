import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { addressOf } from '@binnacle/cluster-state/node-record';
import { BinnacleError } from '@binnacle/contracts/errors';
import { clusterSecretHeader } from '@binnacle/contracts/internal-headers';
import { Agent, errors } from 'undici';
import { limitedBody } from './limited-body.js';
import type { NodeContext } from './node-context.js';

/** What it takes to find a node. */
export type AgentTarget = Pick<NodeRecord, 'id' | 'host' | 'port'>;

export interface AgentRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly path: string;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** From now to the last byte of the answer. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** Answers of agents are small; a longer one is cut off as an error. */
const answerBytesMax = 8 * 1024 * 1024;
/** Nodes are asked by checks and elections, a few requests at a time. */
const connectionsPerNodeMax = 16;
/** Shorter than the node listener keeps an idle connection. */
const keepAliveMs = 30_000;

/** Asks other nodes on their node listeners, with the cluster secret, over connections that stay open. */
export class AgentClient {
  readonly #secret: string;
  /** Every request has a deadline of its own; a capture of ten minutes sends nothing until it has ended. */
  readonly #agent = new Agent({ connections: connectionsPerNodeMax, keepAliveTimeout: keepAliveMs, pipelining: 1, headersTimeout: 0, bodyTimeout: 0 });

  constructor(node: NodeContext) {
    this.#secret = node.clusterSecret;
    node.addPart({ name: 'agent client', stop: () => this.#agent.close() });
  }

  /**
   * The status and the body (parsed when it is JSON, else text), whatever the status is. Rejects with `BinnacleError`
   * UPSTREAM_TIMEOUT or UPSTREAM_UNREACHABLE.
   */
  async request(target: AgentTarget, request: AgentRequest): Promise<{ status: number; body: unknown }> {
    const { status, bytes, contentType } = await this.#send(target, request, answerBytesMax);
    const text = bytes.toString('utf8');
    if (!contentType.startsWith('application/json')) return { status, body: text };
    try {
      return { status, body: JSON.parse(text) as unknown };
    } catch (error) {
      throw unreachable(target, error);
    }
  }

  /**
   * The status and the bytes of an answer of at most `bytesMax`, whatever the status is. Once `signal` is aborted, the connection is
   * closed, which cancels what the node does for it. Rejects as `request` does.
   */
  async requestBytes(target: AgentTarget, request: AgentRequest, bytesMax: number): Promise<{ status: number; bytes: Buffer }> {
    return this.#send(target, request, bytesMax);
  }

  async #send(
    target: AgentTarget,
    { method, path, body, timeoutMs, signal }: AgentRequest,
    bytesMax: number,
  ): Promise<{ status: number; bytes: Buffer; contentType: string }> {
    const deadline = AbortSignal.timeout(timeoutMs);
    try {
      const answer = await this.#agent.request({
        origin: `http://${addressOf(target)}`,
        path,
        method,
        headers: { [clusterSecretHeader]: this.#secret, ...(body !== undefined && { 'content-type': 'application/json' }) },
        body: body === undefined ? null : JSON.stringify(body),
        signal: signal ? AbortSignal.any([deadline, signal]) : deadline,
      });
      const bytes = await limitedBody(answer.body, bytesMax, 'its answer');
      return { status: answer.statusCode, bytes, contentType: String(answer.headers['content-type'] ?? '') };
    } catch (error) {
      if (deadline.aborted) throw new BinnacleError('UPSTREAM_TIMEOUT', `node ${target.id} did not answer within ${timeoutMs} ms`, { cause: error });
      throw unreachable(target, error);
    }
  }
}

function unreachable(target: AgentTarget, error: unknown): BinnacleError {
  return new BinnacleError('UPSTREAM_UNREACHABLE', `node ${target.id} cannot be asked: ${reasonOf(error)}`, { cause: error });
}

/** The code of a socket error says more than its message, which holds addresses only. */
function reasonOf(error: unknown): string {
  if (error instanceof errors.SocketError) return 'the connection broke';
  return (error as NodeJS.ErrnoException).code ?? (error instanceof Error ? error.message : String(error));
}
