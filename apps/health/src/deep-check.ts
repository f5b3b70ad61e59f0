import { AgentClient } from '@binnacle/node-kit/agent-client';
import { CachedCheck } from '@binnacle/node-kit/check';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { SomeAtATime } from '@binnacle/node-kit/some-at-a-time';
import { Injectable, ServiceUnavailableException } from '@nestjs/common';
import { HealthCheckService, type HealthCheckResult, HealthIndicatorService } from '@nestjs/terminus';
import { NodeChecks } from './node-checks.js';

export interface DeepCheckAnswer {
  readonly status: 200 | 500;
  /** gostatsd's form: one line a check, `name: detail`. */
  readonly body: { readonly ok: readonly string[]; readonly failed: readonly string[] };
}

/** Nodes asked at a time: a check of 1,000 nodes of which 64 hang takes two deadlines. */
const checksAtOnceMax = 64;

/**
 * `/deepcheck`: everything this cluster depends on. It fails when a dependency does, which is why nothing restarts or removes a
 * node by it: `/healthcheck` and `/livez` are for that, and know of no dependency.
 */
@Injectable()
export class DeepCheck {
  readonly #limiter = new SomeAtATime(checksAtOnceMax);
  readonly #nodes: NodeChecks;
  readonly #clusterState: CachedCheck;
  #failing = '';

  constructor(
    private readonly node: NodeContext,
    agent: AgentClient,
    private readonly health: HealthCheckService,
    private readonly indicators: HealthIndicatorService,
  ) {
    const { checkDeadlineMs: deadlineMs, checkCacheMs: cacheMs } = node.config.health;
    this.#nodes = new NodeChecks(node, agent);
    this.#clusterState = new CachedCheck('cluster state', () => this.#askClusterState(), { clock: node.clock, deadlineMs, cacheMs });
  }

  /** Never rejects because a check failed. Results are cached, so it may be asked as often as anybody likes. */
  async run(): Promise<DeepCheckAnswer> {
    const checks = [this.#clusterState, ...this.#nodes.current()];
    const answer = deepCheckAnswer(await this.#ask(checks));
    this.#logChange(answer);
    return answer;
  }

  async #ask(checks: readonly CachedCheck[]): Promise<HealthCheckResult> {
    const indicators = checks.map((check) => async () => {
      const { ok, detail } = await this.#limiter.run(() => check.run());
      const indicator = this.indicators.check(check.name);
      return ok ? indicator.up({ detail }) : indicator.down({ detail });
    });
    try {
      return await this.health.check(indicators);
    } catch (error) {
      // Terminus throws its result when a check is down.
      if (error instanceof ServiceUnavailableException) return error.getResponse() as HealthCheckResult;
      throw error;
    }
  }

  /** One round trip, like a ping, but of what the nodes use: a Redis that answers PING and refuses writes or scripts is no use. */
  async #askClusterState(): Promise<string> {
    const { state } = this.node;
    await state.leases();
    return `${state.kind} answers`;
  }

  /** One line when it changes what fails, not one a poll. */
  #logChange({ body }: DeepCheckAnswer): void {
    const failing = body.failed.map((line) => line.slice(0, line.indexOf(':'))).join(', ');
    if (failing === this.#failing) return;
    this.#failing = failing;
    if (failing === '') this.node.log.info('deepcheck: everything is well again');
    else this.node.log.warn({ failed: body.failed }, 'deepcheck fails');
  }
}

export function deepCheckAnswer({ details }: HealthCheckResult): DeepCheckAnswer {
  const lines = (status: string): string[] =>
    Object.entries(details).flatMap(([name, result]) => (result.status === status ? [`${name}: ${String(result.detail)}`] : []));
  const body = { ok: lines('up'), failed: lines('down') };
  return { status: body.failed.length === 0 ? 200 : 500, body };
}
