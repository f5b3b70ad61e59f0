import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Candidacy } from '@binnacle/cluster-state/candidacy';
import type { Role } from '@binnacle/contracts/route';
import { clusterSecretHeader } from '@binnacle/contracts/internal-headers';
import { NodeConfig } from '@binnacle/node-kit/config';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { type RunningNode, startNode } from '@binnacle/node-kit/run-node';
import { Injectable, Module, type Type } from '@nestjs/common';

export const clusterSecret = 'the-secret-of-these-tests';

/** What the storage app does for its leases; apps do not import each other, so the tests of this one have their own. */
@Injectable()
class Campaigns {
  constructor(node: NodeContext) {
    const { modes, leaderLeaseTtlMs, gcLeaseTtlMs } = node.config.storage;
    const writes = modes.includes('write');
    node.labels['disagg-mode'] = writes ? 'Storage' : 'Compute';
    const campaign = (lease: string, ttlMs: number): void => {
      const candidacy = new Candidacy(node.state, node.clock, { lease, candidate: node.candidate(), ttlMs });
      node.candidacies.set(lease, candidacy);
      candidacy.start();
    };
    node.addPart({
      name: 'campaigns',
      start: async () => {
        campaign('leader', leaderLeaseTtlMs);
        if (writes) campaign('remote-gc', gcLeaseTtlMs);
      },
      drain: async () => void (await Promise.all([...node.candidacies.values()].map((candidacy) => candidacy.stop()))),
    });
  }
}

@Module({ providers: [Campaigns] })
export class StorageStandIn {}

export class TestNode {
  private constructor(
    readonly running: RunningNode,
    readonly folder: string,
  ) {}

  static async start(id: string, role: Role, module: Type, change: (config: NodeConfig) => void): Promise<TestNode> {
    const folder = mkdtempSync(join(tmpdir(), `binnacle-${id}-`));
    const config = new NodeConfig();
    config.dataDir = folder;
    Object.assign(config.node, { id, port: 0, clusterSecret, heartbeatTtlMs: 1_500, drainDelayMs: 0 });
    Object.assign(config.storage, { leaderLeaseTtlMs: 1_500, gcLeaseTtlMs: 1_500 });
    config.log.level = 'silent';
    change(config);
    return new TestNode(await startNode({ roles: [role], modules: [module], defaultPort: 0 }, config), folder);
  }

  get context(): NodeContext {
    return this.running.context;
  }

  fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = { [clusterSecretHeader]: clusterSecret, ...(init.headers as Record<string, string>) };
    return fetch(`http://${this.running.address}${path}`, { ...init, headers });
  }

  async json<T = Record<string, unknown>>(path: string, init: RequestInit = {}): Promise<T> {
    return (await (await this.fetch(path, init)).json()) as T;
  }

  async stop(): Promise<void> {
    await this.running.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
