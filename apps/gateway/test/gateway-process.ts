import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NodeConfig } from '@binnacle/node-kit/config';
import { startNode } from '@binnacle/node-kit/run-node';

/*
 * A whole gateway in a process of its own, as built, for tests and benchmarks that look at memory and time:
 * `node test/gateway-process.ts` with the port of one node in NODE_PORT. That node has every role.
 * Over IPC it says its ports once, and answers `memory` with bytes.
 */

// Decorators need the compiler's output; Node.js itself only strips types.
const built = new URL('../dist/gateway.module.js', import.meta.url).href;
const { GatewayModule } = (await import(built)) as typeof import('../src/gateway.module.js');

const ttlMs = 600_000;

const dataDir = mkdtempSync(join(tmpdir(), 'binnacle-gateway-process-'));
const config = new NodeConfig();
config.dataDir = dataDir;
config.log.level = 'warn';
config.node.port = 0;
Object.assign(config.gateway, { port: 0, tiflashPort: 0, tiproxyPort: 0, gostatsdPort: 0, typesensePort: 0 });

const node = await startNode({ roles: ['gateway'], modules: [GatewayModule], defaultPort: 0 }, config);
await node.context.state.heartbeat(
  {
    id: 'storage-0',
    incarnation: 'one',
    roles: ['storage', 'cluster'],
    host: '127.0.0.1',
    port: Number(process.env['NODE_PORT']),
    state: 'running',
    version: '0.0.0',
    startedAtMs: Date.now(),
    appliedRevision: 0,
    outstandingRequests: 0,
    eventLoopDelayMs: 0,
    labels: {},
  },
  ttlMs,
);

let rssMax = 0;
setInterval(() => (rssMax = Math.max(rssMax, process.memoryUsage.rss())), 20).unref();

process.on('message', () => {
  process.send?.({ rss: process.memoryUsage.rss(), rssMax: Math.max(rssMax, process.memoryUsage.rss()) });
  rssMax = 0;
});
process.once('disconnect', () => {
  void node.stop().finally(() => {
    rmSync(dataDir, { recursive: true, force: true });
    process.exit();
  });
});
while (node.context.directory.byId('storage-0') === undefined) await new Promise((resolve) => setTimeout(resolve, 10));
process.send?.({ labels: node.context.labels, address: node.address });
