import { resolve } from 'node:path';
import { performance } from 'node:perf_hooks';
import { ClusterModule } from '@binnacle/cluster/cluster.module';
import { roles } from '@binnacle/contracts/route';
import { GatewayModule } from '@binnacle/gateway/gateway.module';
import { HealthModule } from '@binnacle/health/health.module';
import { IngestModule } from '@binnacle/ingest/ingest.module';
import type { NodeConfig } from '@binnacle/node-kit/config';
import { type NodeDefinition, runNode } from '@binnacle/node-kit/run-node';
import { ProfilingModule } from '@binnacle/profiling/profiling.module';
import { ProxyModule } from '@binnacle/proxy/proxy.module';
import { limitHeapGrowth } from '@binnacle/storage/heap-growth';
import { StorageModule } from '@binnacle/storage/storage.module';

const everyRole: NodeDefinition = {
  roles,
  // The gateway comes last: parts start in this order and drain in the reverse, so its door opens last and closes first.
  modules: [ProfilingModule, StorageModule, ClusterModule, HealthModule, IngestModule, ProxyModule, GatewayModule],
  defaultPort: 7400,
};

/** Runs every role in this process and tells a person where to find it. */
export async function start(argv: readonly string[]): Promise<void> {
  limitHeapGrowth();
  const node = await runNode(everyRole, argv);
  if (node === undefined) return;
  const { config } = node.context;
  console.log(listeners(config, node.address).join('\n'));
  console.log(`data folder       ${resolve(config.dataDir)}`);
  console.log(`binnacle ready in ${Math.round(performance.now())} ms`);
}

function listeners({ gateway, proxy, ingest }: NodeConfig, nodeAddress: string): string[] {
  const scheme = gateway.tlsCertFile === '' ? 'http' : 'https';
  const line = (what: string, port: number) => `${what.padEnd(17)} ${scheme}://${gateway.host}:${port}`;
  return [
    line('gateway', gateway.port),
    line('tiflash dialect', gateway.tiflashPort),
    line('tiproxy dialect', gateway.tiproxyPort),
    line('gostatsd dialect', gateway.gostatsdPort),
    line('typesense dialect', gateway.typesensePort),
    `SQL proxy         ${proxy.addr.join(', ')}${proxy.portRange.length > 0 ? ` (ports ${proxy.portRange.join(' to ')})` : ''}`,
    ...(ingest.statsd ? [`statsd lines      ${ingest.host}:${ingest.udpPort} (UDP), ${ingest.host}:${ingest.tcpPort} (TCP)`] : []),
    `node listener     http://${nodeAddress} (probes, metrics; the rest needs the cluster secret)`,
  ];
}
