import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { clusterSecretHeader } from '@binnacle/contracts/internal-headers';
import { NodeConfig } from '@binnacle/node-kit/config';
import { startNode, type RunningNode } from '@binnacle/node-kit/run-node';
import type { Type } from '@nestjs/common';
import { RowStore } from '../src/row-store.js';
import { Snapshots } from '../src/snapshot/snapshots.js';
import { StorageModule } from '../src/storage.module.js';

export const clusterSecret = 'the-secret-of-these-tests';
const tableId = 7;

/** Folders that go at the end of a test. */
export class Folders {
  readonly #made: string[] = [];

  make(parent = tmpdir()): string {
    const folder = mkdtempSync(join(parent, 'binnacle-snapshot-'));
    this.#made.push(folder);
    return folder;
  }

  remove(): void {
    for (const folder of this.#made.splice(0)) rmSync(folder, { recursive: true, force: true });
  }
}

/** A storage node in this process, with a data folder of the caller's. */
export class SnapshotNode {
  private constructor(readonly running: RunningNode) {}

  static async start(dataDir: string, change: (config: NodeConfig) => void = () => {}, modulesBefore: readonly Type[] = []): Promise<SnapshotNode> {
    const config = new NodeConfig();
    config.dataDir = dataDir;
    Object.assign(config.node, { port: 0, clusterSecret, drainDelayMs: 0 });
    config.log.level = 'silent';
    change(config);
    return new SnapshotNode(await startNode({ roles: ['storage'], modules: [...modulesBefore, StorageModule], defaultPort: 0 }, config));
  }

  get rows(): RowStore {
    return this.running.app.get(RowStore);
  }

  get snapshots(): Snapshots {
    return this.running.app.get(Snapshots);
  }

  async write(from: number, count: number, text = 'x'): Promise<void> {
    const changes = Array.from({ length: count }, (_, index) => ({
      handle: Buffer.from(`row-${from + index}`),
      put: Buffer.from(JSON.stringify({ id: `row-${from + index}`, text })),
    }));
    await this.rows.write(tableId, changes, { durability: 'fsync' });
  }

  /** Ids of the rows that are there. */
  async ids(): Promise<string[]> {
    const ids: string[] = [];
    for await (const { handle } of this.rows.scan(tableId)) ids.push(handle.toString());
    return ids;
  }

  fetch(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(`http://${this.running.address}${path}`, { ...init, headers: { [clusterSecretHeader]: clusterSecret, ...(init.headers as Record<string, string>) } });
  }

  /** What the cluster role asks. */
  async take(path: unknown): Promise<{ status: number; body: Record<string, unknown> & { error?: { code: string; message: string } } }> {
    const response = await this.fetch('/agent/v1/snapshot', {
      method: 'POST',
      body: JSON.stringify({ path }),
      headers: { 'content-type': 'application/json' },
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  }

  async stop(): Promise<void> {
    await this.running.stop();
  }
}
