import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NodeConfig } from '@binnacle/node-kit/config';
import { startNode } from '@binnacle/node-kit/run-node';

/* The node behind the proxies of the benchmark: a node of Binnacle, or with NODE_KIND=bare the least that Node.js can answer. */

function bareServer(): void {
  const body = Buffer.from('ok\n');
  const server = createServer({ keepAliveTimeout: 60_000 }, (_request, response) => {
    response.writeHead(200, ['content-type', 'text/plain; charset=utf-8', 'content-length', String(body.length)]).end(body);
  });
  server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }));
  process.once('disconnect', () => process.exit());
}

async function nodeOfBinnacle(): Promise<void> {
  const config = new NodeConfig();
  config.dataDir = mkdtempSync(join(tmpdir(), 'binnacle-one-node-'));
  config.log.level = 'warn';
  config.node.port = 0;
  const node = await startNode({ roles: ['storage'], modules: [], defaultPort: 0 }, config);
  process.once('disconnect', () => {
    rmSync(config.dataDir, { recursive: true, force: true });
    process.exit();
  });
  process.send?.({ port: Number(node.address.split(':').at(-1)) });
}

if (process.env['NODE_KIND'] === 'bare') bareServer();
else await nodeOfBinnacle();
