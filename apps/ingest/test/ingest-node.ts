import { clusterSecretHeader } from '@binnacle/contracts/internal-headers';
import { NodeConfig } from '@binnacle/node-kit/config';
import { type RunningNode, startNode } from '@binnacle/node-kit/run-node';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ingest } from '../src/ingest.js';
import { IngestModule } from '../src/ingest.module.js';
import { Receivers } from '../src/receivers/receivers.js';

/** An ingest node in this process, on free ports and a folder of its own. */
export interface IngestNode {
  readonly node: RunningNode;
  readonly ingest: Ingest;
  readonly udpPort: number;
  readonly tcpPort: number;
  readonly dataDir: string;
  fetch(path: string, init?: RequestInit): Promise<Response>;
  /** Of the exposition: every sample by its name and labels. */
  samples(): Promise<Map<string, number>>;
  stop(): Promise<void>;
}

/** By name and labels. */
export function samplesOf(exposition: string): Map<string, number> {
  const lines = exposition.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]));
}

export function newFolder(): string {
  return mkdtempSync(join(tmpdir(), 'binnacle-ingest-'));
}

/** A flush comes when a test asks for it, unless `change` says otherwise. */
export async function startIngest(dataDir: string, change: (config: NodeConfig) => void = () => {}): Promise<IngestNode> {
  const config = new NodeConfig();
  config.dataDir = dataDir;
  Object.assign(config.node, { id: 'ingest-0', port: 0 });
  Object.assign(config.health, { eventLoopDelayMsMax: 60_000, diskFreePercentMin: 0, memoryFreePercentMin: 0, checkCacheMs: 0 });
  Object.assign(config.ingest, { udpPort: 0, tcpPort: 0, flushIntervalMs: 3_600_000 });
  config.log.level = 'silent';
  change(config);
  const node = await startNode({ roles: ['ingest'], modules: [IngestModule], defaultPort: 0 }, config);
  const receivers = node.app.get(Receivers);
  const fetchFrom = (path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(`http://${node.address}${path}`, { ...init, headers: { ...(init.headers as Record<string, string>), [clusterSecretHeader]: node.context.clusterSecret } });
  return {
    node,
    ingest: node.app.get(Ingest),
    udpPort: receivers.udpPort ?? 0,
    tcpPort: receivers.tcpPort ?? 0,
    dataDir,
    fetch: fetchFrom,
    async samples() {
      return samplesOf(await (await fetchFrom('/metrics/ingested')).text());
    },
    stop: () => node.stop(),
  };
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
}
