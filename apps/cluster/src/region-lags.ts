import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { AgentClient } from '@binnacle/node-kit/agent-client';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';

/** What a storage node says of its replicas; its worst regions come first. */
export interface RegionLags {
  readonly regions: number;
  readonly lagMsMax: number | null;
  readonly worst: readonly { readonly table: number; readonly region: number; readonly lagMs: number | null }[];
}

/** Whoever looks at the cluster does not wait longer for a node that is stuck. */
const askTimeoutMs = 1_000;
/** One answer serves everybody who asks within this: a page that is reloaded, ten consoles. */
const keptMs = 1_000;
const nodesAskedMax = 64;
/** Of every node, in the answer about the whole cluster. */
const shownMax = 10;

/** Asks storage nodes how far their replicas are behind. */
@Injectable()
export class RegionLagsOfNodes {
  #answers: { readonly atMs: number; readonly byNode: Promise<ReadonlyMap<string, RegionLags>> } | undefined;

  constructor(
    private readonly node: NodeContext,
    private readonly agent: AgentClient,
  ) {}

  /** By node id; those that do not answer in time, or have no remote store, are absent. Never rejects. */
  async all(): Promise<ReadonlyMap<string, RegionLags>> {
    const nowMs = this.node.clock.monotonicMs();
    if (this.#answers === undefined || nowMs - this.#answers.atMs > keptMs) {
      const records = this.node.directory.byRole('storage').slice(0, nodesAskedMax);
      const byNode = Promise.all(records.map((record) => this.#ask(record))).then((answers) => new Map(answers.flatMap((answer) => (answer === undefined ? [] : [answer]))));
      this.#answers = { atMs: nowMs, byNode };
    }
    return this.#answers.byNode;
  }

  async #ask(record: NodeRecord): Promise<[string, RegionLags] | undefined> {
    try {
      const { status, body } = await this.agent.request(record, { method: 'GET', path: '/agent/v1/region-lag', timeoutMs: askTimeoutMs });
      const lags = body as Partial<RegionLags> | undefined;
      if (status !== 200 || !Array.isArray(lags?.worst)) return undefined;
      return [record.id, { ...(lags as RegionLags), worst: lags.worst.slice(0, shownMax) }];
    } catch {
      return undefined;
    }
  }
}
